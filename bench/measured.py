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


"""Run a client to its end and write down what it used, with all it started.

``python -m bench.measured RESULT -- COMMAND...``

What the client leaves behind becomes a child of this process, and is counted
as well: a server that leads a session of its own, too.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from bench import marks

USAGE = 'usage: python -m bench.measured RESULT -- COMMAND...'

# :source: linux/include/uapi/linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

# Seconds for what the client has left to end.
PATIENCE = 30
POLL = 0.01


def main(argv: list[str]) -> int:
    """Run the command and return its exit status."""
    if len(argv) < 3 or argv[1] != '--':
        print(USAGE, file=sys.stderr)
        return 2
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)
    path = pathlib.Path(argv[0])
    mark = path.with_suffix('.marks')
    mark.unlink(missing_ok=True)
    before = marks.used()
    child = subprocess.Popen(argv[2:], env={**os.environ,
                                            marks.VARIABLE: str(mark)})
    status = child.wait()
    ended = time.monotonic()
    is_left = not _reap()
    after = marks.used()
    loaded = json.loads(mark.read_text()) if mark.exists() else before
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    path.write_text(json.dumps({
        'status': status,
        'is_left': is_left,
        'began': loaded['time'],
        'ended': ended,
        'seconds': ended - loaded['time'],
        'load_seconds': loaded['time'] - before['time'],
        'cpu_seconds': (children.ru_utime + children.ru_stime
                        - (loaded['cpu'] if mark.exists() else 0)),
        # qemu-nbd reads by calls that are counted at the disk alone.
        'read_bytes': max(_since(before, loaded, after, name)
                          for name in ('read', 'fetched')),
        'written_bytes': _since(before, loaded, after, 'written'),
        'memory_bytes': children.ru_maxrss * 1024,
    }))
    mark.unlink(missing_ok=True)
    return status


def _since(before: dict[str, float], loaded: dict[str, float],
           after: dict[str, float], name: str) -> float:
    """Return what the client used from when it was loaded."""
    total = after[name] - before[name]
    return total if loaded is before else total - loaded[name]


def _reap() -> bool:
    """Wait for all that became a child of ours; tell whether it ended."""
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(POLL)
        return False
    return True


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
