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

"""What the stages and tools stand on: packages and virtual environments.

Each is made once, whatever asks for it, and found again later. Everything
lies below the lab's folder.
"""

import collections.abc as cabc
import concurrent.futures
import os
import sysconfig
import threading
import typing as ty

from tests.lab import errors
from tests.lab import place
from tests.stages import lock
from tests.stages import packages
from tests.stages import processes
from tests.stages import venvs

# Seconds to wait for another tool that makes the same.
LOCK_TIMEOUT = 600

# The bindings to Ceph are in no package index: these two of Debian's Python
# packages, which are made for the same Python. They may be installed later.
CEPH_BINDINGS = ('rados', 'rbd')
# Asked here, before there are threads: the first call fills a table that a
# second one finds half full. :source: CPython, sysconfig.get_config_vars
EXTENSION = str(sysconfig.get_config_var('EXT_SUFFIX'))

Future = concurrent.futures.Future
Result = ty.TypeVar('Result')


class Ground:
    """All that can be asked for; the folder is the lab's.

    Each method raises LabError when a thing cannot be made, and raises the
    same again when it is asked once more.
    """

    def __init__(self, runner: processes.Processes) -> None:
        self.folder = place.lab_dir()
        self.runner = runner
        self.is_root = os.geteuid() == 0
        self._lock = threading.Lock()
        self._made: dict[str, Future[ty.Any]] = {}

    def once(self, name: str, make: cabc.Callable[[], Result]) -> Result:
        """Make a thing, or wait until another thread has made it.

        Another process waits as well.
        """
        with self._lock:
            is_mine = name not in self._made
            made: Future[Result] = self._made.setdefault(
                name, Future())
        if is_mine:
            try:
                with lock.held(self.folder / f'{name}.lock',
                               patience=LOCK_TIMEOUT):
                    made.set_result(make())
            except BaseException as exc:
                made.set_exception(exc)
        return made.result()

    def need_root(self, why: str) -> None:
        """Refuse what only root can do.

        :raises LabError: for another user
        """
        if not self.is_root:
            raise errors.LabError(f'must be run as root: {why}')

    def install(self, *names: str) -> None:
        """Install Debian packages, as root; another user has to have them."""
        if self.is_root:
            packages.install(names, self.runner)

    def venv(self, name: str) -> venvs.Venv:
        """Name a virtual environment; nothing is made."""
        return venvs.Venv(self.folder / name, self.runner)

    def linters(self) -> venvs.Venv:
        """What judges the source; needs neither root nor packages."""
        return self.once('linters', self._linters)

    def product(self) -> venvs.Venv:
        """The checkout and what its tests need."""
        return self.once('venv', self._product)

    def services(self) -> venvs.Venv:
        """Glance and uWSGI, apart from the product."""
        return self.once('services', self._services)

    def cinder(self) -> venvs.Venv:
        """Cinder and Keystone, for volumes."""
        return self.once('cinder', self._cinder)

    def add_binding(self, venv: venvs.Venv) -> None:
        """Put libvirt's Python binding into a virtual environment.

        For root it is compiled, for the libvirt that is installed.
        """
        self.install(*packages.BUILD)
        venv.add_binding(own=self.is_root)

    def _linters(self) -> venvs.Venv:
        venv = self.venv('linters')
        stamp = venvs.digest('requirements.txt', 'lint-requirements.txt')
        if not venv.is_current(stamp):
            venv.create()
            # mypy reads the libraries' types; the binding has none.
            venv.pip('-r', str(place.CHECKOUT / 'lint-requirements.txt'),
                     *(line for line in venvs.requirements()
                       if not line.startswith(venvs.BINDING)))
            venv.finish(stamp)
        return venv

    def _product(self) -> venvs.Venv:
        venv = self.venv('venv')
        stamp = f'{place.CHECKOUT} ' + venvs.digest(
            'requirements.txt', 'test-requirements.txt',
            'lint-requirements.txt', 'setup.cfg')
        if not venv.is_current(stamp):
            venv.create()
            self.add_binding(venv)
            venv.pip('-e', str(place.CHECKOUT), '-r',
                     str(place.CHECKOUT / 'test-requirements.txt'))
            venv.finish(stamp)
        return venv

    def _services(self) -> venvs.Venv:
        venv = self.venv('services')
        file = 'tests/lab/requirements.txt'
        stamp = venvs.digest(file)
        if not venv.is_current(stamp):
            self.install(*packages.BUILD)
            venv.create()
            wanted = venvs.requirements(file)
            uwsgi = [line for line in wanted
                     if line.lower().startswith('uwsgi==')]
            venv.pip(*(line for line in wanted if line not in uwsgi))
            # uWSGI is linked to one libpython: never one that pip has kept
            # from another Python of the same version.
            venv.pip('--no-cache-dir', '--no-deps', '--no-binary', 'uWSGI',
                     *uwsgi, env={'UWSGI_PROFILE': 'pyonly'})
            venv.finish(stamp)
        return venv

    def _cinder(self) -> venvs.Venv:
        venv = self.venv('cinder')
        file = 'tests/lab/cinder-requirements.txt'
        stamp = venvs.digest(file)
        if not venv.is_current(stamp):
            self.install(*packages.BUILD)
            venv.create()
            # Of Cinder little is imported: to compile all of it takes longer.
            venv.pip('--no-compile', '-r', str(place.CHECKOUT / file))
            self.with_ceph(venv)
            venv.finish(stamp)
        return venv

    def with_ceph(self, venv: venvs.Venv) -> venvs.Venv:
        """Let a virtual environment see Ceph's bindings."""
        for name in CEPH_BINDINGS:
            library = name + EXTENSION
            link = venv.site_packages / library
            if not link.is_symlink():
                link.symlink_to(venvs.DIST_PACKAGES / library)
        return venv

    def all_at_once(self, *makers: cabc.Callable[[], object]) -> None:
        """Make several things at the same time.

        One waits for the disk while the other waits for the network.

        :raises LabError: the first failure, when all have ended
        """
        with concurrent.futures.ThreadPoolExecutor(len(makers)) as pool:
            made = [pool.submit(maker) for maker in makers]
        for one in made:
            one.result()
