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

"""The stages: what each of them checks, and by which commands."""

import collections.abc as cabc
import dataclasses
import enum
import pathlib

from tests.lab import place
from tests.stages import figures
from tests.stages import ground as ground_module
from tests.stages import labs
from tests.stages import nova
from tests.stages import packages
from tests.stages import performance

# Seconds for one test. One of the flow tests kills a flow at each of its
# calls, dozens of times; the functional tests boot guests without KVM.
UNIT_TEST_TIMEOUT = 60
FLOW_TEST_TIMEOUT = 300
FUNCTIONAL_TEST_TIMEOUT = 900
# Seconds for all of them.
FUNCTIONAL_LIMIT = 3600
VOLUMES_LIMIT = 1800
FAULTS_LIMIT = 900

SHELL_SCRIPTS = (
    '.ci/run', 'bench/reader', 'bench/run', 'devstack/plugin.sh',
    'devstack/settings', 'tools/demo', 'tools/e2e', 'tools/faults',
    'tools/fuzz', 'tools/lib.sh', 'tools/packaging-check', 'tools/test',
    'tools/vfio')
# What the judges of the source are called with. {logs} is the folder of the
# logs, where what a judge remembers is kept as well.
LINTERS: dict[str, tuple[tuple[str, ...], ...]] = {
    'lint': (('ruff', 'check', '--no-cache', '--output-format', 'concise'),
             ('flake8',),
             ('shellcheck', '--severity', 'warning', '--external-sources',
              '--source-path', 'SCRIPTDIR', *SHELL_SCRIPTS)),
    'codespell': (('codespell',),),
    'doc8': (('doc8', 'README.rst', 'CONTRIBUTING.rst', 'doc/source',
              'releasenotes/notes'),),
    'mypy': (('mypy', '--cache-dir', '{logs}/mypy'),),
    'imports': (('lint-imports', '--no-cache'),),
}

# As the linters.
DOCUMENTS = (
    ('sphinx-build', '-q', '-W', '--keep-going', '-d', '{logs}/doctrees',
     '-b', 'html', 'doc/source', 'doc/build/html'),
    ('reno', 'lint'),
    ('sphinx-build', '-q', '-W', '--keep-going', '-d',
     '{logs}/notes-doctrees', '-b', 'html', 'releasenotes/source',
     'releasenotes/build/html'))

LAB = labs.Lab('run')
# Of their own: the stages of two labs may run at the same time, and each
# counts the images that its tests leave in Glance.
SECOND_LAB = labs.Lab('second')
VOLUMES_LAB = labs.Lab('volumes', '--volumes')
LABS = (LAB, SECOND_LAB, VOLUMES_LAB)

Perform = cabc.Callable[[performance.Performance], figures.Figures]


class Lane(enum.Enum):
    """Stages of one lane are performed one after the other."""

    #: on the lab
    LAB = enum.auto()
    #: on another lab, or on nothing that is shared
    SECOND_LAB = enum.auto()
    #: on nothing that is shared
    ALONE = enum.auto()


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage.

    :ivar has_tests: it is made of tests, of which some can be named
    :ivar has_guests: it waits for emulated guests, which must not be slowed
        down
    :ivar takes_long: --fast leaves it out
    :ivar on_request: only when it is named
    """

    name: str
    perform: Perform
    lane: Lane = Lane.ALONE
    has_tests: bool = True
    has_guests: bool = False
    takes_long: bool = False
    on_request: bool = False


def _judge(run: performance.Performance) -> figures.Figures:
    venv = run.ground.linters()
    return run.checks(*_commands(run, venv.program, LINTERS[run.stage]))


def _documents(run: performance.Performance) -> figures.Figures:
    venv = run.ground.product()
    return run.checks(*_commands(run, venv.program, DOCUMENTS))


def _commands(run: performance.Performance,
              program: cabc.Callable[[str], str],
              lines: cabc.Iterable[tuple[str, ...]]) -> list[list[str]]:
    return [[program(name), *(word.format(logs=run.logs) for word in words)]
            for name, *words in lines]


def _unit(run: performance.Performance) -> figures.Figures:
    return run.tests(run.ground.product(), 'unit',
                     test_timeout=UNIT_TEST_TIMEOUT)


def _flow(run: performance.Performance) -> figures.Figures:
    return run.tests(run.ground.product(), 'flow',
                     test_timeout=FLOW_TEST_TIMEOUT)


def _packaging(run: performance.Performance) -> figures.Figures:
    run.ground.install(*packages.BUILD)
    status, output = run.run(str(place.CHECKOUT / 'tools/packaging-check'))
    return figures.of_checks(output, status)


def _lab_up(run: performance.Performance, lab: labs.Lab) -> pathlib.Path:
    """Make what the guests of a lab need, and the lab.

    :returns: the lab's run folder
    """
    run.ground.need_root('it starts a libvirtd of its own')
    run.ground.install(*packages.BUILD, *packages.HYPERVISOR)
    run.ground.services()
    lab.up(run)
    return lab.run_dir(run.ground)


def _functional(run: performance.Performance) -> figures.Figures:
    return _on_lab(run, LAB)


def _kills(run: performance.Performance) -> figures.Figures:
    return _on_lab(run, SECOND_LAB)


def _on_lab(run: performance.Performance,
            lab: labs.Lab) -> figures.Figures:
    """Run the tests of the stage's folder on the guests of a lab."""
    run_dir = _lab_up(run, lab)
    return run.tests(run.ground.product(), run.stage, serial=True,
                     test_timeout=FUNCTIONAL_TEST_TIMEOUT,
                     limit=FUNCTIONAL_LIMIT, run_dir=run_dir)


