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

"""Snapshots on a small file system, five at once and of much that is zero."""

import os
import threading

from nova_snap import units
from tests.functional import base
from tests.functional import refusals
from tests.lab import process
from tests.lab import proof

REFUSED, FAILED = refusals.REFUSED, refusals.FAILED
GUESTS = 5
# Data that cannot be made smaller, on each disk; more than one image fits,
# and not all of them.
DATA = 40 * units.MiB
FILE_SYSTEM = 256 * units.MiB
RESERVE = 64 * units.MiB
# What the guest on the file system writes, at a time and in all, and how many
# seconds it lets pass in between.
PIECE = units.MiB
PIECES = 48
PAUSE = 0.05
# Behind what a guest has on its disk; more than the file system has room for.
ZEROS_OFFSET = 256 * units.MiB
ZEROS = 320 * units.MiB
# What stat(2) counts st_blocks in.
STAT_BLOCK = 512


class RoomTest(base.FunctionalTest):
    """Snapshots are written on a small file system."""

    def setUp(self):
        super().setUp()
        self.path = self.file_system('room', FILE_SYSTEM).path
        self.options['libvirt']['snapshots_directory'] = str(self.path)
        self.options['nova_snap']['space_reserve'] = str(RESERVE)


class FiveAtOnceTestCase(RoomTest):

    def setUp(self):
        super().setUp()
        self.guests = [self.guest('raw', boot=False).define()
                       for _ in range(GUESTS)]
        for guest in self.guests:
            with open(guest.spec.disk.path, 'r+b') as disk:
                disk.write(os.urandom(DATA))
        self.free = []
        self.done = threading.Event()

    def look(self):
        while not self.done.wait(PAUSE):
            figures = os.statvfs(self.path)
            self.free.append(figures.f_bavail * figures.f_frsize)

    def write(self):
        with open(self.path / 'other', 'wb', buffering=0) as file:
            for _ in range(PIECES):
                if self.done.wait(PAUSE):
                    return
                file.write(os.urandom(PIECE))
                os.fsync(file.fileno())

    def test_each_is_taken_or_not_and_the_guest_has_room(self):
        threads = [threading.Thread(target=target)
                   for target in (self.look, self.write)]
        for thread in threads:
            thread.start()
        commands = [
            self.start_nova_snap('image-create', guest.spec.name, 'five')
            for guest in self.guests]
        said = [command.communicate(timeout=base.COMMAND_TIMEOUT)[1]
                for command in commands]
        self.done.set()
        for thread in threads:
            thread.join()

        codes = [command.returncode for command in commands]
        self.assertEqual(set(), {*codes} - {0, REFUSED, FAILED}, said)
        self.assertIn(0, codes, said)
        self.assertNotEqual({0}, {*codes}, said)
        for code, words in zip(codes, said, strict=True):
            if code:
                self.assertIn('space_reserve', words)
        self.assertLess(RESERVE / 2, min(self.free))
        self.assertEqual({'lost+found', 'other'}, set(os.listdir(self.path)))
        self.assertEqual(codes.count(0), len(
            set(self.images()) - self._images_before))


class ZerosTestCase(RoomTest):
    """Disks that have more than there is room for, and it is all zeros."""

    def zeroed(self, kind, image_format, *words, **facts):
        """Return a guest whose disk was overwritten as qemu-io was told."""
        guest = self.guest(kind, boot=False, **facts)
        path = str(guest.spec.disk.path)
        process.run(['qemu-img', 'resize', '-q', '-f', image_format, path,
                     str(ZEROS_OFFSET + ZEROS)])
        for word in words:
            process.run(['qemu-io', '-f', image_format, '-c',
                         f'{word} {ZEROS_OFFSET} {ZEROS}', path])
        self.assertGreater(os.stat(path).st_blocks * STAT_BLOCK, ZEROS)
        return guest

    def assert_taken(self, guest):
        before = base.look(guest)
        ended = self.nova_snap('image-create', guest.spec.name, 'zeros')
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertIn('may need', ended.stderr)
        self.assert_guest_untouched(guest, before)
        (image_id,) = set(self.images()) - self._images_before
        path = self.download(image_id)
        proof.assert_sound(path, 'qcow2')
        self.assertLess(path.stat().st_size, ZEROS // 2)
        self.assertEqual(['lost+found'], os.listdir(self.path))

    def test_zeros_that_were_written_need_no_room_in_the_image(self):
        self.options['libvirt']['snapshot_image_format'] = 'qcow2'
        self.assert_taken(self.zeroed('raw', 'raw', 'write -q -P 0').define())

    def test_clusters_that_became_zero_need_none_in_the_delta_either(self):
        self.assert_taken(self.zeroed('qcow2', 'qcow2', 'write -q -P 1',
                                      'write -q -z').boot())

    def test_the_copy_of_a_raw_disk_has_them_all(self):
        guest = self.zeroed('raw', 'raw', 'write -q -P 0').boot()
        before = base.look(guest)
        ended = self.nova_snap('image-create', guest.spec.name, 'zeros')
        self.assertEqual(REFUSED, ended.returncode, ended.stderr)
        self.assertIn('are missing', ended.stderr)
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left()
