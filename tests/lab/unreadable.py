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


"""A file that QEMU's storage daemon serves, with a sector that goes bad.

The file is there by FUSE, so every program meets the error.
"""

import collections.abc as cabc
import contextlib
import json
import pathlib
import socket
import subprocess

from tests.lab import process

# Seconds until the file is there, and for an answer.
START_TIMEOUT = 10
# The unit of blkdebug's places.
SECTOR = 512
# EIO
ERROR = 5
NODE = 'disk'
GOOD, BAD = 'good', 'bad'


class Served:
    """The file, while it is served."""

    def __init__(self, monitor: pathlib.Path) -> None:
        self._monitor = monitor

    def go_bad(self, bad: bool = True) -> None:
        """Let each read of the sector fail, or none."""
        self._tell('blockdev-reopen', options=[{
            'driver': 'raw', 'node-name': NODE,
            'file': BAD if bad else GOOD}])

    def _tell(self, command: str, **arguments: object) -> None:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(START_TIMEOUT)
            monitor.connect(str(self._monitor))
            with monitor.makefile('rw') as lines:
                lines.readline()
                for words in ({'execute': 'qmp_capabilities'},
                              {'execute': command, 'arguments': arguments}):
                    lines.write(json.dumps(words))
                    lines.flush()
                    answer = json.loads(lines.readline())
                    assert 'return' in answer, answer


@contextlib.contextmanager
def served(behind: pathlib.Path, path: pathlib.Path,
           offset: int) -> cabc.Iterator[Served]:
    """Serve a raw file under another path, for the block.

    :param path: where a guest's QEMU sees what is mounted
    :param offset: of the sector that can go bad
    :raises LabError: when it is not there in time
    :source: QEMU docs/devel/blkdebug.txt
    """
    path.touch()
    monitor = behind.with_suffix('.monitor')
    daemon = subprocess.Popen([
        'qemu-storage-daemon',
        '--chardev', f'socket,path={monitor},server=on,wait=off,id=monitor',
        '--monitor', 'chardev=monitor',
        '--blockdev', f'driver=file,node-name={GOOD},filename={behind}',
        '--blockdev', f'driver=blkdebug,node-name={BAD},image={GOOD},'
        'inject-error.0.event=none,inject-error.0.iotype=read,'
        f'inject-error.0.errno={ERROR},inject-error.0.once=off,'
        f'inject-error.0.sector={offset // SECTOR}',
        '--blockdev', f'driver=raw,node-name={NODE},file={GOOD}',
        '--export', f'type=fuse,id=export,node-name={NODE},'
        f'mountpoint={path},writable=on,allow-other=on'])
    try:
        size = behind.stat().st_size
        process.wait_until(lambda: path.stat().st_size == size,
                           timeout=START_TIMEOUT, what=str(path))
        yield Served(monitor)
    finally:
        daemon.terminate()
        daemon.wait()
        path.unlink()
