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


"""What both readers do alike; standard library alone."""

import json
import os
import pathlib
import re
import time

# As the product reads.
PIECE = 1 << 20
DEPTH = 4


def pieces(extents: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cut extents into reads."""
    return [(start, min(PIECE, offset + length - start))
            for offset, length in extents
            for start in range(offset, offset + length, PIECE)]


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._cpu = sum(os.times()[:2])

    def report(self, extents: int, size: int) -> None:
        """Print what was read, and what that took, for a program."""
        seconds = time.monotonic() - self._began
        # getrusage() would say what the parent has, if that is larger.
        peak = re.search(r'^VmHWM:\s+(\d+) kB$', pathlib.Path(
            '/proc/self/status').read_text(), re.MULTILINE)
        assert peak is not None
        print(json.dumps({
            'extents': extents, 'bytes': size, 'seconds': seconds,
            'cpu_seconds': sum(os.times()[:2]) - self._cpu,
            'memory_bytes': int(peak[1]) * 1024}))
