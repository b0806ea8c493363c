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

import ddt
from oslotest import base

from nova_snap.model.plan import room as room_plan
from nova_snap import units

# By how much a qcow2 file of QEMU 7.2 is longer than its virtual size when
# every cluster of it was written (qemu-img create, then
# qemu-io -c "write -P 1 0 SIZE").
MEASURED = (
    (1 * units.MiB, 320 * units.KiB),
    (512 * units.MiB, 320 * units.KiB),
    (1 * units.GiB, 384 * units.KiB),
)


@ddt.ddt
class Qcow2MetadataTestCase(base.BaseTestCase):

    @ddt.data(*MEASURED)
    @ddt.unpack
    def test_qcow2_needs_no_more_than_is_counted(self, virtual_size, measured):
        self.assertGreaterEqual(
            room_plan.qcow2_metadata(virtual_size), measured
        )

    @ddt.named_data(
        ('the tables in full',
         # an L2 entry of 8 bytes and a refcount of 2, for each cluster
         10 * units.GiB, 10 * units.GiB // (64 * units.KiB) * (8 + 2)),
        ('a cluster that is not full counts', 1, 16),
    )
    def test_it_is_more_than(self, virtual_size, least):
        self.assertGreater(room_plan.qcow2_metadata(virtual_size), least)

    def test_a_large_disk_needs_little_for_it(self):
        # 1 TiB: less than a thousandth.
        self.assertLess(room_plan.qcow2_metadata(units.GiB << 10), units.GiB)


@ddt.ddt
class FlatImageTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('in the worst case the whole disk', 1 * units.MiB, True,
         10 * units.GiB),
        ('otherwise what is allocated', 1 * units.MiB, False,
         1 * units.MiB),
        ('which is never more than the disk', 20 * units.GiB, False,
         10 * units.GiB),
        ('nor in the worst case', 20 * units.GiB, True, 10 * units.GiB),
    )
    def test_data_and_tables_are_counted(self, allocated, worst_case, data):
        size = 10 * units.GiB
        self.assertEqual(
            data + room_plan.qcow2_metadata(size),
            room_plan.flat_image(size, allocated, worst_case=worst_case))


@ddt.ddt
class LiveTestCase(base.BaseTestCase):

    @ddt.data(True, False)
    def test_delta_and_flat_image_are_there_at_once(self, worst_case):
        size, allocated = 10 * units.GiB, 3 * units.GiB
        self.assertEqual(
            2 * room_plan.flat_image(size, allocated, worst_case=worst_case),
            room_plan.live(size, allocated, worst_case=worst_case))
