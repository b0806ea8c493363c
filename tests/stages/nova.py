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

"""Nova together with the wheel of this checkout, as an operator has them."""

import concurrent.futures
import os
import pathlib

from tests.lab import place
from tests.stages import figures
from tests.stages import ground as ground_module
from tests.stages import packages
from tests.stages import performance
from tests.stages import venvs
from tests.stages import wheel

# Of the releases of Nova that the driver is for, 26 to 34: the oldest, one in
# the middle and the newest. --release names others, and
# doc/source/install/index.rst says which were tried.
RELEASES = ('26.3.0', '30.3.0', '34.0.0')

# With eventlet's threads, and with native ones.
ON_LIBVIRT = RELEASES[1:]

# What Nova's own tests are made with. SQLAlchemy 2.1 warns of what Nova does,
# and Nova's tests take a warning for an error.
TEST_PACKAGES = ('ddt', 'fixtures', 'oslotest', 'stestr', 'PyMySQL',
                 'requests-mock', 'testresources', 'testscenarios',
                 'wsgi-intercept', 'SQLAlchemy<2.1')
# What its functional tests need besides, in the newest release.
FUNCTIONAL_PACKAGES = ('openstack-placement==16.0.0',)

# Made at the same time: each pip keeps one core busy.
AT_ONCE = 2

# Seconds for one test.
TEST_TIMEOUT = 120
FUNCTIONAL_TEST_TIMEOUT = 300
# Seconds for all of Nova's functional tests.
FUNCTIONAL_LIMIT = 7200


def with_nova(run: performance.Performance) -> figures.Figures:
    """Test the driver in each release of Nova."""
    releases = run.releases or RELEASES
    run.ground.install(*packages.QEMU_IMG)
    _make(run.ground, *releases)
    counted = figures.Figures()
    for release in releases:
        counted += _tests(run, release, 'with_nova')
    return counted


def on_libvirt(run: performance.Performance, run_dir: pathlib.Path, *,
               test_timeout: int) -> figures.Figures:
    """Test the driver on the lab's libvirt, with each kind of threads."""
    releases = run.releases or ON_LIBVIRT
    _make(run.ground, *releases)
    counted = figures.Figures()
    for release in releases:
        counted += _tests(run, release, 'nova_libvirt', serial=True,
                          run_dir=run_dir, test_timeout=test_timeout)
    return counted


def own(run: performance.Performance) -> figures.Figures:
    """Run Nova's own tests of its libvirt driver, on our class."""
    release = (run.releases or RELEASES)[-1]
    _make(run.ground, release)
    return _tests(run, release, 'nova_own')


def functional(run: performance.Performance) -> figures.Figures:
    """Run Nova's functional tests: whole services on a fake libvirt."""
    release = (run.releases or RELEASES)[-1]
    _make(run.ground, release)
    venv = _venv(run.ground, release)
    stamp = ' '.join(FUNCTIONAL_PACKAGES)
    if not venv.is_current(stamp, 'functional'):
        venv.pip('--no-compile', *FUNCTIONAL_PACKAGES)
        # They look for Nova's own files of etc next to its package.
        etc = venv.site_packages / 'etc'
        etc.unlink(missing_ok=True)
        etc.symlink_to(os.path.relpath(venv.folder / 'etc', etc.parent))
        venv.finish(stamp, 'functional')
    return _tests(run, release, 'nova_functional',
                  test_timeout=FUNCTIONAL_TEST_TIMEOUT,
                  limit=FUNCTIONAL_LIMIT)


def _tests(run: performance.Performance, release: str, folder: str, *,
           test_timeout: int = TEST_TIMEOUT,
           limit: float = performance.LIMIT, serial: bool = False,
           run_dir: pathlib.Path | None = None) -> figures.Figures:
    """Run tests that see of the checkout nothing but themselves.

    The rest comes from the wheel.
    """
    top = place.make_dir(run.ground.folder / 'nova' / 'top')
    link = top / 'tests'
    if not link.is_symlink() or link.readlink() != place.CHECKOUT / 'tests':
        link.unlink(missing_ok=True)
        link.symlink_to(place.CHECKOUT / 'tests')
    return run.tests(_venv(run.ground, release), folder, cwd=top,
                     test_timeout=test_timeout, limit=limit, serial=serial,
                     run_dir=run_dir)


def _venv(ground: ground_module.Ground, release: str) -> venvs.Venv:
    return ground.venv(f'nova/{release}')


def _constraints(release: str) -> list[str]:
    """Hold an old release to the libraries that it was published with.

    pip takes the newest that a release does not forbid, and Nova forbids
    none. With the newest, which lack some of what it imports, it does not
    start.
    """
    number = release.partition('.')[0]
    file = place.CHECKOUT / 'tests' / 'stages' / f'constraints-{number}.txt'
    return ['-c', str(file)] if file.exists() else []


def _make(ground: ground_module.Ground, *releases: str) -> None:
    """Make the environments of releases, each with the wheel in it."""
    place.make_dir(ground.folder / 'nova')
    # pip builds the wheel.
    ground.product()
    ground.once('nova/wheel', lambda: _make_wheel(ground))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for made in [pool.submit(_make_release, ground, release)
                     for release in releases]:
            made.result()


def _make_release(ground: ground_module.Ground, release: str) -> None:
    ground.once(f'nova/{release}', lambda: _make_venv(ground, release))


def _make_wheel(ground: ground_module.Ground) -> None:
    folder = ground.folder / 'nova' / 'wheel'
    stamp = folder / 'stamp'
    wanted = wheel.stamp()
    if not stamp.exists() or stamp.read_text() != wanted:
        wheel.build(folder, ground.product().program('pip'), ground.runner)
        stamp.write_text(wanted)


def _make_venv(ground: ground_module.Ground, release: str) -> None:
    venv = _venv(ground, release)
    stamp = ' '.join((release, *TEST_PACKAGES,
                      venvs.digest('requirements.txt'),
                      *_constraints(release)))
    if not venv.is_current(stamp):
        venv.create()
        ground.add_binding(venv)
        # Of Nova little is imported: to compile all of it takes longer.
        venv.pip('--no-compile', f'nova=={release}', '-r',
                 str(place.CHECKOUT / 'requirements.txt'), *TEST_PACKAGES,
                 *_constraints(release))
        venv.finish(stamp)
    folder = ground.folder / 'nova' / 'wheel'
    built = (folder / 'stamp').read_text()
    if not venv.is_current(built, 'wheel'):
        (file,) = (folder / 'dist').glob('*.whl')
        venv.pip('--no-deps', '--force-reinstall', str(file))
        venv.finish(built, 'wheel')
