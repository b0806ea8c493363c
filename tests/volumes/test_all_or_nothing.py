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

"""What goes wrong at a real Cinder: nothing is left, and the guest runs."""

import dataclasses
import threading
import time

from tests.functional import base
from tests.lab import proxy
from tests.volumes import scene

FAILED, REFUSED, LEFT = 1, 3, 4

# Seconds. How long a guest may stand frozen; how much later a busy machine
# tells so; and when we give up.
QUIESCE_LIMIT = 2
MARGIN = 5
THAW_TIMEOUT = 60


class AllOrNothingTestCase(scene.VolumeTest):

    def setUp(self):
        super().setUp()
        self.running = self.guest_of_volumes(shared=True)
        self.before = base.look(self.running)
        self.freezes = self.running.console().count(scene.FROZEN)

    def assert_as_before(self):
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()

    def assert_was_frozen(self):
        """It came as far as the freeze: there was something to undo."""
        console = self.running.console()
        self.assertGreater(console.count(scene.FROZEN), self.freezes)
        self.assertEqual(console.count(scene.FROZEN),
                         console.count(scene.THAWED))

    def limit(self, number):
        """Leave room for so many snapshots more."""
        used = len(self.cinder.snapshots())
        self.cinder.limit_snapshots(used + number)
        self.addCleanup(self.cinder.limit_snapshots, -1)

    def test_over_quota_nothing_is_frozen(self):
        self.limit(1)
        with self.not_frozen(self.running):
            said = self.create(self.running, expected=REFUSED)
        self.assertIn('quota', said['stderr'])
        self.assertEqual([], self.between.requests('POST', scene.SNAPSHOTS))
        self.assert_as_before()

    def test_just_within_the_quota(self):
        self.limit(2)
        image = self.create(self.running)
        self.assert_nothing_left(image['id'])

    def test_the_quota_is_used_up_in_between(self):
        """Another client makes a snapshot after the look."""
        self.limit(2)
        self.between.inject(proxy.Fault(
            'POST', scene.SNAPSHOTS, call=lambda: self.limit(1)))
        said = self.create(self.running, expected=FAILED)
        self.assertIn('quota', said['stderr'].lower())
        self.assert_was_frozen()
        self.assert_as_before()

    def test_the_second_is_refused(self):
        self.between.inject(proxy.Fault('POST', scene.SNAPSHOTS, nth=2,
                                        status=403))
        self.create(self.running, expected=FAILED)
        self.assert_was_frozen()
        self.assert_as_before()

    def test_the_second_fails_in_the_storage(self):
        """Cinder takes the request; Ceph knows no such volume."""
        second = f'volume-{self.running.volume_ids[1]}'
        self.storage.ceph.rename(second, 'elsewhere')
        try:
            said = self.create(self.running, expected=FAILED)
            self.assert_was_frozen()
        finally:
            self.storage.ceph.rename('elsewhere', second)
        self.assertIn('error', said['stderr'])
        self.assert_as_before()

    def freeze_in_a_standstill(self, guest, **expected):
        """Take a snapshot while the storage hangs until the guest is thawed.

        :returns: what ``create`` returned, and how long the guest was frozen
        """
        self.options['nova_snap'].update(
            volume_snapshot_timeout='60', quiesce_limit=str(QUIESCE_LIMIT))
        moments = []

        said_before = len(guest.console())

        def watch(go_on):
            for word in (scene.FROZEN, scene.THAWED):
                guest.wait_for(word, timeout=THAW_TIMEOUT, since=said_before)
                moments.append(time.monotonic())
            go_on()

        with self.cinder.standstill() as go_on:
            watching = threading.Thread(target=watch, args=(go_on,))
            watching.start()
            said = self.create(guest, **expected)
            watching.join()
        frozen, thawed = moments
        return said, thawed - frozen

    def test_the_storage_hangs(self):
        """The guest is thawed in time; Cinder ends what it began."""
        image, seconds = self.freeze_in_a_standstill(self.running)
        self.assertLess(seconds, QUIESCE_LIMIT + MARGIN)
        # It was not required to be of one moment, and is not.
        self.assertEqual('none', image['nova_snap_consistency'])
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image['id'])

    def test_the_storage_hangs_and_one_moment_is_required(self):
        guest = self.guest_of_volumes(nova=dataclasses.replace(
            scene.NOVA, image_properties={
                **scene.NOVA.image_properties, 'os_require_quiesce': 'yes'}))
        before = base.look(guest)
        said, seconds = self.freeze_in_a_standstill(guest, expected=FAILED)
        self.assertLess(seconds, QUIESCE_LIMIT + MARGIN)
        self.assertIn('quiesce_limit', said['stderr'])
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left()

    def test_the_storage_hangs_for_too_long(self):
        """What Cinder does not let go of stays in the journal."""
        self.options['nova_snap'].update(volume_snapshot_timeout='2')
        with self.cinder.standstill():
            said = self.create(self.running, expected=LEFT)
            self.assert_guest_untouched(self.running, self.before)
            self.assertEqual(1, len(self.left()))
            (record,) = self.journal.glob('records/*.json')
            text = record.read_text()
        made = self.new_snapshots()
        self.assertEqual(2, len(made))
        self.assertEqual([], [image for image in self.images()
                              if image not in self._images_before])
        self.assertIn('recover', said['stderr'])
        for one in made:
            self.cinder.wait('snapshot', one['id'], 'available')
            self.assertIn(one['id'], text)
            self.assertIn(one['id'], said['stderr'])
        self.recover('settled')
        self.assert_as_before()

    def test_an_answer_is_lost_and_it_is_not_made_twice(self):
        fault = self.between.inject(proxy.Fault('POST', scene.SNAPSHOTS,
                                                lose_response=True))
        image = self.create(self.running)
        self.assertTrue(fault.happened.is_set())
        self.assertEqual(
            2, len(self.between.requests('POST', scene.SNAPSHOTS)))
        self.assertEqual('frozen', image['nova_snap_consistency'])
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image['id'])

    def test_cinder_is_gone_while_it_is_undone(self):
        """The second is refused, and nothing of Cinder answers after it."""
        def go():
            self.between.inject(proxy.Fault('GET', scene.SNAPSHOT, nth=None,
                                            status=503))
            self.between.inject(proxy.Fault('DELETE', scene.SNAPSHOT,
                                            nth=None, status=503))

        self.options['cinder']['http_retries'] = '0'
        self.between.inject(proxy.Fault('POST', scene.SNAPSHOTS, nth=2,
                                        status=403, call=go))
        go()
        self.create(self.running, expected=LEFT)
        self.assert_guest_untouched(self.running, self.before)
        self.assertEqual(1, len(self.new_snapshots()))
        self.between.clear()
        self.recover('settled')
        self.assert_as_before()

    def test_glance_does_not_take_the_image(self):
        images = proxy.Proxy(self.lab.glance.endpoint)
        self.addCleanup(images.stop)
        images.inject(proxy.Fault('POST', proxy.IMAGES, nth=None,
                                  status=403))
        self.options['nova_snap']['endpoint'] = images.endpoint
        self.create(self.running, expected=FAILED)
        self.assert_was_frozen()
        self.assert_as_before()
