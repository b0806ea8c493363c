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

"""A qcow2 image whose every byte has its place before one is read.

::

    header | refcount table | refcount blocks | L1 | L2 tables | data clusters

Each cluster is used once and lies where the order of the disk puts it, so
the image can be written from its first byte to its last. It has no backing
file, and what reads as zeros is left out.

:source: QEMU docs/interop/qcow2.txt
"""

import array
import bisect
import collections.abc as cabc
import struct
import sys

from nova_snap.model import extents as extents_model
from nova_snap.model import pieces as pieces_model

MAGIC = b'QFI\xfb'
VERSION = 3
# QEMU's default: 64 KiB.
CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
# A refcount has 1 << REFCOUNT_ORDER bits; QEMU's default.
REFCOUNT_ORDER = 4
REFCOUNT = b'\0\1'
HEADER_LENGTH = 104

# An entry of a refcount table, of an L1 or of an L2 table has 8 bytes.
ENTRY = 8
ENTRIES = CLUSTER // ENTRY
REFCOUNTS = CLUSTER // len(REFCOUNT)
# What one L2 table describes: 512 MiB of the disk.
PER_L2 = CLUSTER * ENTRIES

# A virtual size counts in sectors; QEMU rounds that of a raw disk up, too.
# :source: QEMU block/qcow2.c qcow2_do_open; block.c bdrv_getlength
SECTOR = 512

# The cluster that an entry of L1 or L2 names is used once.
COPIED = 1 << 63


class Qcow2:
    """The layout of one disk in the format qcow2, version 3.

    :ivar size_bytes: of the image
    """

    def __init__(self, disk_bytes: int,
                 extents: cabc.Sequence[extents_model.Extent]) -> None:
        """Lay an image out.

        :param disk_bytes: what the guest sees
        :param extents: of the disk, without a gap
        """
        self._disk_bytes = disk_bytes
        self._runs = _Runs(extents)
        self._l1_entries = _in_units(disk_bytes, PER_L2)
        self._l2_tables = [number for number in range(self._l1_entries)
                           if self._runs.within(number * ENTRIES,
                                                (number + 1) * ENTRIES)]
        l1 = _in_units(self._l1_entries, ENTRIES)
        rest = 1 + l1 + len(self._l2_tables) + self._runs.clusters
        self._table, self._blocks = _refcount_clusters(rest)
        # In clusters from the first byte of the image.
        self._l1_at = 1 + self._table + self._blocks
        self._l2_at = self._l1_at + l1
        self._data_at = self._l2_at + len(self._l2_tables)
        self._clusters = rest + self._table + self._blocks
        self.size_bytes = self._clusters * CLUSTER

    def pieces(self) -> cabc.Iterator[pieces_model.Piece]:
        yield from map(pieces_model.Known, self._metadata())
        for first, count, _ in self._runs:
            begin = first * CLUSTER
            end = min(begin + count * CLUSTER, self._disk_bytes)
            yield from pieces_model.of_disk(begin, end - begin)
            # The last cluster is whole where the disk ends within it.
            yield from pieces_model.zeros(begin + count * CLUSTER - end)

    def _metadata(self) -> cabc.Iterator[bytes]:
        yield self._header()
        yield _table(1 + self._table + number
                     for number in range(self._blocks))
        for number in range(self._blocks):
            used = min(self._clusters - number * REFCOUNTS, REFCOUNTS)
            yield _padded(REFCOUNT * used)
        yield self._l1()
        for number in self._l2_tables:
            yield self._l2(number)

    def _header(self) -> bytes:
        header = MAGIC + struct.pack(
            '>I QI I QI IQ QI IQ QQQ II', VERSION,
            0, 0,                                 # no backing file
            CLUSTER_BITS,
            _in_units(self._disk_bytes, SECTOR) * SECTOR,
            0,                                    # not encrypted
            self._l1_entries, self._l1_at * CLUSTER,
            CLUSTER, self._table,                 # the refcount table
            0, 0,                                 # no snapshots
            0, 0, 0,                              # no features
            REFCOUNT_ORDER, HEADER_LENGTH)
        # What follows are extensions of the header; zeros end them.
        return _padded(header)

    def _l1(self) -> bytes:
        entries = array.array('Q', bytes(ENTRY * self._l1_entries))
        for place, number in enumerate(self._l2_tables):
            entries[number] = (self._l2_at + place) * CLUSTER | COPIED
        return _padded(_big_endian(entries))

    def _l2(self, number: int) -> bytes:
        first = number * ENTRIES
        entries = array.array('Q', bytes(CLUSTER))
        for begin, count, before in self._runs.within(first, first + ENTRIES):
            at = (self._data_at + before) * CLUSTER
            entries[begin - first:begin - first + count] = array.array(
                'Q', (at + place * CLUSTER | COPIED
                      for place in range(count)))
        return _big_endian(entries)


class _Runs:
    """The clusters of the disk that hold data, in runs.

    A run is its first cluster, how many there are, and how many come before
    it in all.

    :ivar clusters: in all runs
    """

    def __init__(self, extents: cabc.Iterable[extents_model.Extent]) -> None:
        # Arrays: a disk may have millions of them.
        self._first = array.array('Q')
        self._end = array.array('Q')
        self._before = array.array('Q')
        self.clusters = 0
        for extent in extents:
            if not extent.is_zero:
                self._add(extent.offset // CLUSTER,
                          _in_units(extent.offset + extent.length, CLUSTER))

    def _add(self, first: int, end: int) -> None:
        """Add clusters, some of which may be in the last run already."""
        if self._end and first <= self._end[-1]:
            first = self._end[-1]
            self._end[-1] = max(end, first)
        else:
            self._first.append(first)
            self._end.append(end)
            self._before.append(self.clusters)
        self.clusters += max(end - first, 0)

    def __iter__(self) -> cabc.Iterator[tuple[int, int, int]]:
        for first, end, before in zip(self._first, self._end, self._before,
                                      strict=True):
            yield first, end - first, before

    def within(self, begin: int, end: int) -> list[tuple[int, int, int]]:
        """Return what of the runs lies between two clusters."""
        found = []
        place = bisect.bisect_right(self._end, begin)
        while place < len(self._first) and self._first[place] < end:
            first = max(self._first[place], begin)
            found.append((first, min(self._end[place], end) - first,
                          self._before[place] + first - self._first[place]))
            place += 1
        return found


def _refcount_clusters(rest: int) -> tuple[int, int]:
    """Return the clusters of the refcount table and of its blocks.

    They count themselves too.

    :param rest: all other clusters of the image
    """
    table = blocks = 0
    while True:
        needed = _in_units(rest + table + blocks, REFCOUNTS)
        if needed == blocks:
            return table, blocks
        blocks = needed
        table = _in_units(blocks, ENTRIES)


def _table(clusters: cabc.Iterable[int]) -> bytes:
    return _padded(_big_endian(array.array(
        'Q', (cluster * CLUSTER for cluster in clusters))))


def _big_endian(entries: 'array.array[int]') -> bytes:
    if sys.byteorder == 'little':
        entries.byteswap()
    return entries.tobytes()


def _padded(data: bytes) -> bytes:
    return data.ljust(_in_units(len(data), CLUSTER) * CLUSTER, b'\0')


def _in_units(size: int, unit: int) -> int:
    """Return how many units a size takes."""
    return -(-size // unit)
