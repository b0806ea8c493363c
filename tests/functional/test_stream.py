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

"""Images that are made while they are sent, on real QEMU and Glance."""

import signal

import ddt

from nova_snap import units
from tests.functional import base
from tests.functional import watch
from tests.lab.guest import copy as guest_copy
from tests.lab import process
from tests.lab import proof

SHUT_DOWN_TIMEOUT = 120
# Bytes per second: the upload lasts some seconds.
SLOWLY = 8 * units.MiB
# Seconds for a server to see that its owner is dead.
DEATH_TIMEOUT = 10


def servers():
    """Return the command lines of the servers of disks that run."""
    return [line for line in process.command_lines().values()
            if line.startswith('qemu-nbd ')]


@ddt.ddt
class StreamTestCase(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.options['nova_snap']['upload'] = 'stream'

    def with_iothread(self):
        """Return a guest whose disk QEMU works on in a thread of its own."""
        return self.guest(shared=True, iothread=True)

    def take_and_fetch(self, guest, **facts):
        """Take a snapshot, and return its image as it lies in Glance."""
        result = self.take(guest, **facts)
        (image_id,) = [image.image_id for image in result.images]
        self.assert_nothing_left(image_id)
        self.assertEqual([], servers())
        self.assertTrue(result.plan.is_streamed)
        return self.download(image_id)

    @ddt.data('qcow2', 'raw')
    def test_running_it_is_of_one_moment(self, image_format):
        guest = self.with_iothread()
        self.assertIn("iothread='1'", guest.domain.XMLDesc())
        seen, instant = base.look(guest), watch.Instant(guest)
        result = self.take(
            guest, base.Hooks({'block_device.abort': instant}),
            image_format=image_format)
        self.assertTrue(result.plan.is_streamed)
        path = self.download(result.images[0].image_id)
        proof.assert_sound(path, image_format)
        instant.check(path, image_format)
        self.assert_guest_untouched(guest, seen)
        guest_copy.assert_boots(self.lab.libvirtd, path, image_format,
                                recovered=True)

    def test_off_it_is_the_disk(self):
        guest = self.guest('qcow2-chain-of-3')
        guest.shut_down(SHUT_DOWN_TIMEOUT)
        seen = base.look(guest)
        path = self.take_and_fetch(guest)
        proof.assert_sound(path, 'qcow2')
        proof.assert_same_content(path, 'qcow2', guest.spec.disk.path,
                                  'qcow2')
        self.assert_guest_untouched(guest, seen)

    def test_killed_it_leaves_no_server_of_the_disk(self):
        guest = self.with_iothread()
        seen = base.look(guest)
        self.options['nova_snap']['bandwidth'] = str(SLOWLY)
        with self.start_nova_snap('image-create', guest.spec.name,
                                  'killed') as command:
            process.wait_until(lambda: 'saving' in {
                image['status'] for image in self.images().values()},
                timeout=base.COMMAND_TIMEOUT, what='the upload')
            self.assertEqual(1, len(servers()))
            command.send_signal(signal.SIGKILL)
        process.wait_until(lambda: not servers(), timeout=DEATH_TIMEOUT,
                           what='the end of qemu-nbd')
        recovered = self.nova_snap('recover')
        self.assertEqual(0, recovered.returncode, recovered.stderr)
        self.assert_nothing_left()
        self.assert_guest_untouched(guest, seen)
