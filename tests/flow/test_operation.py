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

"""How every operation begins, and how its images stay or go together."""

import contextlib
import dataclasses

import ddt

from nova_snap import errors
from nova_snap.flows import image as image_flow
from nova_snap.flows import operation
from nova_snap.flows import snapshot
from nova_snap.journal import record as record_model
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image as image_model
from nova_snap.model import request as request_model
from nova_snap.steps import image as image_step
from nova_snap.steps import scratch as scratch_step
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

FIRST = record_model.Image(flow_scene.IMAGE, 'root')
SECOND = record_model.Image(flow_scene.IMAGE.replace('1', '2'), 'data')


class BeginTestCase(flow_scene.FlowTestCase):

    def test_what_is_left_is_settled_before_the_block_begins(self):
        self.fake.guest.create()
        before = self.state()
        self.die('fsThaw', quiesce='require')

        with operation.begun(self.fake.process().node, fake_node.UUID):
            self.assertEqual([], self.records())
            self.assert_guest_untouched(before)

    def test_nothing_is_written_before_the_transaction_is_entered(self):
        with operation.begun(self.fake.process().node,
                             fake_node.UUID) as begun:
            txn = begun.transaction('test', fake_node.NAME, [FIRST])
            self.assertEqual([], self.records())
            with txn:
                self.assertEqual([txn.record.id], self.records())

    def test_the_record_says_whose_it_is_and_what_it_leaves(self):
        with operation.begun(self.fake.process().node,
                             fake_node.UUID) as begun:
            with begun.transaction('test', fake_node.NAME,
                                   [FIRST, SECOND]) as txn:
                found = self.fake.process().store.read(txn.record.id)
        self.assertEqual(
            ('test', fake_node.UUID, fake_node.NAME, [FIRST, SECOND],
             fake_node.HOST, fake_node.MACHINE_ID, fake_node.BOOT_ID),
            (found.operation, found.instance_uuid, found.instance_name,
             found.images, found.host, found.machine_id, found.boot_id))

    def test_a_second_one_is_refused_and_the_first_goes_on(self):
        with operation.begun(self.fake.process().node, fake_node.UUID):
            other = operation.begun(self.fake.process().node, fake_node.UUID)
            error = self.assertRaises(errors.InstanceBusy, other.__enter__)
            self.assertIn('nova-snap status', str(error))


@ddt.ddt
class SeveralImagesTestCase(flow_scene.FlowTestCase):
    """All images of an operation share one commit."""

    def deliver(self, fake, process):
        """Leave two images, of one guest that is off."""
        node = process.node
        made = self.plan(node)
        with operation.begun(node, fake_node.UUID) as begun, \
                begun.transaction('test', fake_node.NAME,
                                  [FIRST, SECOND]) as txn:
            for image in made.images:
                txn.artifact(image_step.CreateImage(_record_of(image)))
            scratch = str(fake.snapshots / 'nova_snap-test')
            with txn.hold(scratch_step.MakeScratch(scratch)), \
                    contextlib.ExitStack() as opened:
                sources = [opened.enter_context(image_flow.source(
                    node.world, image, image.disk.chain, scratch))
                    for image in made.images]
                return image_flow.deliver(txn, made, sources,
                                          consistency_model.NOT_FROZEN)

    def plan(self, node):
        """Make a plan of two disks: the second is the first once more."""
        made = snapshot.plan(node, flow_scene.request())
        root = made.images[0]
        second = dataclasses.replace(
            root, image_id=SECOND.id, name=SECOND.name,
            disk=dataclasses.replace(root.disk, target_dev='vdb'))
        return dataclasses.replace(made, images=(root, second))

    def test_each_is_whole_and_active(self):
        result = self.deliver(self.fake, self.fake.process())

        self.assertEqual([FIRST.id, SECOND.id],
                         [image.image_id for image in result.images])
        stored = self.fake.glance.stored
        self.assertEqual({'active'}, {image.status
                                      for image in stored.values()})
        self.assertEqual(stored[FIRST.id].data, stored[SECOND.id].data)
        self.assertEqual([], self.records())

    def test_both_are_uploaded_before_the_one_commit(self):
        process = self.fake.process()
        self.deliver(self.fake, process)
        self.assertEqual(
            ['glance upload', 'glance upload', 'journal write commit'],
            [call for call in process.calls.changes()
             if call.split()[-1] in ('upload', 'commit')])

    @ddt.data(0, 1)
    def test_where_one_fails_there_is_none(self, number):
        other = self.make_node(self.spec)
        probe = other.process()
        self.deliver(other, probe)
        uploads = [call.number for call in probe.calls.made
                   if call.name == 'upload']
        process = self.fake.process()
        process.calls.fail(uploads[number])
        self.assertRaises(errors.ImageServiceUnavailable, self.deliver,
                          self.fake, process)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())


class DeletedByTestCase(flow_scene.FlowTestCase):
    """Who deletes an image on failure is said by the step."""

    def setUp(self):
        super().setUp()
        self.world = self.fake.process().world
        self.world.images.create(_queued())

    def test_nova_deletes_what_nova_waits_for(self):
        step = image_step.AdoptImage.of_nova(_of_nova())
        self.assertEqual(request_model.Party.NOVA, step.deleted_by)
        step.undo(self.world)
        self.assertIn(flow_scene.IMAGE, self.fake.glance.stored)

    def test_after_a_crash_it_is_ours_to_delete(self):
        facts = image_step.AdoptImage.of_nova(_of_nova()).facts()
        step = image_step.AdoptImage.from_facts(facts)
        self.assertEqual(request_model.Party.US, step.deleted_by)
        step.undo(self.world)
        self.assertNotIn(flow_scene.IMAGE, self.fake.glance.stored)


def _of_nova():
    return request_model.RequestedImage(
        flow_scene.IMAGE, 'nightly', request_model.Party.NOVA)


def _queued():
    return image_model.ImageSpec(
        image_id=flow_scene.IMAGE, name='nightly', disk_format='qcow2',
        container_format='bare', min_disk=1, min_ram=0, owner=None,
        visibility='private', properties={})


def _record_of(image):
    return {'image_id': image.image_id, 'name': image.name,
            'disk_format': image.image_format,
            'container_format': 'bare', 'min_disk': 1, 'min_ram': 0,
            'owner': None, 'visibility': 'private',
            'properties': {'instance_uuid': fake_node.UUID}}
