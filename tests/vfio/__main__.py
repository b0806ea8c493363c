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

"""Boot the outer machine and let it run the cases; see tools/vfio."""

import argparse
import contextlib
import pathlib
import shutil
import signal
import sys
import time
import types

from tests.lab import errors
from tests.lab import glance as glance_module
from tests.lab import place
from tests.lab import process
from tests.vfio import build as vfio_build
from tests.vfio import cases
from tests.vfio import machine as machine_module

# What is run in the machine.
PRODUCT = 'nova_snap'
TESTS = ('tests/__init__.py', 'tests/lab', 'tests/vfio')
GUEST = 'guest.elf'

# Seconds without a line of the machine: the longest case takes a tenth.
SILENCE = 900
POLL = 0.5
# How QEMU's network names the machine that it runs on.
OUTSIDE = '10.0.2.2'


def main() -> int:
    """Do as the command line says; 0 when every case passed."""
    signal.signal(signal.SIGTERM, _end)
    parser = argparse.ArgumentParser(prog='tools/vfio', allow_abbrev=False)
    parser.add_argument('--down', action='store_true',
                        help='end a machine that was left running')
    parser.add_argument('--keep', action='store_true',
                        help='leave the machine running')
    parser.add_argument('--list', action='store_true',
                        help='name the cases')
    parser.add_argument('--product', type=pathlib.Path,
                        default=place.CHECKOUT, metavar='CHECKOUT',
                        help='whose nova_snap is tried (default: this one)')
    parser.add_argument('cases', nargs='*', metavar='CASE')
    options = parser.parse_args()
    unknown = set(options.cases) - set(cases.CASES)
    if unknown:
        parser.error(f'no case {", ".join(sorted(unknown))}; see --list')
    if options.list:
        print('\n'.join(cases.CASES))
        return 0
    try:
        run_dir = place.make_dir(vfio_build.folder() / 'run')
        if options.down:
            _down(run_dir)
            return 0
        return _run(run_dir, options)
    except errors.LabError as exc:
        print(f'vfio: {exc}', file=sys.stderr)
        return 1


def _run(run_dir: pathlib.Path, options: argparse.Namespace) -> int:
    machine = machine_module.Machine(run_dir)
    with contextlib.ExitStack() as ending:
        if not options.keep:
            ending.callback(_down, run_dir)
        machine.stop()
        images = glance_module.Glance(run_dir).start(wait=False)
        _fill_share(machine.share, options.product)
        began = time.monotonic()
        words = {
            'glance': images.endpoint.replace('127.0.0.1', OUTSIDE),
            'cases': ','.join(options.cases or cases.CASES)}
        if options.keep:
            words['keep'] = 'yes'
        vfio_build.qemu()
        vfio_build.root_disk()
        images.wait_ready()
        print(f'built after {time.monotonic() - began:.0f} s', flush=True)
        began = time.monotonic()
        machine.boot(words)
        status = _relay(machine)
        print(f'ended {time.monotonic() - began:.0f} s after the boot')
        if options.keep:
            print(f'it still runs: socat -,raw,echo=0 {machine.shell}')
        return status


def _relay(machine: machine_module.Machine) -> int:
    """Print what the cases say, until they say that it is the end.

    :raises LabError: when the machine ends before, or says nothing more
    """
    shown, deadline = 0, time.monotonic() + SILENCE
    while True:
        runs = machine.running
        with contextlib.suppress(FileNotFoundError):
            lines = machine.report.read_text().splitlines(keepends=True)
            for line in lines[shown:]:
                if not line.endswith('\n'):
                    break
                shown += 1
                deadline = time.monotonic() + SILENCE
                word, _, rest = line.partition(' ')
                if word == 'END':
                    return int(rest)
                print(line, end='', flush=True)
        if not runs or time.monotonic() > deadline:
            raise errors.LabError(
                f'the machine {"is silent" if runs else "ended"}: see '
                f'{machine.logs}\n{machine.why()}')
        time.sleep(POLL)


def _fill_share(share: pathlib.Path, product: pathlib.Path) -> None:
    """Copy what is run, and compile it: emulated that would take long."""
    shutil.rmtree(share, ignore_errors=True)
    place.make_dir(share)
    for source, names in ((product, (PRODUCT,)), (place.CHECKOUT, TESTS)):
        process.run(['cp', '--recursive', '--parents', *names, str(share)],
                    cwd=source)
    process.run([sys.executable, '-m', 'compileall', '-q',
                 '--invalidation-mode', 'unchecked-hash', str(share)])
    vfio_build.guest(share / GUEST)


def _down(run_dir: pathlib.Path) -> None:
    machine_module.Machine(run_dir).stop()
    glance_module.Glance(run_dir).stop()


def _end(_: int, __: types.FrameType | None) -> None:
    """End as after Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
