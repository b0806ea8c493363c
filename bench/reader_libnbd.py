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


"""Read the data of an export with libnbd; see bench/reader.

For the system's Python: nothing of the product is imported.
"""

import collections
import sys

import nbd

from bench import reader_report

CONTEXT = 'base:allocation'
# :source: NBD's protocol, "base:allocation metadata context"
STATE_ZERO = 2
# The most that one block status can be asked for, and QEMU's clusters fit in.
LARGEST_STATUS = (1 << 32) - (1 << 16)


def main(argv: list[str]) -> int:
    """Read all and report it."""
    clock = reader_report.Clock()
    handle = nbd.NBD()
    handle.add_meta_context(CONTEXT)
    handle.connect_unix(argv[0])
    extents = find_extents(handle)
    total = read(handle, reader_report.pieces(extents))
    handle.shutdown()
    clock.report(len(extents), total)
    return 0


def find_extents(handle: nbd.NBD) -> list[tuple[int, int]]:
    """Return where data begin, and how long they are."""
    found: list[tuple[int, int]] = []
    size, offset = handle.get_size(), 0
    while offset < size:
        told: list[int] = []
        handle.block_status(min(LARGEST_STATUS, size - offset), offset,
                            lambda _, __, entries, ___, to=told: to.extend(
                                entries))
        for length, flags in zip(told[::2], told[1::2], strict=True):
            if not flags & STATE_ZERO:
                add(found, offset, length)
            offset += length
    return found


def add(found: list[tuple[int, int]], offset: int, length: int) -> None:
    """Add an extent, joined to the last one where it follows that."""
    if found and sum(found[-1]) == offset:
        found[-1] = (found[-1][0], found[-1][1] + length)
    else:
        found.append((offset, length))


def read(handle: nbd.NBD, pieces: list[tuple[int, int]]) -> int:
    """Read all pieces, some at the same time, and return their bytes."""
    buffers = [nbd.Buffer.from_bytearray(bytearray(reader_report.PIECE))
               for _ in range(reader_report.DEPTH + 1)]
    under_way: collections.deque[tuple[int, int]] = collections.deque()
    wanted, total, number = iter(pieces), 0, 0

    def begin() -> None:
        nonlocal number
        while len(under_way) < reader_report.DEPTH and (
                piece := next(wanted, None)):
            offset, length = piece
            buffer = buffers[number % len(buffers)]
            if length != reader_report.PIECE:
                # A request is as long as its buffer.
                buffer = nbd.Buffer.from_bytearray(bytearray(length))
            under_way.append((handle.aio_pread(buffer, offset), length))
            number += 1

    begin()
    while under_way:
        cookie, length = under_way.popleft()
        while not handle.aio_command_completed(cookie):
            handle.poll(-1)
        begin()
        total += length
    return total


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
