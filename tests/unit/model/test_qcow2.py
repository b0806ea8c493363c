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

"""The layout of an image, read by the specification of its format."""

import itertools
import struct

import ddt
import hypothesis
from oslotest import base

from nova_snap.model import extents as extents_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import qcow2 as qcow2_model
from nova_snap import units
from tests.fakes import disk_extents

CLUSTER = qcow2_model.CLUSTER
OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63


class Reader:
    """An image as docs/interop/qcow2.txt has it, and nothing else of it."""

    def __init__(self, data):
        self.data = data
        (magic, version, backing, _, bits, self.size, crypt, l1_size, l1,
         table, table_clusters, snapshots, _, incompatible, compatible,
         autoclear, order, length) = struct.unpack('>4sIQIIQIIQQIIQQQQII',
                                                   data[:104])
        assert (magic, version, backing, bits, crypt) == (
            b'QFI\xfb', 3, 0, 16, 0)
        assert (snapshots, incompatible, compatible, autoclear) == (
            0, 0, 0, 0)
        assert (order, length, data[104:112]) == (4, 104, bytes(8))
        self.used = [0, *self._clusters(table, table_clusters)]
        self.blocks = self.entries(table, table_clusters * CLUSTER // 8)
        self.used += [at // CLUSTER for at in self.blocks if at]
        self.used += self._clusters(l1, -(-l1_size * 8 // CLUSTER))
        self.l2 = self.entries(l1, l1_size)
        self.map = {}
        for number, entry in enumerate(self.l2):
            if entry:
                self._read_l2(number, entry)

    def _read_l2(self, number, entry):
        assert entry & COPIED and not entry & ~(OFFSET | COPIED)
        self.used.append((entry & OFFSET) // CLUSTER)
        for place, at in enumerate(self.entries(entry & OFFSET, 8192)):
            if at:
                assert at & COPIED and not at & ~(OFFSET | COPIED)
                self.used.append((at & OFFSET) // CLUSTER)
                self.map[number * 8192 + place] = at & OFFSET

    @staticmethod
    def _clusters(at, count):
        assert at % CLUSTER == 0
        return range(at // CLUSTER, at // CLUSTER + count)

    def entries(self, at, count):
        return struct.unpack(f'>{count}Q', self.data[at:at + 8 * count])

    def refcount(self, cluster):
        block = self.blocks[cluster // 32768]
        at = block + cluster % 32768 * 2
        return int.from_bytes(self.data[at:at + 2], 'big') if block else 0


def image_of(disk):
    layout = qcow2_model.Qcow2(disk.size_bytes, disk.extents)
    data = b''.join(
        bytes(piece.data) if isinstance(piece, pieces_model.Known)
        else disk.at(piece.offset, piece.length)
        for piece in layout.pieces())
    return layout, data


@ddt.ddt
class Qcow2TestCase(base.BaseTestCase):

    @disk_extents.settings(max_examples=60)
    @hypothesis.given(disk_extents.extents())
    def test_any_disk_is_what_the_guest_sees(self, extents):
        disk = disk_extents.Disk(extents)
        layout, data = image_of(disk)
        self.assertEqual(len(data), layout.size_bytes)
        image = Reader(data)
        self.assertEqual(-(-disk.size_bytes // 512) * 512, image.size)
        # Each cluster is used once and counted once, and there is no other.
        self.assertEqual(list(range(len(data) // CLUSTER)),
                         sorted(image.used))
        self.assertEqual({1}, {image.refcount(cluster)
                               for cluster in image.used})
        wanted = {number for extent in extents if not extent.is_zero
                  for number in range(extent.offset // CLUSTER,
                                      -(-extent.end // CLUSTER))}
        self.assertEqual(wanted, set(image.map))
        for number, at in image.map.items():
            self.assertEqual(disk.at(number * CLUSTER, CLUSTER),
                             data[at:at + CLUSTER])

    @disk_extents.settings(max_examples=60)
    @hypothesis.given(disk_extents.extents())
    def test_the_disk_is_read_once_and_in_order(self, extents):
        size = disk_extents.size_of(extents)
        taken = [piece for piece in qcow2_model.Qcow2(size, extents).pieces()
                 if isinstance(piece, pieces_model.OfDisk)]
        end = 0
        for piece in taken:
            self.assertGreaterEqual(piece.offset, end)
            self.assertLessEqual(piece.length, pieces_model.LONGEST_PIECE)
            end = piece.offset + piece.length
        self.assertLessEqual(end, size)

    @ddt.data(units.GiB, 1 << 40, 16 << 40)
    def test_metadata_are_made_as_they_are_needed(self, size):
        full = [extents_model.Extent(0, size, False)]
        layout = qcow2_model.Qcow2(size, full)
        self.assertLess(layout.size_bytes - size,
                        size // 4096 + 8 * CLUSTER)
        first = list(itertools.islice(layout.pieces(), 40))
        self.assertEqual(CLUSTER, len(first[0].data))
        for piece in first:
            length = (len(piece.data) if isinstance(piece, pieces_model.Known)
                      else piece.length)
            self.assertLessEqual(length, units.MiB)

    def test_zeros_cost_nothing(self):
        zeros = [extents_model.Extent(0, 16 << 40, True)]
        layout = qcow2_model.Qcow2(16 << 40, zeros)
        self.assertLessEqual(layout.size_bytes, 512 * units.KiB)


class RawTestCase(base.BaseTestCase):

    @disk_extents.settings(max_examples=30)
    @hypothesis.given(disk_extents.extents())
    def test_it_is_the_disk(self, extents):
        # Long holes are counted, not written down.
        hypothesis.assume(disk_extents.size_of(extents) < 32 * units.MiB)
        disk = disk_extents.Disk(extents)
        layout = pieces_model.Raw(disk.size_bytes, extents)
        data = b''.join(
            bytes(piece.data) if isinstance(piece, pieces_model.Known)
            else disk.at(piece.offset, piece.length)
            for piece in layout.pieces())
        self.assertEqual(disk.at(0, disk.size_bytes), data)
