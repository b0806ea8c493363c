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

"""An image that Glance does not let go of after its upload ended."""

import ddt
import fixtures

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import upload as upload_flow
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image as image_model
from nova_snap.model import request as request_model
from tests.fakes.glance import record as image_record
from tests.fakes.glance import store as glance_store
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

RECORD = image_model.ImageSpec(
    image_id=flow_scene.IMAGE, name='nightly', disk_format='qcow2',
    container_format='bare', min_disk=1, min_ram=0, owner=None,
    visibility='private', properties={})


class DeadUploadTest(flow_scene.FlowTestCase):

    def stick(self, times=1):
        """Let a worker of Glance die of each of so many uploads."""
        self.fake.glance.troubles = [
            glance_store.Trouble(leaves='saving', answer=502)
            for _ in range(times)]


@ddt.ddt
class OursTestCase(DeadUploadTest):

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger())
        self.stick()

    def test_the_data_are_sent_to_another_image(self):
        self.fake.guest.create()
        before = self.state()
        result = self.take()
        (image,) = result.images
        self.assertNotEqual(flow_scene.IMAGE, image.image_id)
        self.assertEqual(('active', 'nightly'), (image.status, image.name))
        self.assertEqual({image.image_id}, set(self.fake.glance.stored))
        self.assertEqual([], self.records())
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    @ddt.data(consistency_model.FROZEN, consistency_model.NOT_FROZEN)
    def test_it_says_of_itself_how_consistent_it_is(self, word):
        self.fake.guest.create()
        frozen = word == consistency_model.FROZEN
        (image,) = self.take(quiesce='require' if frozen else None).images
        self.assertEqual(word, consistency_model.said(image.image_id,
                                                      image.properties))

    def test_the_order(self):
        process = self.fake.process()
        self.take(process)
        calls = process.calls.changes()
        first = calls.index('glance upload')
        self.assertEqual(
            ['glance delete',
             'journal write CreateImage undone',
             'journal write CreateImage intent',
             'glance create',
             'journal write CreateImage done',
             'glance upload',
             'journal write commit'], calls[first + 1:first + 8])

    def test_the_journal_names_the_other_image_before_it_is_made(self):
        named = []

        def look(values):
            (record,) = self.fake.process().store.read_all()
            self.assertEqual([values['id']],
                             [image.id for image in record.images])
            named.append([entry.facts['spec']['image_id']
                          for entry in record.entries
                          if entry.kind == 'CreateImage'])
            return create(values)

        create, self.fake.glance.create = self.fake.glance.create, look
        (image,) = self.take().images
        self.assertEqual([[flow_scene.IMAGE],
                          [flow_scene.IMAGE, image.image_id]], named)

    def test_a_disk_that_is_read_while_it_is_sent_is_read_again(self):
        self.fake.set(upload='stream')
        self.fake.guest.create()
        self.take()
        self.assert_all_or_nothing()
        self.assertEqual(1, len(self.fake.glance.stored))

    def test_why_it_is_another_one_is_said(self):
        process = self.fake.process()
        (image,) = self.take(process).images
        for word in (flow_scene.IMAGE, 'stays saving', 'planted',
                     image.image_id):
            self.assertIn(word, self.log.output)

    def test_images_are_tried_so_often(self):
        before = self.state()
        self.stick(1 + upload_flow.MORE_IMAGES)
        process = self.fake.process()
        error = self.assertRaises(errors.ImageStuck, self.take, process)
        self.assertIn('stays saving', str(error))
        self.assertEqual(
            1 + upload_flow.MORE_IMAGES,
            process.calls.of('glance').count('upload'))
        self.assert_nothing_left(before)

    def test_none_is_made_while_the_first_one_cannot_be_deleted(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('delete')
        self.assertRaises(errors.ImageStuck, self.take, process)
        self.assertEqual(1, process.calls.of('glance').count('create'))
        # At the end it could be.
        self.assert_nothing_left(before)

    def test_one_that_is_never_deleted_stays_in_the_journal(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('delete', None)
        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  process)
        self.assertIsInstance(error.__cause__, errors.ImageStuck)
        (record,) = self.fake.process().store.read_all()
        self.assertEqual([flow_scene.IMAGE],
                         [one.id for one in record.images])
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(before)


class VolumesTestCase(DeadUploadTest):

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def test_another_image_names_the_same_snapshots(self):
        self.stick()
        result = self.take()
        (image,) = result.images
        self.assertNotEqual(flow_scene.IMAGE, image.image_id)
        self.assertEqual(2, len(result.volume_snapshots))
        self.assert_all_or_nothing()


class NovasTestCase(DeadUploadTest):
    """Nova waits for the image that it has made."""

    def test_it_fails_and_nova_deletes_it(self):
        self.fake.guest.create()
        before = self.state()
        self.fake.glance.create(image_record.of_spec(RECORD))
        self.stick()
        process = self.fake.process()
        self.assertRaises(errors.ImageStuck, self.take, process,
                          made_by=request_model.Party.NOVA)
        self.assertEqual(1, process.calls.of('glance').count('upload'))
        self.assertEqual({flow_scene.IMAGE}, set(self.fake.glance.stored))
        self.assertEqual([], self.records())
        self.assert_guest_untouched(before)
