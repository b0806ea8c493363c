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

"""The command is killed while a guest's devices are out for a snapshot.

Here the devices are emulated: see tests.functional.disguise.
"""

from testtools import content

from tests.functional import disguise
from tests.functional import kills

COLD = ('image-create', '{}', 'killed', '--cold')
CARDS = 2


class KilledTestCase(kills.KillTest):
    """The command is killed at every point, its guest's devices out or in."""

    COLD = True
    HARM = {
        'write DetachHostdev done': lambda guest: (
            len(disguise.has_cards(guest)) < CARDS),
        'libvirt managedSave': lambda guest: not guest.domain.isActive(),
    }

    def setUp(self):
        super().setUp()
        self.make_guest()

    def make_guest(self):
        self.running = self.guest(extra_devices=disguise.cards(CARDS))
        self.cards = disguise.has_cards(self.running)
        self.assertEqual(CARDS, len(self.cards))

    def child(self, *arguments, **order):
        return super().child(*arguments, disguised=True, **order)

    def assert_whole(self, guest, before, *, committed):
        super().assert_whole(guest, before, committed=committed)
        self.assertEqual(self.cards, disguise.has_cards(guest))

    def sweep_devices(self):
        """Kill next to DetachHostdev and detachDeviceFlags."""
        self.sweep(self.running, *self.image_create(self.running, COLD),
                   near='etach')

    def test_killed_next_to_whatever_is_done_to_a_device(self):
        # Where cards come and go at this pace an emulated guest was seen to
        # reset itself, and to keep a card for good. A fault of ours would be
        # there the second time, too.
        try:
            self.sweep_devices()
        except kills.WENT_WRONG as exc:
            self.addDetail('the first sweep', content.text_content(str(exc)))
            self.running.remove()
            self.nova_snap('recover')
            self._delete_images()
            self.make_guest()
            self.sweep_devices()
