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

"""Prepare what a tool stands on, and become it: demo, e2e, vfio or bench.

``python3 -m tests.stages.tool NAME ARGUMENT...``; see the scripts in tools/
and bench/.
"""

import collections.abc as cabc
import dataclasses
import os
import pathlib
import signal
import sys
import types

from tests.lab import errors
from tests.lab import place
from tests.stages import ground as ground_module
from tests.stages import lock
from tests.stages import packages
from tests.stages import processes
from tests.stages import venvs
from tests.stages import wheel

# The release of Nova in the whole cloud, unless NOVA_VERSION names another.
NOVA_VERSION = '34.0.0'

# There is one cloud on a machine: its ports are fixed.
CLOUD_LOCK = pathlib.Path('/run/lock/nova_snap-e2e')

# What only makes something end, and needs nothing made.
DOWN = '--down'

UNSHARE = ('unshare', '--mount', '--propagation', 'slave')

# What a shell adds to a signal's number.
ENDED_BY = 128


@dataclasses.dataclass(frozen=True)
class Tool:
    """One tool.

    :ivar script: by which it is called
    :ivar becomes: the module, in the product's virtual environment
    :ivar down: the module and arguments that end what was left running
    :ivar only_one: the file whose lock the one that runs holds; a path below
        the lab's folder, or of the whole machine
    :ivar unshared: apart from the machine's own mounts
    :ivar venv: the virtual environment that it runs in
    """

    script: str
    prepare: cabc.Callable[[ground_module.Ground], None]
    becomes: str
    down: tuple[str, ...]
    only_one: pathlib.Path | None = None
    unshared: bool = False
    venv: str = 'venv'


def main(arguments: cabc.Sequence[str]) -> int:
    """Become the tool; return only when that is not possible."""
    name, *rest = arguments
    runner = processes.Processes()
    _end_by_signals(runner)
    try:
        words = _prepared(name, rest, ground_module.Ground(runner))
    except errors.LabError as exc:
        print(f'{TOOLS[name].script}: {exc}', file=sys.stderr)
        return 1
    if words:
        os.execvp(words[0], words)
    processes.say('nothing was ever started')
    return 0


def _prepared(name: str, arguments: cabc.Sequence[str],
              ground: ground_module.Ground) -> list[str]:
    """Prepare all and return the command line; none when there is nothing.

    :raises LabError: when something cannot be made or is in use
    """
    tool = TOOLS[name]
    down = list(arguments[:1]) == [DOWN]
    ground.need_root('it starts a libvirtd of its own')
    lock.take(ground.folder, place.CHECKOUT, tool.script, ends=down)
    if not down:
        if tool.only_one:
            lock.take_alone(ground.folder / tool.only_one, tool.script)
        tool.prepare(ground)
    python = pathlib.Path(ground.venv(tool.venv).program('python'))
    if not python.exists():
        return []
    words = [str(python), '-m',
             *(tool.down if down else (tool.becomes, *arguments))]
    if not tool.unshared:
        return words
    # See tests/e2e/machine.py.
    os.environ['NOVA_SNAP_OUTSIDE'] = os.readlink('/proc/self/ns/mnt')
    return [*UNSHARE, *words]


def _demo(ground: ground_module.Ground) -> None:
    ground.install(*packages.BUILD, *packages.HYPERVISOR)
    ground.all_at_once(ground.product, ground.services)


def _vfio(ground: ground_module.Ground) -> None:
    ground.install(*packages.BUILD, *packages.HYPERVISOR, 'mmdebstrap',
                   'debian-archive-keyring', 'busybox-static')
    ground.all_at_once(ground.product, ground.services)


def _e2e(ground: ground_module.Ground) -> None:
    ground.install(*packages.BUILD, *packages.HYPERVISOR, *packages.VOLUMES,
                   'sudo')
    ground.all_at_once(
        ground.product, lambda: ground.with_ceph(ground.services()),
        ground.cinder,
        lambda: ground.once('e2e-control', lambda: _make_control(ground)),
        lambda: ground.once('e2e-nova', lambda: _make_nova(ground)))
    ground.once('e2e-wheel', lambda: _install_wheel(ground))


def _bench(ground: ground_module.Ground) -> None:
    ground.install(*packages.BUILD, *packages.HYPERVISOR, *packages.CEPH)
    ground.all_at_once(
        lambda: ground.with_ceph(ground.product()),
        lambda: ground.with_ceph(ground.services()),
        lambda: ground.once('bench-plot', lambda: _make_plot(ground)))


