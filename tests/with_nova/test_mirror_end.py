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

"""How a mirror ended, as nova-compute hears it on Nova's connection."""

from nova_snap.driver import translation
from tests.with_nova import scene


class MirrorEndTestCase(scene.SceneTestCase):

    def setUp(self):
        super().setUp()
        self.driver = self.start_driver()

    def assert_no_image(self):
        self.assertEqual('queued', self.glance.images[scene.IMAGE]['status'])
        self.assertNotIn('convert', self.calls.names())
        self.assert_guest_whole()
        self.assert_settled()

    def test_one_that_ended_well_is_heard(self):
        # The clock stands still when nothing is waited for in vain.
        self.snapshot(self.driver)
        self.assertLess(self.fake.clock.monotonic(), 1)
        self.assertEqual('active',
                         self.glance.images[scene.IMAGE]['status'])
        self.assert_guest_whole()

    def test_one_that_failed_after_it_was_told_to_end_makes_no_image(self):
        self.guest.mirror_life.fails_at_end = 'No space left on device'
        self.assertRaises(translation.SnapshotFailed, self.snapshot,
                          self.driver)
        self.assert_no_image()

    def test_after_a_restart_of_libvirtd_it_is_heard_all_the_same(self):
        self.guest.mirror_life.fails_at_end = 'No space left on device'
        self.calls.then('blockJobAbort', self.fake.libvirtd.restart)
        self.assertRaises(translation.SnapshotFailed, self.snapshot,
                          self.driver)
        self.assertEqual(2, len(self.libvirt.opened))
        self.assert_no_image()

    def test_one_that_ends_while_no_libvirtd_hears_it_makes_no_image(self):
        def restart():
            self.libvirt.refused = 1
            self.fake.libvirtd.restart()
            self.guest._end_mirror('vda')

        self.calls.then('blockJobAbort', restart)
        self.assertRaises(translation.SnapshotFailed, self.snapshot,
                          self.driver)
        self.assertIn('no event told how it ended',
                      self.stdlog.logger.output)
        self.assert_no_image()
        # Nova has said to other services that libvirt was away.
        self.assertEqual(0, self.libvirt.refused)
        self.assertIn('libvirt.connect.error', [
            sent['event_type'] for sent in self.notifier
            .versioned_notifications])

    def test_one_that_nothing_is_heard_of_makes_no_image(self):
        self.calls.then('blockJobAbort', self.fake.libvirtd.listeners.clear)
        self.assertRaises(translation.SnapshotFailed, self.snapshot,
                          self.driver)
        self.assert_no_image()

    def test_nothing_of_ours_is_left_on_novas_connection(self):
        self.snapshot(self.driver)
        self.assertEqual({}, self.fake.libvirtd.listeners)
