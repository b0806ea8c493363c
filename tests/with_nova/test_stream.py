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

"""Disks that are read while they are sent, through Nova's own manager."""

from unittest import mock

from tests.with_nova import scene

IMAGE = scene.IMAGE
DELEGATED = 'nova.virt.libvirt.driver.LibvirtDriver.snapshot'


class StreamTest(scene.SceneTestCase):

    options = {}

    def setUp(self):
        super().setUp()
        self.flags(group='nova_snap', **self.options)
        # The fake makes no socket, and the folders of a test lie deep.
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.model.layer.LONGEST_SOCKET', 4096))

    def assert_done(self):
        self.assertEqual('active', self.glance.images[IMAGE]['status'])
        self.assertIsNone(self.read().task_state)
        self.assert_guest_whole()
        self.assert_settled()
        self.assertNotIn('convert', self.calls.names())


class UploadTestCase(StreamTest):

    options = {'upload': 'stream'}

    def test_image_create(self):
        self.image_create(self.start_manager())
        self.assertIn('serve', self.calls.names())
        self.assert_done()


class BackupTestCase(StreamTest):

    options = {'live_method': 'backup'}

    def assert_done(self):
        super().assert_done()
        self.assertIn('backupBegin', self.calls.names())
        self.assertIsNone(self.guest.backup)
        self.assertEqual(set(), self.calls.names() & {
            'undefineFlags', 'blockRebase', 'blockCopy', 'managedSave'})

    def test_image_create(self):
        self.image_create(self.start_manager())
        self.assert_done()

    def test_its_turn_comes_before_the_job_and_lasts_as_long(self):
        held = self.hear_turns()
        for name in ('fsFreeze', 'backupBegin', 'abortJob'):
            self.calls.then(name, lambda name=name: held.append(name))
        self.image_create(self.start_manager())
        self.assertEqual(
            ['begins', 'fsFreeze', 'backupBegin', 'abortJob', 'ends'], held)

    def delegated(self):
        """Note what is left to Nova's own code."""
        asked = mock.Mock()
        self.useFixture(scene.fixtures.MonkeyPatch(DELEGATED, asked))
        return asked

    def test_a_guest_on_lvm_is_taken_live(self):
        self.put_on_lvm()
        asked = self.delegated()
        self.image_create(self.start_manager())
        asked.assert_not_called()
        self.assert_done()

    def test_one_that_is_off_is_left_to_novas_own_code(self):
        self.put_on_lvm()
        self.guest.destroy()
        asked = self.delegated()
        self.snapshot(self.start_driver())
        asked.assert_called_once()

    def test_so_is_one_whose_libvirt_is_too_old(self):
        self.put_on_lvm()
        asked = self.delegated()
        driver = self.start_driver()
        self.fake.libvirtd.version = 7_001_000
        self.snapshot(driver)
        asked.assert_called_once()

    def test_and_one_that_must_not_be_taken_live(self):
        self.put_on_lvm()
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        asked = self.delegated()
        self.snapshot(self.start_driver())
        asked.assert_called_once()
