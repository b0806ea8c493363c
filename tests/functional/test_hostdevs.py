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

"""Guests whose devices are taken out for a cold snapshot and come back.

Here the devices are emulated: see tests.functional.disguise.
"""

import fixtures

from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from tests.functional import base
from tests.functional import disguise
from tests.lab.guest import domain as guest_domain

CARDS = 2

# Seconds for a guest that does not answer; libvirt itself waits for five.
DEAF_TIMEOUT = 8


class DeafGuest(guest_domain.Guest):
    """A guest whose kernel does not hear that a device is to be released."""

    @property
    def xml(self) -> str:
        """The XML that ``define`` gives to libvirt."""
        return super().xml.replace('<cmdline>',
                                   '<cmdline>acpiphp.disable=1 ')


class HostdevTestCase(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.hypervisor.connection.Connection.get',
            disguise.shown(connection_module.Connection.get)))

    def test_they_are_out_while_it_is_saved_and_back_before_the_upload(self):
        guest = self.guest(shared=True,
                           extra_devices=disguise.cards(CARDS))
        seen, cards = base.look(guest), disguise.has_cards(guest)
        self.assertEqual(CARDS, len(cards))
        noted = {}

        def note(name):
            def hook(call, *_):
                noted[name] = disguise.has_cards(guest)
                return call()
            return hook

        result = self.take(guest, base.Hooks({
            'domain.managed_save': note('saved'),
            'images.upload': note('uploaded')}), cold=True)

        self.assertEqual({'saved': [], 'uploaded': cards}, noted)
        self.assertEqual(cards, disguise.has_cards(guest))
        self.assert_guest_untouched(guest, seen, same_process=False)
        self.assert_nothing_left(result.images[0].image_id)

    def test_guest_that_does_not_hear(self):
        self.options['nova_snap']['detach_timeout'] = str(DEAF_TIMEOUT)
        guest = DeafGuest.create(self.lab.libvirtd, 'qcow2-on-raw-base',
                                 extra_devices=disguise.cards(CARDS))
        self.addCleanup(guest.remove)
        guest.boot()
        seen, cards = base.look(guest), disguise.has_cards(guest)

        error = self.assertRaises(errors.HostdevStuck, self.take, guest,
                                  cold=True)

        self.assertIn(disguise.MAC.format(0), str(error))
        self.assertIn(f'{DEAF_TIMEOUT} s', str(error))
        self.assertEqual(cards, disguise.has_cards(guest))
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left()
