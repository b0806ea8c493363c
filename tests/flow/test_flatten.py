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

"""Clones in Ceph that a manager flattens, or this host."""

import ddt

from nova_snap import errors
from nova_snap.flows import flatten as flatten_flow
from nova_snap.model import ceph as ceph_model
from nova_snap.model import phase as phase_model
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.flow import test_direct

ADDED = 'have a manager flatten'
LOOKED = 'ask a manager of'
CANCELLED = 'have no manager flatten'
HERE = 'flatten'


class FlattenTest(test_direct.DirectTest):
    """A Ceph whose managers do what we ask of them."""

    def setUp(self):
        super().setUp()
        self.fake.ceph.is_managed = True
        self.process = self.fake.process()

    def asked(self):
        """Return what was asked of the managers and of Ceph's client."""
        return [call.name for call in self.process.calls.made
                if call.name in (ADDED, CANCELLED, HERE)]

    def clone(self):
        return self.fake.ceph.pools['images'][flow_scene.IMAGE]


@ddt.ddt
class ManagerTestCase(FlattenTest):

    def test_a_manager_does_it(self):
        self.assert_direct(self.process)

        self.assertEqual([ADDED], self.asked())
        self.assertIsNone(self.clone().parent)

    def test_how_far_it_is_is_said_in_bytes(self):
        said = []
        self.process = self.fake.process(fake_node.Listener(said))

        self.assert_direct(self.process)

        self.assertEqual(
            [0, fake_node.DISK_BYTES // 4, fake_node.DISK_BYTES // 2,
             fake_node.DISK_BYTES * 3 // 4],
            [done for phase, done, total in said
             if phase == phase_model.Phase.FLATTEN and total])

    def test_this_host_does_it_where_that_is_set(self):
        self.fake.set(rbd_flatten='host')
        self.process = self.fake.process()

        self.assert_direct(self.process)

        self.assertEqual([HERE], self.asked())

    def test_this_host_does_it_where_no_manager_may_be_asked(self):
        self.fake.ceph.is_managed = False

        self.assert_direct(self.process)

        self.assertEqual([ADDED, HERE], self.asked())

    def test_it_waits_its_turn_for_a_while(self):
        self.fake.ceph.waits_its_turn = True
        began = self.fake.clock.monotonic()
        self.fake.clock.after(
            flatten_flow.TURN_SECONDS / 2,
            lambda: setattr(self.fake.ceph, 'waits_its_turn', False))

        self.assert_direct(self.process)

        self.assertEqual([ADDED], self.asked())
        self.assertLess(flatten_flow.TURN_SECONDS / 2,
                        self.fake.clock.monotonic() - began)

    def test_this_host_does_it_where_its_turn_does_not_come(self):
        self.fake.ceph.waits_its_turn = True
        began = self.fake.clock.monotonic()

        self.assert_direct(self.process)

        self.assertEqual([ADDED, CANCELLED, HERE], self.asked())
        self.assertLess(self.fake.clock.monotonic() - began,
                        3 * flatten_flow.TURN_SECONDS)

    def test_this_host_does_it_where_a_manager_fails(self):
        self.fake.ceph.fails_to_flatten = '[errno 5] RBD I/O error'

        self.assert_direct(self.process)

        self.assertEqual([ADDED, CANCELLED, HERE], self.asked())

    @ddt.data(ADDED, LOOKED, CANCELLED)
    def test_this_host_does_it_where_no_manager_answers(self, call):
        self.fake.ceph.waits_its_turn = True
        self.process.calls.fail_named(call)

        self.assert_direct(self.process)

        self.assertEqual(HERE, self.asked()[-1])

    def test_cancelled_it_leaves_nothing(self):
        before = self.state()
        self.process = self.fake.process(test_direct.Cancels('flatten'))

        self.assertRaises(errors.Cancelled, self.take, self.process)

        self.assertEqual([ADDED, CANCELLED], self.asked())
        self.assert_nothing_left(before)

    def test_one_that_takes_too_long_is_given_up(self):
        before = self.state()
        self.fake.set(ready_timeout=1)
        self.process = self.fake.process(
            test_direct.Sleeps(self.fake.clock))

        error = self.assertRaises(errors.StorageError, self.take,
                                  self.process)

        self.assertIn('ready_timeout', str(error))
        self.assert_nothing_left(before)


class DeadTestCase(FlattenTest):

    def test_what_a_manager_does_for_a_dead_process_is_cancelled(self):
        before = self.state()
        self.die(LOOKED)
        # Its turn has come.
        self.fake.ceph.flattening(ceph_model.Name(
            'images', flow_scene.IMAGE))
        began = self.fake.clock.monotonic()

        self.recover()

        self.assert_nothing_left(before)
        self.assertLess(self.fake.clock.monotonic() - began, 2)

    def test_what_a_manager_has_done_for_a_dead_process_goes(self):
        before = self.state()
        self.die(ADDED)
        name = ceph_model.Name('images', flow_scene.IMAGE)
        while self.fake.ceph.flattening(name):
            pass
        self.assertIsNone(self.clone().parent)

        self.recover()

        self.assert_nothing_left(before)
