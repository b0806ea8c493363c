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

"""A snapshot whose disk is read while it is sent."""

import ddt

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model import room as room_model
from tests.fakes import qemu_img as fake_qemu_img
from tests.flow import scene as flow_scene


class StreamTest(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.set(upload='stream')


@ddt.ddt
class LiveTestCase(StreamTest):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    def test_nothing_is_converted(self):
        before = self.state()
        process = self.fake.process()
        self.take(process)
        calls = process.calls.changes()
        first = calls.index('files own delta.qcow2')
        self.assertEqual(
            ['qemu-nbd serve delta.qcow2:qcow2 base1:raw qcow2',
             'files remove delta.qcow2'], calls[first + 1:first + 3])
        self.assertEqual([], process.calls.of('convert'))
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    @ddt.data('qcow2', 'raw')
    def test_the_image_is_that_of_a_file(self, image_format):
        self.take(image_format=image_format)
        self.assertEqual(image_format, self.image().format)
        self.assert_all_or_nothing()

    @ddt.data('vmdk', 'vdi')
    def test_what_cannot_be_laid_out_beforehand_is_a_file(self, image_format):
        process = self.fake.process()
        self.take(process, image_format=image_format)
        self.assertIn('convert', [call.name for call in process.calls.made])

    def test_what_is_compressed_is_a_file(self):
        self.fake.set(snapshot_compression=True)
        process = self.fake.process()
        self.take(process)
        self.assertIn('convert', [call.name for call in process.calls.made])

    def test_a_guest_that_stands_still_does_not_wait_for_the_upload(self):
        # No job may hold its disk.
        self.fake.set(disable_libvirt_livesnapshot=True)
        process = self.fake.process()
        self.take(process)
        names = [call.name for call in process.calls.made]
        self.assertLess(names.index('convert'), names.index('upload'))
        self.assertNotIn('serve', names)

    def test_no_room_is_counted_but_for_the_delta(self):
        streamed = snapshot.plan(self.fake.process().node,
                                 flow_scene.request())
        self.fake.set(upload='file')
        filed = snapshot.plan(self.fake.process().node, flow_scene.request())
        self.assertLess(streamed.need.likely, filed.need.likely)
        self.assertIn('made while it is sent', '\n'.join(
            streamed.sentences()))

    def test_layers_that_cannot_be_served(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('serve')
        self.assertRaises(errors.StorageError, self.take, process)
        self.assert_nothing_left(before)


class StoppedTestCase(StreamTest):

    def test_nothing_is_written_on_the_host(self):
        before = self.state()
        process = self.fake.process()
        result = self.take(process)
        self.assertEqual(room_model.Need(), result.plan.need)
        self.assertEqual(
            [], [call for call in process.calls.made
                 if call.outside == fake_qemu_img.OUTSIDE and call.changes])
        self.assertEqual(self.fake.guest.content(), self.image().clusters)
        self.assert_guest_untouched(before)

    def test_a_guest_that_started_while_its_disk_was_sent(self):
        process = self.fake.process()
        process.calls.then('upload', self.fake.guest.create)
        error = self.assertRaises(errors.StorageError, self.take, process)
        self.assertIn('started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_it_starts_before_that_no_byte_is_sent(self):
        process = self.fake.process()
        process.calls.then('serve', self.fake.guest.create)
        self.assertRaises(errors.StorageError, self.take, process)
        self.assertNotIn('upload', [call.name for call in process.calls.made])
