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

"""Images that begin as the last one, against the disk byte for byte.

NOVA_SNAP_ROUNDS=20 tries more rounds than CI has time for.
"""

import os
import pathlib
import random
import signal
import subprocess

import libvirt

from nova_snap.model import ceph as ceph_model
from nova_snap import units
from tests.functional import base
from tests.lab import ceph as ceph_module
from tests.lab.guest import disk as guest_disk
from tests.lab import process
from tests.volumes import into_ceph

ROUNDS = int(os.environ.get('NOVA_SNAP_ROUNDS', '4'))
CLUSTER = 64 * units.KiB
# Writes of a round, at most so long each, and not at the borders of clusters.
WRITES, LONGEST, SECTOR = 12, 300 * units.KiB, 512
# What is done to checkpoints, and to what is remembered of the last image.
NEAR = ('Checkpoint', 'TrackChanges', 'KeepBase')
# Seconds until libvirt knows that QEMU was killed.
DEATH_SECONDS = 30


class Disk:
    """The root disk of a guest that stands still, and what is on it.

    QEMU writes by itself, through all that a guest's writes go through.

    :ivar content: what it must read as
    """

    def __init__(self, guest, seed):
        self.guest = guest
        self.path = str(guest.spec.disk.path)
        self.content = bytearray(self.read())
        self._random = random.Random(seed)

    def read(self):
        """Read it while the guest is off."""
        path = pathlib.Path(f'{self.path}.read')
        process.run(['qemu-img', 'convert', '-O', 'raw', self.path,
                     str(path)])
        try:
            return path.read_bytes()
        finally:
            path.unlink()

    def start(self):
        self.guest.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    def kill(self):
        """Let QEMU die as of a power cut."""
        pid = subprocess.run(['pgrep', '-f', f'uuid {self.guest.spec.uuid}'],
                             capture_output=True, check=True).stdout
        os.kill(int(pid.split()[0]), signal.SIGKILL)
        process.wait_until(lambda: not self.guest.domain.isActive(),
                           timeout=DEATH_SECONDS, what='the end of QEMU')

    def _ask(self, words):
        guest_disk.ask_qemu_io(self.guest.domain, words)

    def change(self, *, discards=True):
        """Write here and there, also zeros; discard whole clusters."""
        rand = self._random
        for _ in range(WRITES):
            length = rand.randrange(SECTOR, LONGEST, SECTOR)
            at = rand.randrange(0, len(self.content) - length, SECTOR)
            pattern = rand.randrange(256)
            self._ask(f'write -P {pattern} {at} {length}')
            self.content[at:at + length] = bytes([pattern]) * length
        for words in ('write -z -u', 'discard') if discards else ():
            length = CLUSTER * rand.randrange(1, 40)
            at = rand.randrange(0, len(self.content) - length, CLUSTER)
            self._ask(f'{words} {at} {length}')
            self.content[at:at + length] = bytes(length)
        self._ask('flush')


class IncrementalTest(into_ceph.IntoCephTest):

    def setUp(self):
        super().setUp()
        # Glance would be at work on each image when it is active.
        self.options['nova_snap']['location_hash'] = 'host'
        self.guest_ = self.guest(boot=False).define()
        xml = self.guest_.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
        with_discard = xml.replace("type='qcow2'",
                                   "type='qcow2' discard='unmap'", 1)
        self.assertNotEqual(xml, with_discard)
        self.connection = self.guest_.domain.connect()
        self.connection.defineXML(with_discard)
        self.disk = Disk(self.guest_, 0)
        self.disk.start()
        self.taken = []
        self.addCleanup(self.delete_all)

    def next(self, mode):
        """Take an image while the guest writes on, and compare it."""
        self.options['nova_snap']['incremental'] = mode
        wanted = []

        def begin(call, *_):
            result = call()
            wanted.append(bytes(self.disk.content))
            self.disk.change(discards=False)
            return result

        result = self.take(self.guest_, base.Hooks({
            'backup_job.begin': begin}))
        self.assertEqual([], self.guest_.domain.listAllCheckpoints())
        (image,) = result.images
        self.taken.append(image.image_id)
        path = self.folder / 'exported'
        path.unlink(missing_ok=True)
        self.ceph.export(
            f'{image.image_id}@{ceph_model.GLANCE_SNAPSHOT}', path,
            ceph_module.IMAGES)
        found = path.read_bytes()
        self.assertEqual(len(wanted[-1]), len(found))
        self.assertEqual([], [
            at for at in range(0, len(found), CLUSTER)
            if found[at:at + CLUSTER] != wanted[-1][at:at + CLUSTER]])
        return image.image_id, result.written

    def delete(self, image_id):
        self.delete_image(image_id)
        self.taken.remove(image_id)

    def delete_all(self):
        """Delete clones before what they are clones of."""
        for image_id in reversed(self.taken[:]):
            self.delete(image_id)


class RoundsTestCase(IncrementalTest):

    def test_each_is_the_disk_at_its_moment(self):
        last, written = self.next('clone')
        self.assertIn('the whole disk', written)
        for number in range(ROUNDS):
            self.disk.change()
            if number % 3 == 1:
                self.guest_.domain.destroy()
                self.assertEqual(self.disk.content, self.disk.read())
                # As Nova does at a hard reboot.
                xml = self.guest_.domain.XMLDesc(0)
                self.guest_.domain.undefineFlags(
                    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
                self.connection.defineXML(xml)
                self.disk.start()
                self.disk.change()
            is_killed = number % 5 == 3
            if is_killed:
                self.disk.kill()
                self.disk.start()
            image_id, written = self.next('flat' if number % 2 else 'clone')
            self.assertIn('missing or broken bitmap' if is_killed
                          else f'since image {last}', written)
            if number % 2:
                # It needs the last one no more.
                self.delete(last)
            last = image_id
        self.assertEqual(sorted(self.taken), self.in_pool())
        self.assertEqual([], os.listdir(self.journal / 'records'))


class KillsTestCase(IncrementalTest):

    def test_after_a_kill_the_next_is_the_disk_at_its_moment(self):
        """Killed before each act by which the base of the next changes."""
        self.next('clone')
        arguments = ('image-create', self.guest_.spec.name, 'image')
        self.disk.change()
        events = self.child(*arguments).events[:-1]
        self.take_stock()
        for number, event in enumerate(events):
            if not any(word in event for word in NEAR):
                continue
            with self.saying(f'killed before {event}'):
                self.options['nova_snap']['incremental'] = 'clone'
                self.disk.change()
                ended = self.kill(*arguments, before=number)
                self.assertEqual(events[:number], ended.events)
                self.recover(*['settled'] * len(self.left()))
                self.take_stock()
                self.disk.change()
                # After eight clones in a row one is written whole.
                _, written = self.next('flat')
                self.assertIn('since image', written)

    def take_stock(self):
        """Know the images that a child has made."""
        self.taken += sorted(set(self.images()) - self._images_before
                             - set(self.taken))


del IncrementalTest
