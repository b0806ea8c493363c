#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Where the lab keeps its state, and who may own it.

Everything lies below one folder, ``NOVA_SNAP_LAB`` or
/var/tmp/nova_snap-lab, which QEMU's own user (libvirt-qemu) can traverse.
Another user than root has a folder with the user's number in its name.
"""

import os
import pathlib
import pwd
import stat

from tests.lab import errors

DEFAULT = '/var/tmp/nova_snap-lab'

# Others enter, the owner alone writes.
MODE = 0o755
# The owner's group enters, others do not.
USERS_MODE = 0o750

# In the folder of one lab's libvirtd, and on its command line.
PID_FILE = 'libvirtd.own.pid'

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def lab_dir() -> pathlib.Path:
    """Make the lab's folder when it is missing and return it.

    :raises LabError: when it belongs to another user, is no real folder or
        others may write to it; nothing was changed
    """
    path = pathlib.Path(os.environ.get('NOVA_SNAP_LAB') or _default())
    if not path.is_absolute():
        raise errors.LabError(f'NOVA_SNAP_LAB={path} is not an absolute path')
    path.mkdir(mode=MODE, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise errors.LabError(f'{path} is not a folder of user '
                              f'{os.geteuid()}: set NOVA_SNAP_LAB to another')
    path.chmod(MODE)
    return path


def _default() -> str:
    user = os.geteuid()
    return f'{DEFAULT}-{user}' if user else DEFAULT


def make_dir(path: pathlib.Path, mode: int = MODE) -> pathlib.Path:
    """Make a folder, whatever the umask is."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def make_users_dir(path: pathlib.Path, user: str) -> pathlib.Path:
    """Make a folder that is another user's, as of a package of Debian."""
    found = pwd.getpwnam(user)
    make_dir(path, USERS_MODE)
    os.chown(path, found.pw_uid, found.pw_gid)
    return path


def default_run_dir() -> pathlib.Path:
    """Name the folder of the lab that ``python -m tests.lab up`` starts."""
    return lab_dir() / 'run'


def services_python() -> pathlib.Path:
    """Name the Python of Glance's own virtual environment.

    :raises LabError: when no tool has made it yet
    """
    return _python('services', 'tools/demo')


def cinder_python() -> pathlib.Path:
    """Name the Python of the virtual environment of Cinder and Keystone.

    :raises LabError: when no tool has made it yet
    """
    return _python('cinder', 'tools/test volumes')


def _python(venv: str, maker: str) -> pathlib.Path:
    # Not what it links to: the path says which environment it is.
    python = lab_dir() / venv / 'bin' / 'python'
    if not python.exists():
        raise errors.LabError(f'{python} is missing: run "{maker}"')
    return python
