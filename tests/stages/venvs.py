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

"""A virtual environment that is made once and used until it is out of date.

Its stamp, a text, says what it was made from.
"""

import collections.abc as cabc
import hashlib
import importlib.util
import pathlib
import sys

from tests.lab import errors
from tests.lab import place
from tests.stages import processes

# Seconds for one call of pip. Nova's, the longest, takes one minute; a slow
# network takes its time.
TIMEOUT = 1800

# Lines of pip's log that are shown when it fails.
TAIL = 20

# Of every requirements.txt, what comes from the host or is compiled for it.
BINDING = 'libvirt-python'
DIST_PACKAGES = pathlib.Path('/usr/lib/python3/dist-packages')
# The modules of the binding as a package of the distribution has them.
BINDING_FILES = ('libvirt*.py', 'libvirtmod*.so', 'libvirt_python*-info')

NO_PIP = (
    f'{sys.executable} has neither pip nor ensurepip. As root: apt-get '
    'install python3-venv')
NO_BINDING = f"""\
libvirt's binding for {sys.executable} is missing. As root, either the
distribution's own:
    apt-get install python3-libvirt
or what it is compiled with:
    apt-get install gcc libc6-dev libvirt-dev pkg-config python3-dev"""


class Venv:
    """One virtual environment.

    :ivar log: what the last call of pip wrote
    """

    def __init__(self, folder: pathlib.Path,
                 runner: processes.Processes) -> None:
        self.folder = folder
        self.log = folder.with_name(f'{folder.name}.log')
        self._runner = runner

    def program(self, name: str) -> str:
        """Name one of its programs."""
        return str(self.folder / 'bin' / name)

    @property
    def site_packages(self) -> pathlib.Path:
        """Where its packages are."""
        (found,) = self.folder.glob('lib/python3.*/site-packages')
        return found

    def is_current(self, stamp: str, kind: str = 'stamp') -> bool:
        """Tell whether it was finished with this stamp.

        :param kind: one of several things that are kept apart
        """
        try:
            return (pathlib.Path(self.program('python')).exists()
                    and (self.folder / kind).read_text() == stamp)
        except OSError:
            return False

    def finish(self, stamp: str, kind: str = 'stamp') -> None:
        """Write down what it was made from."""
        (self.folder / kind).write_text(stamp)

    def create(self) -> None:
        """Make it anew, empty but for pip.

        :raises LabError: when this Python has no pip to put into it
        """
        processes.say(f'making {self.folder}')
        self.log.unlink(missing_ok=True)
        words = [sys.executable, '-m', 'venv', '--clear']
        # Debian has it in a package apart.
        if importlib.util.find_spec('ensurepip'):
            self._run(*words, str(self.folder))
        elif importlib.util.find_spec('pip'):
            self._run(*words, '--without-pip', str(self.folder))
            self._run(sys.executable, '-m', 'pip', '--python',
                      self.program('python'), 'install', '-q', 'pip')
        else:
            raise errors.LabError(NO_PIP)

    def pip(self, *arguments: str,
            env: cabc.Mapping[str, str] | None = None) -> None:
        """Run ``pip install``.

        :raises LabError: when it fails; the end of its log is in the message
        """
        self.log.unlink(missing_ok=True)
        self._run(self.program('pip'), 'install', '-q', *arguments, env=env)

    def add_binding(self, *, own: bool) -> None:
        """Put libvirt's Python binding into it.

        :param own: compile it even where the distribution's would do
        :raises LabError: when it cannot be had; the message says what to
            install
        """
        if not own and DIST_PACKAGES.joinpath('libvirt.py').exists():
            for pattern in BINDING_FILES:
                for file in DIST_PACKAGES.glob(pattern):
                    (self.site_packages / file.name).symlink_to(file)
            if self._has_binding():
                return
        try:
            self.pip(next(line for line in requirements()
                          if line.startswith(BINDING)))
        except errors.LabError as exc:
            raise errors.LabError(
                f'{NO_BINDING}\nWhy pip cannot: {self.log}') from exc

    def _has_binding(self) -> bool:
        """Tell whether it can be loaded; if not, remove it again."""
        if self._runner.run(
                [self.program('python'), '-c', 'import libvirt_qemu'],
                self.log, limit=TIMEOUT) == 0:
            return True
        for pattern in BINDING_FILES:
            for link in self.site_packages.glob(pattern):
                link.unlink()
        return False

    def _run(self, *argv: str,
             env: cabc.Mapping[str, str] | None = None) -> None:
        if self._runner.run(argv, self.log, limit=TIMEOUT, env=env):
            raise errors.LabError(
                f'{" ".join(argv)} failed: see {self.log}\n'
                f'{processes.tail(self.log, TAIL)}')


def requirements(file: str = 'requirements.txt') -> list[str]:
    """Return the lines of one of the checkout's files, without comments."""
    lines = place.CHECKOUT.joinpath(file).read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def digest(*files: str) -> str:
    """Return the hash of files of the checkout, for a stamp."""
    found = hashlib.sha256()
    for file in files:
        found.update(place.CHECKOUT.joinpath(file).read_bytes())
    return found.hexdigest()
