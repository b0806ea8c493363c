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

"""What a stream is made of: bytes that are known, and bytes of a disk.

The order of the pieces is the order of the stream. Only a piece of the disk
has to be read, and it is known beforehand which ones there will be: so the
size of the whole is known before the first byte, and what comes next can be
read ahead.
"""

import collections.abc as cabc
import dataclasses
import typing as ty

from nova_snap.model import extents as extents_model
from nova_snap import units

# Bytes of the longest piece: few requests, and little memory for those that
# are read ahead.
LONGEST_PIECE = units.MiB

_ZEROS = bytes(LONGEST_PIECE)


@dataclasses.dataclass(frozen=True)
class Known:
    """Bytes that need not be read."""

    data: bytes | memoryview


@dataclasses.dataclass(frozen=True)
class OfDisk:
    """Bytes of the disk.

    :ivar offset: on the disk
    :ivar length: at most LONGEST_PIECE
    """

    offset: int
    length: int


Piece: ty.TypeAlias = Known | OfDisk


class Layout(ty.Protocol):
    """An image of a disk, in one format."""

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all pieces together."""

    def pieces(self) -> cabc.Iterator[Piece]:
        """Yield the pieces from the first one, as often as it is asked."""


class Raw:
    """The disk as it is, zeros included."""

    def __init__(self, size_bytes: int,
                 extents: cabc.Sequence[extents_model.Extent]) -> None:
        """Know the disk.

        :param extents: without a gap, from its first byte to its last
        """
        self.size_bytes = size_bytes
        self._extents = extents

    def pieces(self) -> cabc.Iterator[Piece]:
        for extent in self._extents:
            if extent.is_zero:
                yield from zeros(extent.length)
            else:
                yield from of_disk(extent.offset, extent.length)


def zeros(length: int) -> cabc.Iterator[Known]:
    """Yield so many bytes that are 0."""
    for size in _cut(length):
        yield Known(memoryview(_ZEROS)[:size])


def of_disk(offset: int, length: int) -> cabc.Iterator[OfDisk]:
    """Yield one range of the disk in pieces."""
    for size in _cut(length):
        yield OfDisk(offset, size)
        offset += size


def _cut(length: int) -> cabc.Iterator[int]:
    while length:
        size = min(length, LONGEST_PIECE)
        yield size
        length -= size
