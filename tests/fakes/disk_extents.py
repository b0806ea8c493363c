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

"""Disks for tests of an image's layout: where data lie, and which."""

import contextlib
import functools
import hashlib
import typing as ty

from hypothesis import strategies

from nova_snap.model import extents as extents_model
from nova_snap.model import qcow2 as qcow2_model
from tests.fakes import examples

# The same examples in each run, which leaves no files.
settings = functools.partial(examples.settings, derandomize=True,
                             database=None)

# Around the borders of sectors and clusters, and anywhere.
LENGTHS = strategies.one_of(
    strategies.integers(1, 3 * qcow2_model.CLUSTER),
    strategies.sampled_from((511, 512, 513, qcow2_model.CLUSTER - 1,
                             qcow2_model.CLUSTER, qcow2_model.CLUSTER + 1)))
# Holes may be long, and cross what one L2 table describes.
HOLES = strategies.one_of(LENGTHS, strategies.integers(
    1, 3 * qcow2_model.PER_L2))


@strategies.composite
def extents(draw: ty.Any) -> list[extents_model.Extent]:
    """Draw the extents of a disk, data and zeros as it comes."""
    found: list[extents_model.Extent] = []
    offset = 0
    for is_zero in draw(strategies.lists(strategies.booleans(), max_size=12)):
        length = draw(HOLES if is_zero else LENGTHS)
        found.append(extents_model.Extent(offset, length, is_zero))
        offset += length
    return found


def size_of(found: list[extents_model.Extent]) -> int:
    """Return the bytes of the disk."""
    return found[-1].end if found else 0


class Disk:
    """A disk whose every byte follows from its place, and its one reader.

    :ivar taken: the ranges that were read
    """

    def __init__(self, found: list[extents_model.Extent]) -> None:
        self.extents = found
        self.size_bytes = size_of(found)
        self.taken: list[tuple[int, int]] = []

    @contextlib.contextmanager
    def connect(self) -> ty.Iterator['Disk']:
        yield self

    def read(self, ranges: ty.Iterable[tuple[int, int]]
             ) -> ty.Iterator[memoryview]:
        """Yield ranges in one buffer, which the next one overwrites."""
        buffer = bytearray()
        for offset, length in ranges:
            self.taken.append((offset, length))
            buffer[:] = self.at(offset, length)
            yield memoryview(bytes(buffer))

    def settle(self) -> None:
        """Do nothing: no range is read before it is taken."""

    def at(self, offset: int, length: int) -> bytes:
        """Return what the guest sees at a place; zeros behind the end."""
        data = bytearray(length)
        for extent in self.extents:
            begin = max(offset, extent.offset)
            end = min(offset + length, extent.end)
            if not extent.is_zero and begin < end:
                data[begin - offset:end - offset] = _pattern(begin, end)
        return bytes(data)


# Longer than a cluster by a prime: no two clusters begin alike.
_PATTERN = hashlib.shake_128(b'disk').digest(qcow2_model.CLUSTER + 251)


def _pattern(begin: int, end: int) -> bytes:
    """Return bytes that depend on their place alone."""
    start = begin % len(_PATTERN)
    times = (start + end - begin) // len(_PATTERN) + 1
    return (_PATTERN * times)[start:start + end - begin]