def _nova_libvirt(run: performance.Performance) -> figures.Figures:
    return nova.on_libvirt(run, _lab_up(run, SECOND_LAB),
                           test_timeout=FUNCTIONAL_TEST_TIMEOUT)


def _faults(run: performance.Performance) -> figures.Figures:
    run_dir = _lab_up(run, SECOND_LAB)
    status, output = run.run(
        run.ground.product().program('python'), '-m', 'tests.faults',
        '--short', '--json', str(run.logs / 'faults.json'),
        limit=FAULTS_LIMIT,
        env={'NOVA_SNAP_LAB_RUN': str(run_dir)})
    return figures.of_checks(output, status)


def prepare_volumes(ground: ground_module.Ground) -> None:
    """Install and make what the volumes need, but for the lab.

    :raises LabError: when that fails, and for another user than root
    """
    ground.need_root('it starts a Ceph and a Cinder of its own')
    ground.all_at_once(
        lambda: ground.install(*packages.BUILD, *packages.HYPERVISOR,
                               *packages.VOLUMES),
        ground.cinder, lambda: ground.with_ceph(ground.services()))


def _volumes(run: performance.Performance) -> figures.Figures:
    prepare_volumes(run.ground)
    VOLUMES_LAB.up(run)
    return run.tests(run.ground.with_ceph(run.ground.product()), 'volumes',
                     serial=True,
                     test_timeout=FUNCTIONAL_TEST_TIMEOUT,
                     limit=VOLUMES_LIMIT,
                     run_dir=VOLUMES_LAB.run_dir(run.ground))


# In the order in which those of one lane are performed.
STAGES = (
    *(Stage(name, _judge, has_tests=False) for name in LINTERS),
    Stage('unit', _unit),
    Stage('flow', _flow),
    Stage('packaging', _packaging, has_tests=False),
    Stage('docs', _documents, has_tests=False),
    # What it runs is almost all Nova's.
    Stage('nova-functional', nova.functional, on_request=True),
    Stage('functional', _functional, lane=Lane.LAB, has_guests=True,
          takes_long=True),
    Stage('nova-libvirt', _nova_libvirt, lane=Lane.SECOND_LAB, has_guests=True,
          takes_long=True),
    Stage('faults', _faults, lane=Lane.SECOND_LAB, has_tests=False,
          has_guests=True, takes_long=True),
    Stage('kills', _kills, lane=Lane.SECOND_LAB, has_guests=True,
          takes_long=True),
    # They need no lab. That lane is the shortest.
    Stage('nova', nova.with_nova, lane=Lane.SECOND_LAB),
    Stage('nova-own', nova.own, lane=Lane.SECOND_LAB),
    Stage('volumes', _volumes, has_guests=True, takes_long=True),
)
BY_NAME = {stage.name: stage for stage in STAGES}
