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


"""Snapshots by one process, one after the other: does anything grow?

``python -m bench.row REPORT COUNT ENDPOINT ARGUMENTS OF NOVA-SNAP`` is that
process. As nova-compute it lives on, and it deletes each image.
"""

import collections.abc as cabc
import contextlib
import gc
import io
import json
import os
import pathlib
import re
import sys
import threading
import urllib.request

from nova_snap.cmd import main as main_module
from nova_snap import units

STATUS = pathlib.Path('/proc/self/status')
DESCRIPTORS = pathlib.Path('/proc/self/fd')

# Snapshots before the first look: caches are filled by then.
WARM = 10
# Looks at what this process has, over all snapshots.
LOOKS = 10

# What is looked at; the first in this process, the others in the scene.
COLUMNS = ('snapshots', 'MiB', 'descriptors', 'threads')

# What memory may grow by from the first look to the last one, in bytes: the
# allocator's own unrest.
NOISE = 4 * units.MiB
# Connections that are kept for the next call, or about to be closed: to
# libvirt, to Glance, to the export of a disk, of which a look may meet none.
# One that was lost at each snapshot would be as many as there were.
KEPT_OPEN = 4


def main(argv: list[str]) -> int:
    """Take them; 0 when all were taken."""
    report, count, endpoint, *arguments = argv
    looks = []
    for number in range(1, int(count) + 1):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = main_module.main(arguments)
        if status:
            return int(status)
        image = json.loads(said.getvalue())['images'][0]['image_id']
        urllib.request.urlopen(urllib.request.Request(
            f'{endpoint}/v2/images/{image}', method='DELETE')).close()
        if number in when(int(count)):
            looks.append([number, *look()])
            pathlib.Path(report).write_text(json.dumps(looks))
    return 0


def when(count: int) -> set[int]:
    """Return after which snapshots this process looks at itself."""
    first = min(WARM, count)
    return {first + (count - first) * number // (LOOKS - 1)
            for number in range(LOOKS)}


def look() -> tuple[int, int, int]:
    """Return this process's memory, descriptors and threads."""
    gc.collect()
    memory = re.search(r'^VmRSS:\s+(\d+) kB$', STATUS.read_text(),
                       re.MULTILINE)
    assert memory is not None
    return (int(memory[1]) * units.KiB, len(os.listdir(DESCRIPTORS)),
            threading.active_count())


def lines(looks: cabc.Sequence[cabc.Sequence[int]]) -> list[list[str]]:
    """Return the cells of a table."""
    return [list(COLUMNS),
            *([str(number), f'{memory / units.MiB:.1f}', str(descriptors),
               str(threads)]
              for number, memory, descriptors, threads in looks)]


def grown(looks: cabc.Sequence[cabc.Sequence[int]],
          around: cabc.Mapping[str, tuple[int, int]]) -> list[str]:
    """Name what has grown; none when all is flat.

    :param around: what was there before and after, by its name
    """
    found = [f'{name}: {before}, then {after}'
             for name, (before, after) in around.items() if after > before]
    # The least of the second half against that of the first: what was lost
    # stays, and a connection that is about to be closed does not.
    half = len(looks) // 2
    if not half:
        return found
    for column, name, noise in ((1, 'bytes of memory', NOISE),
                                (2, 'descriptors', KEPT_OPEN),
                                (3, 'threads', 0)):
        before = min(one[column] for one in looks[:half])
        after = min(one[column] for one in looks[half:])
        if after > before + noise:
            found.append(f'{name}: {before}, then {after}')
    return found


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
