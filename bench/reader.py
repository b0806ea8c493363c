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


"""The product's NBD client and libnbd's binding on one export, in turn.

See bench/reader. Each is a process of its own: the binding is Debian's, for
the system's Python.
"""

import argparse
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import typing as ty

from bench import results
from bench import shapes
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.model import layer as layer_model
from nova_snap import units
from tests.lab import errors
from tests.lab import place
from tests.lab import process

SHAPE = shapes.SHAPES['mixed']
ROUNDS = 7
TITLE = ('The NBD client and libnbd, each at its best of the rounds, one '
         'export of qemu-nbd')

# Of Debian's package python3-libnbd.
SYSTEM_PYTHON = '/usr/bin/python3'
READERS = {
    'nova_snap': (sys.executable, '-m', 'bench.reader_ours'),
    'libnbd': (SYSTEM_PYTHON, '-m', 'bench.reader_libnbd')}


def main() -> int:
    """Compare them and print a table."""
    parser = argparse.ArgumentParser(prog='bench/reader', allow_abbrev=False)
    parser.add_argument('--rounds', type=int, default=ROUNDS)
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE')
    # Nothing is left running.
    parser.add_argument('--down', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.down:
        return 0
    try:
        with tempfile.TemporaryDirectory(dir=place.lab_dir(),
                                         prefix='reader-') as folder:
            found = _measure(pathlib.Path(folder), options.rounds)
    except errors.LabError as exc:
        print(f'bench/reader: {exc}', file=sys.stderr)
        return 1
    measured = results.Results({}, tables={TITLE: lines(found)})
    print(measured.as_text())
    if options.json is not None:
        options.json.write_text(measured.as_json())
    return 0


def lines(found: ty.Mapping[str, ty.Sequence[ty.Mapping[str, float]]]
          ) -> list[list[str]]:
    """Return the cells of the table: the best of each reader's rounds.

    What slows one down comes from elsewhere; the best has least of it.
    """
    best = {name: min(rounds, key=lambda one: one['seconds'])
            for name, rounds in found.items()}
    return [['reader', 'extents', 'MiB', 'MiB/s', 'CPU s', 'peak MiB'],
            *([name, f'{one["extents"]:.0f}',
               f'{one["bytes"] / units.MiB:.0f}',
               f'{one["bytes"] / units.MiB / one["seconds"]:.0f}',
               f'{one["cpu_seconds"]:.2f}',
               f'{one["memory_bytes"] / units.MiB:.0f}']
              for name, one in best.items())]


def _measure(folder: pathlib.Path,
             rounds: int) -> dict[str, list[dict[str, float]]]:
    disk = folder / 'disk'
    shapes.fill(disk, SHAPE, changed=False)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
    socket = folder / 'socket'
    with contextlib.ExitStack() as stack:
        server = qemu_nbd_module.QemuNbd()
        stack.enter_context(server.serving(
            [layer_model.Layer(str(disk), 'raw')], str(socket)))
        # The disk comes from the page cache from now on.
        for words in READERS.values():
            _read(words, socket)
        for number in range(rounds):
            order = list(READERS)[::-1 if number % 2 else 1]
            for name in order:
                found[name].append(_read(READERS[name], socket))
    counted = {(one['extents'], one['bytes'])
               for rounds_of in found.values() for one in rounds_of}
    if len(counted) != 1:
        raise errors.LabError(f'they did not read the same: {counted}')
    return found


def _read(words: ty.Sequence[str], socket: pathlib.Path) -> dict[str, float]:
    try:
        read: dict[str, float] = json.loads(
            process.run([*words, str(socket)], cwd=place.CHECKOUT))
    except subprocess.SubprocessError as exc:
        raise errors.LabError(str(exc)) from exc
    return read


if __name__ == '__main__':
    sys.exit(main())
