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

"""Five snapshots at once, on a small file system on which a guest writes."""

import os
import threading

from nova_snap import units
from tests.functional import base
from tests.functional import refusals

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


class FiveAtOnceTestCase(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        own = self.lab.libvirtd.own_file_system('room', FILE_SYSTEM)
        self.path = own.__enter__().path
        self.addCleanup(own.__exit__, None, None, None)
        self.options['libvirt']['snapshots_directory'] = str(self.path)
        self.options['nova_snap']['space_reserve'] = str(RESERVE)
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
