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

"""The guest's own program, run here: it goes round, and it sees what we see.

No guest is needed: a file is to it what a device is.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import typing as ty

import ddt
from oslotest import base

from tests.lab import errors
from tests.lab.guest import build as guest_build
from tests.lab.guest import domain as guest_domain
from tests.lab import place
from tests.lab import process
from tests.lab import records

# Slots of one file: a lap takes a third of a second.
SLOTS = 16
# Seconds for a few laps on a loaded machine.
TIMEOUT = 60

RING = re.compile(r'^GUEST records (\d+) (ok|bad) stray (-?\d+)$',
                  re.MULTILINE)


@ddt.ddt
class RecorderTest(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        # Not below /tmp, which may be in memory: it has no O_DIRECT.
        folder = tempfile.TemporaryDirectory(dir=place.lab_dir(),
                                             prefix='recorder-')
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program = self.folder / 'recorder'
        guest_build.compile_program('recorder', self.program)

    def make_device(self, name: str, slots: int = SLOTS) -> pathlib.Path:
        """Make an empty device of so many slots."""
        path = self.folder / name
        path.write_bytes(b'')
        os.truncate(path, slots * records.RECORD_SIZE)
        return path

    def write(self, until: int, *devices: pathlib.Path) -> str:
        """Have records written until one is reported, and pull the plug.

        :returns: what the recorder said
        """
        said = self.folder / 'said'
        with said.open('wb') as out, subprocess.Popen(
                [self.program, *devices], stdout=out) as recorder:
            try:
                process.wait_until(
                    lambda: guest_domain.last_reported(said) >= until,
                    timeout=TIMEOUT, what=f'record {until}')
            finally:
                recorder.kill()
        return said.read_text()

    def scan(self, *devices: pathlib.Path) -> tuple[int, bool, int]:
        """Return what the recorder counts: records, all right, stray."""
        done = subprocess.run([self.program, '--scan', *devices],
                              capture_output=True, text=True,
                              timeout=TIMEOUT)
        found = ty.cast('re.Match[str]', RING.search(done.stdout))
        self.assertEqual(found[2] == 'ok', done.returncode == 0)
        return int(found[1]), found[2] == 'ok', int(found[3])

    def area(self, *devices: pathlib.Path) -> list[records.Slot]:
        """Read devices that were written in turn."""
        return records.interleave([records.read_device(path, SLOTS)
                                   for path in devices])

    @ddt.data(1, 2)
    def test_the_numbers_go_on_after_the_last_slot(self, count: int) -> None:
        devices = [self.make_device(f'vd{number}')
                   for number in range(count)]
        reported = 0
        for laps in (1, 2, 3):
            said = self.write(laps * SLOTS * count + 3, *devices)
            numbers = list(map(int, guest_domain.RECORD.findall(said)))
            # Where the plug was pulled before, and no number left out.
            self.assertIn(numbers[0], (reported, reported + 1))
            self.assertEqual(
                list(range(numbers[0], numbers[-1] + 1)), numbers)
            last = records.check_sequence(self.area(*devices))
            self.assertIn(last, (numbers[-1], numbers[-1] + 1))
            self.assertEqual((last + 1, True, -1), self.scan(*devices))
            reported = last

    def test_the_smallest_device_says_how_long_a_lap_is(self) -> None:
        devices = [self.make_device('small'),
                   self.make_device('big', 2 * SLOTS)]
        self.write(3 * SLOTS, *devices)
        last = records.check_sequence(self.area(*devices))
        self.assertEqual((last + 1, True, -1), self.scan(*devices))

    @ddt.data(
        ('an_empty_slot', 20, 7, None),
        ('a_record_of_the_lap_before', 40, 3, 19),
        ('a_record_that_came_too_early', 20, 6, 22),
        ('a_record_of_another_slot', 20, 6, 7),
        ('a_record_after_the_end_of_the_first_lap', 4, 9, 9))
    @ddt.unpack
    def test_recorder_and_proof_refuse_a_ring_with(
            self, _sentence: str, length: int, slot: int,
            number: int | None) -> None:
        device = self.make_device('vda')
        ring = [records.EMPTY] * SLOTS
        for written in range(length):
            ring[written % SLOTS] = records.make_record(written)
        device.write_bytes(b''.join(ring))
        self.assertEqual((length, True, -1), self.scan(device))
        ring[slot] = (records.EMPTY if number is None
                      else records.make_record(number))
        device.write_bytes(b''.join(ring))
        exc = self.assertRaises(errors.ProofFailed, records.check_sequence,
                                self.area(device))
        _, is_good, stray = self.scan(device)
        self.assertFalse(is_good)
        self.assertIn(f'slot {stray} ', str(exc))

    def test_recorder_and_proof_refuse_a_damaged_record(self) -> None:
        device = self.make_device('vda')
        content = bytearray(b''.join(map(records.make_record,
                                         range(SLOTS, 2 * SLOTS))))
        content[5 * records.RECORD_SIZE + 4000] ^= 1
        device.write_bytes(content)
        self.assertRaises(errors.ProofFailed, records.check_sequence,
                          self.area(device))
        self.assertEqual((2 * SLOTS, False, 5), self.scan(device))
