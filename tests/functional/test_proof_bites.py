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

"""A proof that cannot fail proves nothing: faults planted in a real image."""

import pathlib
import shutil

from tests.functional import base
from tests.functional import watch
from tests.lab import errors
from tests.lab.guest import build as guest_build
from tests.lab.guest import copy as guest_copy
from tests.lab import process
from tests.lab import proof
from tests.lab import records

# What QEMU copies at once, and what a qcow2 file is made of.
CLUSTER = 65536
RECORD = records.RECORD_SIZE
PER_CLUSTER = CLUSTER // RECORD
# Fewer zeros than this has only a cluster of random bytes: 256 are expected.
RANDOM_ZEROS = 1024


class ProofBitesTest(base.FunctionalTest):
    """One live image, and one fault at a time."""

    def test_planted_faults(self):
        guest = self.guest()
        # So that a whole cluster of records is followed by another.
        guest.wait_for(rf'^REC {2 * PER_CLUSTER}\s*$')
        instant = watch.Instant(guest)
        result = self.take(
            guest, base.Hooks({'block_device.abort': instant}))
        guest.destroy()
        good = self.download(result.images[0].image_id)
        last = instant.check(good, 'qcow2')
        for said, plant in (
                # A cluster of records is lost.
                ('slot 0 is empty, but record 0 belongs there',
                 {0: bytes(CLUSTER)}),
                # The image is of an earlier instant.
                (f'but record {instant.before} was durable before',
                 dict.fromkeys(range(instant.before, last + 1),
                               bytes(RECORD))),
                # Two records are swapped.
                (f'slot 3 holds record {last}',
                 {3: records.make_record(last), last: records.make_record(3)}),
                # A bit of one is not what the guest wrote.
                ('slot 5 holds a damaged record',
                 {5: records.make_record(5)[:-1] + b'?'}),
                # Writes that came after the point in time.
                ('the guest had reported no more than',
                 {number: records.make_record(number) for number
                  in range(last + 1, instant.after + 3)})):
            bad = self._plant(good, {
                guest_build.RECORDS_OFFSET + slot * RECORD: content
                for slot, content in plant.items()})
            # All that qemu-img has to say is that it is a good image.
            proof.assert_sound(bad, 'qcow2')
            exc = self.assertRaises(errors.ProofFailed, instant.check, bad,
                                    'qcow2')
            self.assertIn(said, str(exc))

        bad = self._plant(good, {self._random_cluster(): bytes(CLUSTER)})
        # A cluster of a file is lost, and only a guest can see it.
        instant.check(bad, 'qcow2')
        exc = self.assertRaises(errors.ProofFailed, guest_copy.assert_boots,
                                self.lab.libvirtd, bad, 'qcow2')
        self.assertIn("'data_ok': False", str(exc))

        # A cluster of the image's own tables is lost.
        bad = self._plant(good, {})
        with bad.open('r+b') as file:
            file.seek(CLUSTER)
            file.write(bytes(CLUSTER))
        self.assertRaises(errors.ProofFailed, proof.assert_sound, bad,
                          'qcow2')

    def test_planted_faults_after_the_first_lap(self):
        self.options['libvirt']['snapshot_image_format'] = 'qcow2'
        guest = self.guest('raw', boot=False)
        slots = guest_build.RECORDS_SIZE // RECORD
        # As if it had run for so long that few slots are empty.
        with guest.spec.disk.path.open('r+b') as disk:
            disk.seek(guest_build.RECORDS_OFFSET)
            for number in range(slots - PER_CLUSTER):
                disk.write(records.make_record(number))
        guest.boot()
        # So that a whole cluster of the second lap is there.
        guest.wait_for(rf'^REC {slots + PER_CLUSTER}\s*$')
        instant = watch.Instant(guest)
        result = self.take(
            guest, base.Hooks({'block_device.abort': instant}))
        guest.destroy()
        good = self.download(result.images[0].image_id)
        self.assertGreater(instant.check(good, 'qcow2'), slots)
        for said, slot, content in (
                # What was there a lap before.
                (f'slot 0 holds record 0, but record {slots} belongs there',
                 0, b''.join(map(records.make_record, range(PER_CLUSTER)))),
                # What the guest has not come back to yet.
                (f'slot {slots - 1} is empty, but record {slots - 1} belongs',
                 slots - 1, records.EMPTY)):
            bad = self._plant(good, {
                guest_build.RECORDS_OFFSET + slot * RECORD: content})
            proof.assert_sound(bad, 'qcow2')
            exc = self.assertRaises(errors.ProofFailed, instant.check, bad,
                                    'qcow2')
            self.assertIn(said, str(exc))

    def _plant(self, good: pathlib.Path,
               faults: dict[int, bytes]) -> pathlib.Path:
        """Copy an image and overwrite what a guest would read of it.

        :param faults: new content, by the disk's own offsets
        """
        bad = self.folder / 'bad'
        content = self.folder / 'fault'
        shutil.copyfile(good, bad)
        for offset, fault in faults.items():
            content.write_bytes(fault)
            process.run(['qemu-io', '-f', 'qcow2', '-c',
                         f'write -s {content} {offset} {len(fault)}',
                         str(bad)])
        return bad

    def _random_cluster(self) -> int:
        """Find a cluster of the disk that only a file's content is in."""
        with guest_build.parts().root_disk.open('rb') as disk:
            for offset in range(0, guest_build.DISK_SIZE, CLUSTER):
                if disk.read(CLUSTER).count(0) < RANDOM_ZEROS:
                    return offset
        raise errors.LabError('the root disk has no random data')
