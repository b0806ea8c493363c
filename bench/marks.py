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


"""How a client says that it is loaded, and what that had cost.

The clock of a snapshot begins there: nova-compute is loaded long before.
Standard library alone, so that to import it costs nothing.
"""

import json
import os
import pathlib
import resource
import time
import typing as ty

# In the client's environment: the file for what it says.
VARIABLE = 'NOVA_SNAP_BENCH_MARKS'

IO = pathlib.Path('/proc/self/io')


def loaded() -> None:
    """Write down the time, and what this process has used so far.

    Only once: a second call changes nothing.
    """
    path = os.environ.pop(VARIABLE, None)
    if path:
        pathlib.Path(path).write_text(json.dumps(used()))


def used() -> dict[str, float]:
    """Return the time and what this process and its ended children used.

    :source: Linux, wait_task_zombie() adds a child's I/O to its parent's
    """
    found: dict[str, float] = {'time': time.monotonic(), 'cpu': sum(
        one.ru_utime + one.ru_stime for one in (
            resource.getrusage(resource.RUSAGE_SELF),
            resource.getrusage(resource.RUSAGE_CHILDREN)))}
    return found | io_of(IO.read_text())


def io_of(text: str) -> dict[str, ty.Any]:
    """Return the bytes read from files and disks, and written to disks.

    The first are those of system calls, wherever the bytes came from, but for
    asynchronous ones; the second are those that were fetched from a disk; the
    last are those that went into the page cache or past it.

    :param text: of a file /proc/PID/io
    :source: Linux, Documentation/filesystems/proc.rst; fs/aio.c aio_read,
        which counts no rchar
    """
    lines = dict(line.split(': ') for line in text.splitlines())
    return {'read': int(lines['rchar']),
            'fetched': int(lines['read_bytes']),
            'written': int(lines['write_bytes'])}
