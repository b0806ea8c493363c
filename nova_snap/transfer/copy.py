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

"""Bytes of an image that are written where it lies, and not sent.

::

    read ahead and hashed |==|==|  |==|        in a thread
    written               |==|==|  |==|        several at a time
    zeros                         |    |=====  hashed, and not written
"""

import collections.abc as cabc
import typing as ty

from nova_snap.model import stream
from nova_snap import units

# Zeros of fewer bytes are written: what is left out in smaller parts takes
# more writes than it saves.
BLOCK = 64 * units.KiB

_ZEROS = bytes(BLOCK)


class Sink(ty.Protocol):
    """An image that is written to."""

    def write_later(self, offset: int, data: bytes) -> None:
        """Begin to write, and wait only where too much is under way."""

    def write_zeros(self, offset: int, length: int) -> None:
        """Let a range read as zeros, whatever was there."""

    def flush(self) -> None:
        """Wait until all that was written is safe."""


def copy(reader: stream.Reader, sink: Sink) -> int:
    """Write all that is read to where it was read, but for zeros.

    :param sink: of zeros

    :returns: bytes that were read
    :raises StorageError: when one of the two sides fails
    """
    offset = 0
    while chunk := reader.read():
        _write(sink, offset, chunk)
        offset += len(chunk)
    sink.flush()
    return offset


def copy_data(data: cabc.Iterable[tuple[int, bytes]], sink: Sink) -> None:
    """Write what is given with its places, but for zeros.

    :param sink: of zeros
    :raises StorageError: when one of the two sides fails
    """
    for offset, chunk in data:
        _write(sink, offset, chunk)
    sink.flush()


def copy_changes(data: cabc.Iterable[tuple[int, bytes]],
                 zeros: cabc.Iterable[tuple[int, int]], sink: Sink) -> None:
    """Write what is given with its places over what was there before.

    :param zeros: offset and length of each range that is zeros now
    :raises StorageError: when one of the two sides fails
    """
    for offset, length in zeros:
        sink.write_zeros(offset, length)
    for offset, chunk in data:
        sink.write_later(offset, chunk)
    sink.flush()


def _write(sink: Sink, offset: int, chunk: bytes) -> None:
    for begin, end in _data(chunk):
        sink.write_later(offset + begin,
                         # What is taken whole is not copied.
                         chunk if end - begin == len(chunk)
                         else chunk[begin:end])


def _data(chunk: bytes) -> cabc.Iterator[tuple[int, int]]:
    """Yield begin and end of each run of blocks that are not all zeros."""
    begin: int | None = None
    for at in range(0, len(chunk), BLOCK):
        is_zero = chunk.startswith(_ZEROS[:len(chunk) - at], at)
        if is_zero and begin is not None:
            yield begin, at
            begin = None
        elif not is_zero and begin is None:
            begin = at
    if begin is not None:
        yield begin, len(chunk)
