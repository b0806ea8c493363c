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

"""The wheel of this checkout, as it is: committed or not."""

import collections.abc as cabc
import hashlib
import pathlib
import shutil
import subprocess

from tests.lab import errors
from tests.lab import place
from tests.stages import processes

# What goes into it.
SOURCES = ('nova', 'nova_snap', 'etc', 'setup.cfg', 'setup.py',
           'pyproject.toml', 'requirements.txt', 'README.rst')

# Who commits the copy of the checkout.
COMMITTER = ('-c', 'user.name=lab', '-c', 'user.email=lab@localhost')

# Seconds for one step of a build; each takes some of them.
TIMEOUT = 600

# Lines of the log that are shown when it fails.
TAIL = 20


def stamp() -> str:
    """Return the hash of what the wheel is made from."""
    found = hashlib.sha256()
    for name in sorted(_files(*SOURCES)):
        path = place.CHECKOUT / name
        # git still lists what was removed and not committed.
        if path.exists():
            found.update(name.encode() + b'\0' + path.read_bytes())
    return found.hexdigest()


def build(folder: pathlib.Path, pip: str,
          runner: processes.Processes) -> pathlib.Path:
    """Build the wheel and return its path.

    :param folder: is made anew
    :param pip: that of an environment with what a build needs
    :raises LabError: when it cannot be built; the log says why
    """
    processes.say('building the wheel')
    shutil.rmtree(folder, ignore_errors=True)
    checkout = place.make_dir(folder / 'checkout')
    log = folder / 'log'
    # A repository of its own: what a build leaves behind stays there, and
    # git trusts it.
    _copy_files(checkout)
    for argv in (['git', 'init', '-q'],
                 ['git', 'add', '--all'],
                 ['git', *COMMITTER, 'commit', '-q', '-m', 'What is tried'],
                 [pip, 'wheel', '-q', '--no-deps', '--wheel-dir',
                  str(folder / 'dist'), str(checkout)]):
        if runner.run(argv, log, limit=TIMEOUT, cwd=checkout):
            raise errors.LabError(f'{argv[0]} {argv[1]} failed: see {log}\n'
                                  f'{processes.tail(log, TAIL)}')
    (wheel,) = (folder / 'dist').glob('*.whl')
    return wheel


def _files(*paths: str) -> cabc.Iterable[str]:
    listed = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others',
         '--exclude-standard', '--', *paths], cwd=place.CHECKOUT,
        capture_output=True, check=True, text=True)
    return listed.stdout.rstrip('\0').split('\0')


def _copy_files(target: pathlib.Path) -> None:
    for name in _files():
        source = place.CHECKOUT / name
        if source.exists() or source.is_symlink():
            place.make_dir((target / name).parent)
            shutil.copy2(source, target / name, follow_symlinks=False)
