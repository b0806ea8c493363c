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

"""The commands in our messages, as their reader runs them.

Each is taken out of the message, run as it is, and the guest is well.
"""

import json
import os
import re
import subprocess

import fixtures
import libvirt
from lxml import etree

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.hypervisor import connection as connection_module
from tests.functional import agent
from tests.functional import base
from tests.functional import disguise
from tests.lab import process

COMMAND = re.compile(
    '"((?:chmod|install|qemu-img|virsh) [^"]+)"|: (echo .*)$')
# Seconds.
COMMAND_TIMEOUT = 30
BOOT_TIMEOUT = 120
RELEASE_TIMEOUT = 30


class RemedyTest(base.FunctionalTest):

    def commands(self, message):
        """Return the commands that a message names."""
        return [quoted or echo for quoted, echo in COMMAND.findall(message)]

    def follow(self, message, number=0):
        """Run one of them as an operator of this libvirt does."""
        return self.run_in_shell(self.commands(message)[number])

    def run_in_shell(self, command):
        return subprocess.run(
            ['bash', '-c', command], text=True, capture_output=True,
            timeout=COMMAND_TIMEOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, 'LIBVIRT_DEFAULT_URI': self.lab.libvirtd.uri})

    def planned(self, guest):
        """Return what a dry run says, and whether it refuses."""
        ended = self.nova_snap('image-create', guest.spec.name, 'image',
                               '--dry-run')
        return ended.returncode, ended.stdout + ended.stderr

    def assert_mended(self, guest, message):
        """Assert that the command in a refusal makes the snapshot go."""
        done = self.follow(message)
        self.assertEqual(0, done.returncode, done.stderr)
        code, said = self.planned(guest)
        self.assertEqual(0, code, said)


class DirectoryTest(RemedyTest):

    def test_one_that_qemu_cannot_enter(self):
        guest = self.guest(shared=True)
        self.snapshots.chmod(0o700)
        code, said = self.planned(guest)
        self.assertNotEqual(0, code)
        self.assert_mended(guest, said)

    def test_one_that_is_missing_under_an_odd_name(self):
        guest = self.guest(shared=True)
        self.options['libvirt']['snapshots_directory'] = str(
            self.folder / 'not there')
        code, said = self.planned(guest)
        self.assertNotEqual(0, code)
        self.assert_mended(guest, said)


class DiskTest(RemedyTest):

    def test_one_that_has_lost_its_end_is_shown_by_qemu_img(self):
        guest = self.guest('qcow2', boot=False).define()
        path = guest.spec.disk.path
        os.truncate(path, path.stat().st_size // 2)
        error = self.assertRaises(errors.Unsupported, self.take, guest)
        done = self.follow(str(error))
        self.assertIn('exceeding the end of the file',
                      done.stdout + done.stderr)


class FrozenTest(RemedyTest):
    """The guest is frozen, and its agent does not thaw it in time."""

    def frozen(self):
        """Leave a guest frozen, with its record, and return the message."""
        guest = self.guest(agent='run')

        def refuse(call, *_):
            raise errors.ThawFailed(instance=guest.spec.uuid,
                                    reason='the test lets it hang')

        error = self.assertRaises(
            errors.RollbackIncomplete, self.take, guest,
            base.Hooks({'domain.thaw': refuse}), quiesce='require')
        self.assertEqual('frozen', self.status(guest))
        listed = json.loads(self.nova_snap('list', '--json').stdout)
        [shown] = [one['snapshot'] for one in listed
                   if one['uuid'] == guest.spec.uuid]
        self.assertIn('is left: its owner is dead; "nova-snap recover"',
                      shown)
        return guest, str(error)

    def status(self, guest):
        return agent.command(guest, 'guest-fsfreeze-status')

    def save_and_start(self, guest):
        """Save the guest, and start it as the message of a recovery says."""
        node = self.node()
        # As a cold snapshot begins.
        recovery.thaw_later(node, recovery.status(node))
        guest.domain.managedSave(0)
        ended = self.nova_snap('recover')
        self.assertNotEqual(0, ended.returncode)
        done = self.follow(ended.stdout + ended.stderr)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual('frozen', self.status(guest))

    def assert_recovered(self):
        ended = self.nova_snap('recover')
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assert_nothing_left()

    def test_an_agent_that_answers_again_thaws_it(self):
        guest, message = self.frozen()
        self.assertIn('"nova-snap recover"', message)
        self.save_and_start(guest)
        done = self.follow(message)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual('thawed', self.status(guest))
        self.assertTrue(guest.is_writing())
        self.assert_recovered()

    def test_a_reset_thaws_it(self):
        guest, message = self.frozen()
        done = self.follow(message, 1)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertTrue(guest.is_writing(BOOT_TIMEOUT))

        def answers():
            try:
                return self.status(guest) == 'thawed'
            except libvirt.libvirtError:
                return False

        process.wait_until(answers, timeout=BOOT_TIMEOUT, what='the agent')
        self.assert_recovered()


class DeviceTest(RemedyTest):
    """The guest releases a device when nova_snap waits no more."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.hypervisor.connection.Connection.get',
            disguise.shown(connection_module.Connection.get)))
        self.options['nova_snap']['detach_timeout'] = '1'

    def test_it_is_given_back(self):
        guest = self.guest(extra_devices=disguise.cards(1))
        cards = disguise.has_cards(guest)
        error = self.assertRaises(
            errors.HostdevStuck, self.take, guest,
            base.Hooks({'domain.detach_device': lambda call, *_: None}),
            cold=True)
        guest.domain.detachDeviceFlags(disguise.cards(1),
                                       libvirt.VIR_DOMAIN_AFFECT_LIVE)
        process.wait_until(lambda: not disguise.has_cards(guest),
                           timeout=RELEASE_TIMEOUT, what='the release')
        # libvirt knows the card as what it is.
        port = re.search("'(<interface .*)'", str(error))[1]
        card = etree.fromstring(port)
        disguise.as_card(card)
        [command] = self.commands(str(error))
        done = self.run_in_shell(command.replace(
            port, etree.tostring(card, encoding='unicode')))
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(cards, disguise.has_cards(guest))
