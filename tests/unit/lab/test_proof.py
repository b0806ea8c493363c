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

import struct

import ddt
from oslotest import base

from nova_snap import units
from tests.lab import errors
from tests.lab import proof
from tests.lab import records

# What qemu-img copies as a whole.
CLUSTER = 64 * units.KiB
PER_CLUSTER = CLUSTER // records.RECORD_SIZE

RECORDS = 100
SLOTS = 160
# Records of a guest that is in its third lap.
LAPPED = 2 * SLOTS + RECORDS
RECORDS_START = units.MiB
DISK_SIZE = RECORDS_START + SLOTS * records.RECORD_SIZE


def disk(length=RECORDS):
    """Make a raw disk as the guest leaves it, with a record area alone.

    :param length: records that the guest has written
    """
    content = bytearray(DISK_SIZE)
    content[510:512] = b'\x55\xaa'
    entry = proof.PARTITION_TABLE + proof.PARTITION_ENTRY.size
    proof.PARTITION_ENTRY.pack_into(
        content, entry, RECORDS_START // proof.SECTOR,
        SLOTS * records.RECORD_SIZE // proof.SECTOR)
    for number in range(length):
        put(content, number % SLOTS, records.make_record(number, 'a boot'))
    return content


def put(content, slot, block):
    start = RECORDS_START + slot * records.RECORD_SIZE
    content[start:start + len(block)] = block


def get(content, slot):
    start = RECORDS_START + slot * records.RECORD_SIZE
    return bytes(content[start:start + records.RECORD_SIZE])


class ProofCase(base.BaseTestCase):
    """A proof on a raw image in a file."""

    def image(self, content):
        return self.create_tempfiles([('image', bytes(content))],
                                     ext='.raw', default_encoding=None)[0]

    def prove(self, content, before=RECORDS - 1, after=RECORDS - 1):
        return proof.assert_point_in_time(
            self.image(content), 'raw', reported_before=before,
            reported_after=after)

    def assert_red(self, words, content, **reported):
        error = self.assertRaises(errors.ProofFailed, self.prove, content,
                                  **reported)
        self.assertIn(words, str(error))


@ddt.ddt
class GoodImageTest(ProofCase):

    @ddt.data(
        ('ends_with_the_last_report', 99, 99),
        ('ends_before_the_report_of_its_last_record', 98, 98),
        ('was_taken_somewhere_between_two_looks', 90, 120))
    @ddt.unpack
    def test_image_that(self, _sentence, before, after):
        self.assertEqual(RECORDS - 1, self.prove(disk(), before, after))

    def test_image_without_any_record_of_a_silent_guest(self):
        self.assertEqual(-1, self.prove(disk(0), -1, -1))

    def test_full_area(self):
        self.assertEqual(SLOTS - 1, self.prove(disk(SLOTS), 0, SLOTS - 1))

    def test_area_that_was_begun_again(self):
        self.assertEqual(LAPPED - 1,
                         self.prove(disk(LAPPED), LAPPED - 1, LAPPED - 1))

    def test_slots_know_the_boot_that_wrote_them(self):
        slots = proof.read_records(self.image(disk()), 'raw')
        self.assertEqual('a boot', slots[0].boot_id)


class PlantedFaultTest(ProofCase):
    """Each fault that a snapshot could have turns the proof red."""

    def test_zeroed_first_cluster(self):
        content = disk()
        put(content, 0, bytes(CLUSTER))
        self.assert_red('slot 0 is empty, but record 0 belongs', content)

    def test_zeroed_cluster_in_the_middle(self):
        content = disk()
        put(content, 2 * PER_CLUSTER, bytes(CLUSTER))
        self.assert_red('slot 32 is empty, but record 32 belongs', content)

    def test_zeroed_last_cluster(self):
        content = disk()
        put(content, RECORDS // PER_CLUSTER * PER_CLUSTER, bytes(CLUSTER))
        self.assert_red('ends with record 95, but record 99 was durable',
                        content)

    def test_two_records_swapped(self):
        content = disk()
        first, second = get(content, 40), get(content, 41)
        put(content, 40, second)
        put(content, 41, first)
        self.assert_red('slot 40 holds record 41, but record 40', content)

    def test_last_two_records_swapped(self):
        content = disk()
        first, second = get(content, 98), get(content, 99)
        put(content, 98, second)
        put(content, 99, first)
        self.assert_red('slot 98 holds record 99, but record 98', content)

    def test_record_twice(self):
        content = disk()
        put(content, 50, get(content, 49))
        self.assert_red('slot 50 holds record 49, but record 50', content)

    def test_one_bit_flipped_in_the_noise(self):
        content = disk()
        content[RECORDS_START + 7 * records.RECORD_SIZE + 4000] ^= 1
        self.assert_red('slot 7 holds a damaged record', content)

    def test_half_a_record_written(self):
        content = disk()
        put(content, RECORDS, records.make_record(RECORDS)[:512])
        self.assert_red('slot 100 holds a damaged record', content)

    def test_stray_record_after_the_end(self):
        content = disk()
        put(content, 120, records.make_record(120))
        self.assert_red('slot 100 is empty, but record 100 belongs', content)

    def test_image_older_than_the_snapshot(self):
        self.assert_red('ends with record 89, but record 99 was durable',
                        disk(90))

    def test_image_newer_than_the_snapshot(self):
        self.assert_red('ends with record 99, but the guest had reported no '
                        'more than 97', disk(), before=90, after=97)

    def test_cluster_of_the_lap_before(self):
        content = disk(LAPPED)
        for slot in range(PER_CLUSTER):
            put(content, slot, records.make_record(SLOTS + slot))
        self.assert_red(f'slot 0 holds record {SLOTS}, but record '
                        f'{2 * SLOTS} belongs there', content)

    def test_zeroed_cluster_of_the_lap_before(self):
        content = disk(LAPPED)
        put(content, SLOTS - PER_CLUSTER, bytes(CLUSTER))
        self.assert_red('slot 144 is empty, but record 304 belongs there',
                        content)

    def test_image_that_is_a_whole_lap_too_old(self):
        self.assert_red('ends with record 259, but record 419 was durable',
                        disk(LAPPED - SLOTS), before=LAPPED - 1,
                        after=LAPPED - 1)

    def test_no_partition_table(self):
        self.assert_red('no partition table', bytes(DISK_SIZE))


@ddt.ddt
class SuperblockTest(base.BaseTestCase):

    @staticmethod
    def superblock(magic=proof.EXT4_MAGIC, state=1, incompat=0x2c2):
        content = bytearray(proof.SUPERBLOCK_SIZE)
        struct.pack_into('<HH', content, proof.EXT4_MAGIC_OFFSET, magic,
                         state)
        struct.pack_into('<I', content, proof.EXT4_INCOMPAT_OFFSET, incompat)
        return bytes(content)

    def test_unmounted_or_frozen_is_clean(self):
        self.assertTrue(proof.superblock_is_clean(self.superblock()))

    @ddt.data(
        ('a_mounted_file_system', {'incompat': 0x2c6}),
        ('a_file_system_with_errors', {'state': 3}))
    @ddt.unpack
    def test_not_clean_is(self, _sentence, facts):
        self.assertFalse(
            proof.superblock_is_clean(self.superblock(**facts)))

    def test_something_else_is_refused(self):
        self.assertRaises(errors.ProofFailed, proof.superblock_is_clean,
                          self.superblock(magic=0))


@ddt.ddt
class ReferencesTest(base.BaseTestCase):

    @ddt.data(
        ('a_backing_file', {'backing-filename': '/etc/shadow'},
         ['backing-filename /etc/shadow']),
        ('a_data_file',
         {'format-specific': {'type': 'qcow2',
                              'data': {'data-file': '/etc/shadow'}}},
         ['data-file /etc/shadow']),
        ('an_extent_elsewhere',
         {'filename': 'i', 'format-specific': {
             'type': 'vmdk', 'data': {'extents': [
                 {'filename': 'i'}, {'filename': '/etc/shadow'}]}}},
         ['extent /etc/shadow']))
    @ddt.unpack
    def test_found_is(self, _sentence, info, found):
        self.assertEqual(found, proof.find_references(info))

    @ddt.data(
        ('raw', {'filename': 'i', 'format': 'raw'}),
        ('flat_qcow2', {'filename': 'i', 'format-specific': {
            'type': 'qcow2', 'data': {'compat': '1.1'}}}),
        ('flat_vmdk', {'filename': 'i', 'format-specific': {
            'type': 'vmdk', 'data': {'extents': [{'filename': 'i'}]}}}))
    @ddt.unpack
    def test_nothing_in(self, _sentence, info):
        self.assertEqual([], proof.find_references(info))
