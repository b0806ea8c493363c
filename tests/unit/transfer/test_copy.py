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

"""An image that is written where it lies."""

import hashlib
import random

import ddt
import hypothesis
from oslotest import base

from nova_snap import errors
from nova_snap.model import extents as extents_model
from nova_snap.model import pieces as pieces_model
from nova_snap.transfer import copy as copy_module
from nova_snap.transfer import disk as disk_module
from nova_snap import units
from tests.fakes import disk_extents

BLOCK = copy_module.BLOCK


class Sink:
    """An image of zeros, which takes what is written with the flush."""

    def __init__(self, size):
        self.data = bytearray(size)
        self.writes = []

    def write_later(self, offset, data):
        self.writes.append((offset, data))

    def write_zeros(self, offset, length):
        self.data[offset:offset + length] = bytes(length)

    def flush(self):
        for offset, data in self.writes:
            self.data[offset:offset + len(data)] = data


class Full(Sink):

    def flush(self):
        raise errors.StorageError(reason='No space left on device')


def source_of(disk):
    return disk_module.DiskSource(
        pieces_model.Raw(disk.size_bytes, disk.extents), disk.connect)


class Chunks:
    """A reader that yields given chunks."""

    def __init__(self, *chunks):
        self._chunks = [*chunks, b'']

    def read(self, size=-1, /):
        return self._chunks.pop(0)


class CopyTestCase(base.BaseTestCase):

    @disk_extents.settings(max_examples=20)
    @hypothesis.given(disk_extents.extents())
    def test_without_a_hash_it_is_what_was_read(self, extents):
        disk = disk_extents.Disk(extents)
        source = source_of(disk)
        with source.open() as reader:
            whole = b''.join(iter(reader.read, b''))
        sink, said = Sink(source.size_bytes), []
        with source.data(progress=lambda *done: said.append(done)) as data:
            copy_module.copy_data(data, sink)
        self.assertEqual(whole, bytes(sink.data))
        self.assertEqual(sorted(said), said)

    def test_without_a_hash_zeros_are_not_even_looked_at(self):
        data = extents_model.Extent(0, 3 * units.MiB, False)
        zeros = extents_model.Extent(data.end, 1024 * units.GiB, True)
        sink = Sink(0)
        source = source_of(disk_extents.Disk([data, zeros]))
        with source.data() as found:
            for offset, chunk in found:
                sink.write_later(offset, chunk)
        self.assertEqual(3 * units.MiB,
                         sum(len(chunk) for _, chunk in sink.writes))

    @disk_extents.settings(max_examples=20)
    @hypothesis.given(disk_extents.extents())
    def test_it_is_what_was_read(self, extents):
        source = source_of(disk_extents.Disk(extents))
        sink = Sink(source.size_bytes)
        with source.open() as reader:
            self.assertEqual(source.size_bytes,
                             copy_module.copy(reader, sink))
            self.assertEqual(hashlib.sha512(sink.data).hexdigest(),
                             reader.sha512())

    def test_zeros_of_the_extents_are_not_written(self):
        data = extents_model.Extent(0, 3 * units.MiB, False)
        zeros = extents_model.Extent(data.end, units.GiB, True)
        source = source_of(disk_extents.Disk([data, zeros]))
        sink = Sink(0)
        with source.open() as reader:
            copy_module.copy(reader, sink)
        self.assertEqual(3 * units.MiB,
                         sum(len(data) for _, data in sink.writes))

    def test_nor_are_blocks_of_zeros_that_a_guest_has_written(self):
        sink = Sink(0)
        copy_module.copy(Chunks(
            b'a' * BLOCK + bytes(BLOCK) + bytes(BLOCK - 1) + b'b' + b'c' * 9,
            bytes(7), b'd'), sink)
        self.assertEqual(
            [(0, b'a' * BLOCK),
             (2 * BLOCK, bytes(BLOCK - 1) + b'b' + b'c' * 9),
             (3 * BLOCK + 16, b'd')], sink.writes)

    def test_a_store_that_is_full_ends_it(self):
        self.assertRaisesRegex(errors.StorageError, 'No space',
                               copy_module.copy, Chunks(b'a'), Full(1))


@ddt.ddt
class ChangesTestCase(base.BaseTestCase):

    @ddt.data(*range(30))
    def test_what_has_changed_is_as_on_the_disk_and_the_rest_as_before(
            self, seed):
        rand = random.Random(seed)
        extents, size = [], 0
        for number in range(rand.randrange(8)):
            length = rand.choice((1, 511, 512, BLOCK, BLOCK + 1, 3 * BLOCK))
            extents.append(extents_model.Extent(size, length,
                                                bool(number % 2)))
            size += length
        disk = disk_extents.Disk(extents)
        with source_of(disk).open() as reader:
            wanted = bytearray(b''.join(iter(reader.read, b'')))
        borders = sorted(rand.sample(range(size + 1),
                                     min(size, 2 * rand.randrange(5))))
        ranges = [(begin, end - begin) for begin, end
                  in zip(borders[::2], borders[1::2], strict=False)]
        unchanged, at = extents_model.Extents(), 0
        for begin, end in [*((begin, begin + length)
                             for begin, length in ranges), (size, size)]:
            if at < begin:
                unchanged.append(begin, is_zero=True)
            if begin < end:
                unchanged.append(end, is_zero=False)
            at = end
        source = disk_module.DiskSource(
            pieces_model.Raw(disk.size_bytes, disk.extents), disk.connect,
            changed=extents_model.Changes(
                disk.extents, unchanged))
        sink = Sink(disk.size_bytes)
        # What was there before, zeros included, must be written over.
        sink.data[:] = b'b' * disk.size_bytes
        before = bytes(sink.data)
        for begin, end in zip([0, *(at + length for at, length in ranges)],
                              [*(at for at, _ in ranges), disk.size_bytes],
                              strict=True):
            wanted[begin:end] = before[begin:end]

        with source.changes() as data:
            copy_module.copy_changes(data, [
                (extent.offset, extent.length) for extent in source.changed
                if extent.is_zero], sink)

        self.assertEqual(bytes(wanted), bytes(sink.data))

    def test_zeros_that_were_read_are_written_too(self):
        sink = Sink(BLOCK)
        sink.data[:] = b'b' * BLOCK
        copy_module.copy_changes([(0, bytes(BLOCK))], [], sink)
        self.assertEqual(bytes(BLOCK), bytes(sink.data))

    def test_a_sink_that_fails(self):
        self.assertRaises(errors.StorageError, copy_module.copy_changes,
                          [(0, b'a')], [], Full(BLOCK))
