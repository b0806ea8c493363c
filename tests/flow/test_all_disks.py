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

"""All disks of a guest at one moment."""

from nova_snap import errors
from nova_snap.flows import image_delete as image_delete_flow
from nova_snap.flows import snapshot
from nova_snap.model import image_set
from tests.fakes import disk as fake_disk
from tests.fakes.glance import store as glance_store
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

SET = '5e7a0000-0000-4000-8000-000000000000'
# Of the calls that are looked at, those that the order of the flow is about.
ORDER = ('backupBegin', 'extents', 'extents', 'upload', 'upload', 'abortJob')


class AllDisksTest(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(second=True)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    def take(self, process=None, **asked):
        return super().take(process, set_id=SET, **asked)

    def held(self):
        """Return what the image of each disk holds."""
        return {image_set.said(image_id, stored.properties).disk:
                fake_disk.DiskFile.from_bytes(stored.data).clusters
                for image_id, stored in self.fake.glance.stored.items()}


class OrderTestCase(AllDisksTest):

    def test_one_job_holds_them_until_the_last_one_is_sent(self):
        process = self.fake.process()
        self.take(process)
        self.assertEqual(
            list(ORDER), [call.name for call in process.calls.made
                          if call.name in ORDER])
        self.assertIn('backupBegin vda vdb', process.calls.of('libvirt'))
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()

    def test_the_images_are_of_the_moment_of_the_job(self):
        process = self.fake.process()
        process.calls.then('upload', self.fake.libvirtd.live_on)
        self.take(process)
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.disks, self.held())
        self.assertNotEqual(moment.disks, self.fake.guest.contents())

    def test_two_images_are_in_the_record_before_there_are_any(self):
        process = self.fake.process()
        found = []
        process.calls.then('create', lambda: found.extend(
            image.name for record in process.store.read_all()
            for image in record.images))
        self.take(process)
        self.assertEqual(['nightly', 'nightly-vdb'], found)

    def test_a_guest_that_is_off(self):
        self.fake.guest.destroy()
        result = self.take()
        self.assertEqual('stopped', result.plan.method)
        self.assertEqual(self.fake.guest.contents(), self.held())

    def test_a_guest_that_is_started_while_it_is_read(self):
        self.fake.guest.destroy()
        self.fake.set(upload='stream')
        process = self.fake.process()
        process.calls.then('upload', lambda: self.fake.guest.isActive()
                           or self.fake.guest.create())
        self.assertRaises(errors.StorageError, self.take, process)
        self.assertEqual({}, self.fake.glance.stored)

    def test_other_formats_are_converted_one_by_one(self):
        process = self.fake.process()
        self.take(process, image_format='vmdk')
        self.assertEqual(
            ['convert nbd:vda:raw image-vda:vmdk',
             'convert nbd:vdb:raw image-vdb:vmdk'],
            [call for call in process.calls.of('qemu-img')
             if call.startswith('convert')])
        self.assert_all_or_nothing()

    def test_a_plan_does_nothing(self):
        plan = snapshot.plan(self.fake.process().node,
                             flow_scene.request(set_id=SET))
        self.assertEqual(2, len(plan.images))
        self.assert_nothing_left(self.before)


class AllOrNoneTestCase(AllDisksTest):

    def test_the_second_upload_fails_and_the_first_image_goes(self):
        self.fake.glance.troubles = [None, glance_store.Trouble()]
        process = self.fake.process()
        self.assertRaises(errors.ImageServiceError, self.take, process)
        self.assertEqual(2, process.calls.of('glance').count('upload'))
        self.assert_nothing_left(self.before)

    def test_the_guest_is_switched_off_in_the_second_upload(self):
        process = self.fake.process()
        uploads = []

        def second():
            uploads.append(1)
            if len(uploads) == 1:
                self.fake.guest.destroy()

        process.calls.then('upload', second)
        self.assertRaises(errors.BackupFailed, self.take, process)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_an_image_in_the_place_of_another_is_of_the_set(self):
        self.fake.glance.troubles = [
            None, glance_store.Trouble(leaves='saving')]
        result = self.take()
        first, second = result.images
        self.assertNotIn(second.image_id, [
            image.image_id for image in result.plan.images])
        self.assertEqual(
            [image_set.Place(SET, target, ('vda', 'vdb'))
             for target in ('vda', 'vdb')],
            [image_set.said(image.image_id, image.properties)
             for image in (first, second)])
        self.assert_all_or_nothing()
        world = self.fake.process().world
        image_delete_flow.run(
            world, image_delete_flow.plan(world, first.image_id))
        self.assertEqual({}, self.fake.glance.stored)
