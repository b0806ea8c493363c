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

"""V8: deleting an image leaves in Cinder the snapshots that it names.

To Glance they are a property; to delete the image leaves them.

:source: nova/compute/api.py snapshot_volume_backed, its NOTE on the image as
    a bucket of properties
"""

from nova_snap import errors
from nova_snap.flows import image_delete as image_delete_flow
from tests.fakes import calls as fake_calls
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

When = fake_calls.When


class DeleteTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=3)

    def setUp(self):
        super().setUp()
        self.prepare()

    def prepare(self):
        """Make a node with an image, and one more that is not to be hurt."""
        self.fake = self.make_node(self.spec)
        self.fake.guest.create()
        self.take()
        self.other = self.take(
            image_id=flow_scene.IMAGE.replace('1', '2')).volume_snapshots

    def delete(self, process=None):
        world = (process or self.fake.process()).world
        image_delete_flow.run(
            world, image_delete_flow.plan(world, flow_scene.IMAGE)
        )

    def wrong(self):
        """Say what is wrong when it was stopped somewhere."""
        left = self.fake.cinder.snapshots.keys() - set(self.other)
        wrong = []
        if left and flow_scene.IMAGE not in self.fake.glance.stored:
            wrong.append(f'nothing names {left} any more')
        if not set(self.other) <= self.fake.cinder.snapshots.keys():
            wrong.append('a snapshot of another image is gone')
        if len(self.fake.glance.stored) < 1:
            wrong.append('another image is gone')
        return wrong

    def assert_done(self):
        self.assertEqual(set(self.other), set(self.fake.cinder.snapshots))
        self.assertNotIn(flow_scene.IMAGE, self.fake.glance.stored)
        self.assertEqual([], self.wrong())

    def test_they_go_with_it(self):
        self.delete()
        self.assert_done()

    def test_the_image_goes_last(self):
        process = self.fake.process()
        self.delete(process)
        self.assertEqual(
            ['glance set_properties', *['cinder delete_snapshot'] * 3,
             'glance delete'],
            [' '.join(what.split()[:2]) for what in process.calls.changes()])

    def points(self):
        process = self.fake.process()
        self.delete(process)
        return [(call, when) for call in process.calls.made
                for when in (When.BEFORE, When.AFTER)]

    def test_killed_anywhere_it_can_be_run_again(self):
        for call, when in self.points():
            self.prepare()
            process = self.fake.process()
            process.calls.kill(call.number, when)
            self.assertRaises(fake_calls.Killed, self.delete, process)
            self.assertEqual([], self.wrong(), f'{when} {call}')
            try:
                self.delete()
            except errors.Refused as exc:
                self.assertIn('There is no image', str(exc))
            self.assert_done()

    def test_any_call_fails_and_it_can_be_run_again(self):
        for call, when in self.points():
            self.prepare()
            process = self.fake.process()
            process.calls.fail(call.number, when)
            self.assertRaises(errors.Retriable, self.delete, process)
            self.assertEqual([], self.wrong(), f'{when} {call}')
            try:
                self.delete()
            except errors.Refused as exc:
                self.assertIn('There is no image', str(exc))
            self.assert_done()

    def test_a_snapshot_that_is_being_deleted_is_waited_for(self):
        first, *_ = (one for one in self.fake.cinder.snapshots
                     if one not in self.other)
        self.fake.cinder.delete_seconds = 5
        self.fake.cinder.delete(first)
        self.delete()
        self.assert_done()
