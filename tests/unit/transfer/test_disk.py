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

"""The image of a disk while it is sent."""

import contextlib
import hashlib

import hypothesis
from oslotest import base

from nova_snap import errors
from nova_snap.model import extents as extents_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import qcow2 as qcow2_model
from nova_snap.transfer import disk as disk_module
from nova_snap import units
from tests.fakes import clock as fake_clock
from tests.fakes import disk_extents

DATA = extents_model.Extent(0, 3 * units.MiB + 512, False)
ZEROS = extents_model.Extent(DATA.end, 100 * units.MiB, True)
MORE = extents_model.Extent(ZEROS.end, 5 * units.MiB, False)


def source_of(disk, **facts):
    return disk_module.DiskSource(
        qcow2_model.Qcow2(disk.size_bytes, disk.extents), disk.connect,
        **facts)


def read_all(source, size=-1):
    with source.open() as reader:
        return b''.join(iter(lambda: reader.read(size), b''))


class BrokenDisk(disk_extents.Disk):
    """One that cannot be read to its end, and says so or does not."""

    def __init__(self, extents, ranges, error=None):
        super().__init__(extents)
        self._ranges = ranges
        self._error = error

    def read(self, ranges):
        for number, view in enumerate(super().read(ranges)):
            if number == self._ranges:
                if self._error:
                    raise self._error
                view = view[:-1]
            yield view


class DiskSourceTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.disk = disk_extents.Disk([DATA, ZEROS, MORE])

    @disk_extents.settings(max_examples=20)
    @hypothesis.given(disk_extents.extents())
    def test_as_long_as_it_said_before_it_was_read(self, extents):
        source = source_of(disk_extents.Disk(extents))
        self.assertEqual(source.size_bytes, len(read_all(source)))

    def test_each_pass_begins_at_byte_0(self):
        source = source_of(self.disk)
        with source.open() as reader:
            begun = reader.read() + reader.read(100)
        whole = read_all(source)
        self.assertTrue(whole.startswith(begun))
        self.assertEqual(whole, read_all(source))

    def test_bytes_do_not_depend_on_how_many_are_asked_for(self):
        source = source_of(self.disk)
        self.assertEqual(read_all(source), read_all(source, 64 * 1024 + 7))

    def test_zeros_are_not_read(self):
        read_all(source_of(self.disk))
        taken = sum(length for _, length in self.disk.taken)
        # But for what shares a cluster with data.
        self.assertIn(taken - DATA.length - MORE.length,
                      range(2 * qcow2_model.CLUSTER))

    def test_hashes_are_of_what_was_read(self):
        source = source_of(self.disk)
        whole = read_all(source)
        with source.open() as reader:
            while reader.read():
                pass
            self.assertEqual(hashlib.sha512(whole).hexdigest(),
                             reader.sha512())
        self.assertEqual(hashlib.md5(whole).hexdigest(), source.digest('md5'))
        self.assertIsNone(source.digest('md7'))

    def test_progress_is_in_bytes_of_the_image(self):
        source = source_of(self.disk)
        seen = []
        with source.open(progress=lambda *done: seen.append(done)) as reader:
            while reader.read():
                pass
        self.assertEqual((source.size_bytes, source.size_bytes), seen[-1])
        self.assertEqual(sorted(seen), seen)

    def test_it_keeps_below_the_bandwidth_over_all_passes(self):
        clock = fake_clock.FakeClock()
        source = source_of(self.disk, bandwidth=units.MiB, clock=clock)
        before = clock.monotonic()
        read_all(source)
        read_all(source)
        self.assertGreaterEqual(clock.monotonic() - before,
                                2 * source.size_bytes / units.MiB - 1)

    def test_a_disk_that_cannot_be_read_ends_the_pass(self):
        broken = BrokenDisk([DATA], 2, errors.StorageError(reason='EIO'))
        self.assertRaisesRegex(errors.StorageError, 'EIO', read_all,
                               source_of(broken))

    def test_one_byte_too_few_is_no_image(self):
        self.assertRaisesRegex(errors.StorageError, 'ended after', read_all,
                               source_of(BrokenDisk([DATA], 1)))

    def test_the_disk_is_closed_with_the_pass(self):
        closed = []

        @contextlib.contextmanager
        def connect():
            yield self.disk
            closed.append(True)

        source = disk_module.DiskSource(
            pieces_model.Raw(DATA.length, [DATA]), connect)
        with source.open() as reader:
            reader.read()
            self.assertEqual([], closed)
        self.assertEqual([True], closed)
