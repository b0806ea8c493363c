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

import dataclasses

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import room as room_plan
from nova_snap.model import request as request_model
from nova_snap.model import room as room_model
from nova_snap import units
from tests.unit import settings

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


SIZE = 500 * units.GiB
BASE, TOP = 8 * units.GiB, 4 * units.GiB
TABLES = room_plan.qcow2_metadata(SIZE)
LIVE, COLD = plan_model.Method.LIVE, plan_model.Method.COLD


def image(allocations=(TOP, BASE), measured=None, layer_format='qcow2'):
    chain = tuple(layer_model.Layer(f'/srv/{number}', layer_format)
                  for number in range(len(allocations)))
    return plan_model.PlannedImage(
        'an-image', 'nightly', request_model.Party.US, 'qcow2', False,
        False, False, plan_model.PlannedDisk('vda', True, chain,
                                      (None,) * len(chain), SIZE,
                                      allocations, measured))


@ddt.ddt
class FlatImageTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('all layers, which may hide each other', {}, TOP + BASE + TABLES),
        ('a sparse disk of 500 GiB by what is in it',
         {'allocations': (12 * units.GiB,)}, 12 * units.GiB + TABLES),
        ('what can be measured', {'measured': 9 * units.GiB}, 9 * units.GiB),
        ('a measure with blocks that become clusters',
         {'measured': 13 * units.GiB}, 13 * units.GiB),
        ('never more than the disk',
         {'allocations': (SIZE + units.GiB,)}, SIZE + TABLES),
    )
    def test_it_counts_what_may_be_zeros_as_likely(self, facts, likely):
        for image_format in 'raw', 'qcow2':
            self.assertEqual(
                room_model.Need(0, likely), room_plan.flat_image(
                    image(**facts, layer_format=image_format)))


class DeltaTestCase(base.BaseTestCase):

    def delta(self, **facts):
        return room_plan.delta(image(**facts).disk)

    def test_what_a_raw_layer_holds_is_written(self):
        self.assertEqual(room_model.Need(TOP, TOP + TABLES),
                         self.delta(layer_format='raw'))

    def test_never_more_than_the_disk(self):
        self.assertEqual(SIZE, self.delta(
            layer_format='raw', allocations=(SIZE + units.GiB,)).least)

    def test_clusters_of_a_qcow2_layer_may_hold_nothing(self):
        self.assertEqual(room_model.Need(0, TOP + TABLES), self.delta())


class NeedTestCase(base.BaseTestCase):

    def test_live_the_active_layer_is_there_twice(self):
        need = room_plan.need([image(layer_format='raw')], LIVE)
        self.assertEqual(TOP, need.least)
        likely = TOP + BASE + TABLES + TOP + TABLES
        self.assertEqual(likely + likely // 10, need.likely)

    def test_at_rest_it_is_there_once(self):
        need = room_plan.need([image(layer_format='raw')], COLD)
        self.assertEqual(0, need.least)
        self.assertLess(need.likely, room_plan.need([image()], LIVE).likely)

    def test_streamed_the_delta_alone_is_there(self):
        streamed = dataclasses.replace(image(layer_format='raw'),
                                       is_streamed=True)
        self.assertEqual(room_model.Need(),
                         room_plan.need([streamed], COLD))
        self.assertEqual(room_plan.delta(streamed.disk).least,
                         room_plan.need([streamed], LIVE).least)

    def test_each_image_counts(self):
        one, two = (room_plan.need([image(layer_format='raw')] * number, LIVE)
                    for number in (1, 2))
        self.assertEqual(2 * one.least, two.least)
        # Of the margin a byte may be left out.
        self.assertAlmostEqual(2 * one.likely, two.likely, delta=1)


class RefuseTestCase(base.BaseTestCase):

    need = room_model.Need(10 * units.GiB, 12 * units.GiB)

    def refuse_without(self, free, need=need, **room):
        return room_plan.refuse_without(
            settings.make(space_reserve=2 * units.GiB),
            room_model.Room('/srv', free * units.GiB, **room), need)

    def test_with_room_enough_there_is_nothing_to_say(self):
        self.assertEqual((), self.refuse_without(14))

    def test_with_what_it_surely_writes_it_is_tried(self):
        (remark,) = self.refuse_without(12)
        self.assertIn('2.0 GiB more', remark)

    def test_with_less_it_is_refused(self):
        error = self.assertRaises(errors.NotEnoughSpace, self.refuse_without,
                                  11)
        self.assertIn('1.0 GiB are missing', str(error))

    def test_of_what_nothing_is_sure_it_is_tried_with_some_room(self):
        unsure = dataclasses.replace(self.need, least=0)
        (remark,) = self.refuse_without(3, unsure)
        self.assertIn('11.0 GiB more', remark)
        error = self.assertRaises(errors.NotEnoughSpace, self.refuse_without,
                                  1, unsure)
        self.assertIn('needs 12.0 GiB: 13.0 GiB are missing', str(error))

    def test_what_writes_nothing_needs_no_room(self):
        self.assertEqual((), self.refuse_without(0, room_model.Need()))

    def test_what_others_will_write_is_not_free(self):
        error = self.assertRaises(errors.NotEnoughSpace, self.refuse_without,
                                  20, reserved=9 * units.GiB)
        self.assertIn('9.0 GiB are for other snapshots', str(error))
