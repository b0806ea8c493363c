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

import pathlib

import ddt
from oslotest import base

from tests.lab import errors
from tests.lab import records

# Of a small area.
SLOTS = 8


def area(*numbers):
    """Make an area; None stands for an empty slot."""
    return records.parse_slots(
        records.EMPTY if number is None else records.make_record(number)
        for number in numbers)


@ddt.ddt
class RingTestCase(base.BaseTestCase):
    """The area is written again from its beginning, and the proof holds."""

    @ddt.data(*range(3 * SLOTS + 1))
    def test_any_number_of_records_in_order_is_accepted(self, length):
        ring = [None] * SLOTS
        for number in range(length):
            ring[number % SLOTS] = number
        self.assertEqual(length - 1, records.check_sequence(area(*ring)))

    @ddt.data(
        ('a_slot_of_the_lap_before_among_the_new_ones',
         (16, 9, 18, 11, 12, 13, 14, 15),
         'slot 1 holds record 9, but record 17 belongs there'),
        ('a_slot_of_two_laps_before',
         (16, 17, 18, 3, 12, 13, 14, 15),
         'slot 3 holds record 3, but record 11 belongs there'),
        ('a_new_record_after_the_last_one',
         (16, 17, 18, 11, 20, 13, 14, 15),
         'slot 3 holds record 11, but record 19 belongs there'),
        ('an_empty_slot', (16, 17, 18, 11, None, 13, 14, 15),
         'slot 4 is empty, but record 12 belongs there'),
        ('an_empty_slot_at_the_end_of_the_first_lap',
         (8, 1, 2, 3, 4, 5, 6, None),
         'slot 7 is empty, but record 7 belongs there'),
        ('a_record_in_the_slot_of_another',
         (16, 18, 17, 11, 12, 13, 14, 15),
         'slot 1 holds record 18, but record 17 belongs there'))
    @ddt.unpack
    def test_a_ring_is_refused_with(self, _sentence, numbers, said):
        exc = self.assertRaises(errors.ProofFailed, records.check_sequence,
                                area(*numbers))
        self.assertIn(said, str(exc))

    def test_a_damaged_record_is_refused(self):
        ring = [records.make_record(number) for number in range(8, 16)]
        ring[2] = ring[2][:-1] + b'?'
        exc = self.assertRaises(errors.ProofFailed, records.check_sequence,
                                records.parse_slots(ring))
        self.assertIn('slot 2 holds a damaged record', str(exc))


class SeveralAreasTestCase(base.BaseTestCase):
    """Records that were written to two devices in turn."""

    def areas(self, *lengths):
        """Make areas with so many records of their own."""
        found = []
        for first, length in enumerate(lengths):
            ring = [None] * SLOTS
            for turn in range(length):
                ring[turn % SLOTS] = turn * len(lengths) + first
            found.append(area(*ring))
        return found

    def test_areas_of_one_instant_are_accepted(self):
        for lengths, last in (((3, 3), 5), ((4, 3), 6), ((0, 0), -1),
                              ((8, 8), 15), ((9, 8), 16), ((21, 20), 40)):
            self.assertEqual(last, records.check_sequence(
                records.interleave(self.areas(*lengths))))

    def test_areas_of_two_instants_are_refused(self):
        for lengths in ((3, 4), (5, 3), (8, 9), (11, 9), (21, 13)):
            self.assertRaises(errors.ProofFailed, records.check_sequence,
                              records.interleave(self.areas(*lengths)))

    def test_each_area_is_checked_for_itself(self):
        for lengths in ((5, 3), (13, 9)):
            for number, found in enumerate(self.areas(*lengths)):
                self.assertEqual(
                    lengths[number] - 1, records.check_sequence(
                        records.renumber(found, number, len(lengths))))

    def test_an_area_in_the_place_of_another_is_refused(self):
        first, _ = self.areas(5, 3)
        self.assertRaises(errors.ProofFailed, records.check_sequence,
                          records.renumber(first, 1, 2))

    def test_a_device_without_partitions_is_read_from_its_beginning(self):
        path = pathlib.Path(self.create_tempfiles(
            [('device', b''.join(map(records.make_record, (1, 3))) + bytes(
                2 * records.RECORD_SIZE))], ext='', default_encoding=None)[0])
        self.assertEqual([1, 3, None, None], [
            slot.number for slot in records.read_device(path, 4)])
