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

"""What a failed mirror leaves is a good qcow2 file with data missing.

``qemu-img check`` and ``qemu-img convert`` take no offence at it, and
upstream uploads it.

:source: bugs.launchpad.net/nova/+bug/1530275
"""

from nova_snap import errors
from nova_snap.flows import live
from tests.fakes import disk as fake_disk
from tests.flow import scene as flow_scene


class FailedMirrorTestCase(flow_scene.FlowTestCase):

    def test_its_delta_does_not_become_an_image(self):
        self.fake.guest.create()
        seen = []

        def look():
            (scratch,) = self.fake.snapshots.iterdir()
            path = str(scratch / live.DELTA_NAME)
            info = process.world.qemu_img.info(path, 'qcow2')
            seen.append(info.format)
            seen.append(fake_disk.content(path, 'qcow2')
                        == self.fake.guest.content())

        process = self.fake.process()
        self.fake.guest.mirror_life.lost_after = 2
        process.calls.then('remove_scratch', look, flow_scene.When.BEFORE)

        self.assertRaises(errors.BlockJobLost, self.take, process)

        # It looked well, and was not the disk.
        self.assertEqual(['qcow2', False], seen)
        self.assertEqual({}, self.fake.glance.stored)

    def test_copy_that_was_cut_off_is_no_copy(self):
        # Only a mirror that is ready is ended for its delta.
        self.fake.guest.create()
        self.fake.guest.mirror_life.ready_after = None
        process = self.fake.process()

        self.assertRaises(errors.MirrorTimeout, self.take, process)

        self.assertNotIn('convert', process.calls.names())
        self.assertEqual([], self.fake.libvirtd.moments)