def _faults(ground: ground_module.Ground) -> None:
    ground.install(*packages.BUILD, *packages.HYPERVISOR)
    ground.all_at_once(ground.product, ground.services)


def _faults_of_volumes(ground: ground_module.Ground) -> None:
    ground.install(*packages.BUILD, *packages.HYPERVISOR, *packages.VOLUMES)
    ground.all_at_once(lambda: ground.with_ceph(ground.product()),
                       lambda: ground.with_ceph(ground.services()),
                       ground.cinder)


def _fuzz(ground: ground_module.Ground) -> None:
    ground.once('fuzz', lambda: _make_fuzz(ground))


def _reader(ground: ground_module.Ground) -> None:
    # The binding is in no package index.
    ground.install(*packages.BUILD, *packages.HYPERVISOR, 'python3-libnbd')
    ground.product()


def _make_plot(ground: ground_module.Ground) -> None:
    """Make the environment that the benchmark draws in."""
    venv = ground.venv('bench-plot')
    file = 'bench/plot-requirements.txt'
    stamp = venvs.digest(file)
    if not venv.is_current(stamp):
        venv.create()
        venv.pip('--no-compile', '-r', str(place.CHECKOUT / file))
        venv.finish(stamp)


def _make_fuzz(ground: ground_module.Ground) -> None:
    """Make the environment of the product and of what changes bytes."""
    venv = ground.venv('fuzz')
    file = 'tests/faults/fuzz-requirements.txt'
    stamp = venvs.digest(file, 'requirements.txt')
    if not venv.is_current(stamp):
        venv.create()
        venv.pip('-r', str(place.CHECKOUT / file), *(
            line for line in venvs.requirements()
            if not line.startswith(venvs.BINDING)))
        ground.add_binding(venv)
        venv.finish(stamp)


def _make_control(ground: ground_module.Ground) -> None:
    """Make the environment of Keystone, placement, neutron, the clients."""
    venv = ground.venv('e2e-control')
    file = 'tests/e2e/requirements.txt'
    stamp = venvs.digest(file)
    if not venv.is_current(stamp):
        venv.create()
        venv.pip('--no-compile', '-r', str(place.CHECKOUT / file))
        venv.finish(stamp)


def _make_nova(ground: ground_module.Ground) -> None:
    """Make Nova's environment as an operator has it, without the wheel."""
    venv = ground.venv('e2e-nova')
    version = os.environ.get('NOVA_VERSION') or NOVA_VERSION
    stamp = f'{version} {venvs.digest("requirements.txt")}'
    if not venv.is_current(stamp):
        venv.create()
        venv.pip('--no-compile', f'nova=={version}', 'PyMySQL', '-r',
                 str(place.CHECKOUT / 'requirements.txt'))
        venv.finish(stamp)
    ground.with_ceph(venv)


def _install_wheel(ground: ground_module.Ground) -> None:
    venv = ground.venv('e2e-nova')
    stamp = wheel.stamp()
    if not venv.is_current(stamp, 'wheel'):
        file = wheel.build(ground.folder / 'e2e-wheel',
                           ground.product().program('pip'), ground.runner)
        venv.pip('--no-deps', '--force-reinstall', str(file))
        venv.finish(stamp, 'wheel')


def _end_by_signals(runner: processes.Processes) -> None:
    """End what was started to prepare, when a signal says so."""
    def end(number: int, _: types.FrameType | None) -> None:
        runner.stop()
        sys.exit(ENDED_BY + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


TOOLS = {
    'demo': Tool('tools/demo', _demo, 'tests.lab.demo',
                 ('tests.lab', 'down')),
    'e2e': Tool('tools/e2e', _e2e, 'tests.e2e', ('tests.e2e', DOWN),
                CLOUD_LOCK, unshared=True),
    'vfio': Tool('tools/vfio', _vfio, 'tests.vfio', ('tests.vfio', DOWN),
                 pathlib.Path('vfio.lock')),
    'faults': Tool('tools/faults', _faults, 'tests.faults',
                   ('tests.faults', DOWN), pathlib.Path('faults.lock')),
    'faults-of-volumes': Tool(
        'tools/faults', _faults_of_volumes, 'tests.faults',
        ('tests.faults', DOWN), pathlib.Path('faults.lock')),
    'bench': Tool('bench/run', _bench, 'bench', ('bench', DOWN),
                  pathlib.Path('bench.lock')),
    'fuzz': Tool('tools/fuzz', _fuzz, 'tests.faults.fuzz', (DOWN,),
                 venv='fuzz'),
    'reader': Tool('bench/reader', _reader, 'bench.reader',
                   ('bench.reader', DOWN)),
}

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
