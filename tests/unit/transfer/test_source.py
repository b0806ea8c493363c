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

import hashlib
import os

import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.transfer import ahead
from nova_snap.transfer import source as source_module
from tests.unit import clock as unit_clock

DATA = bytes(range(256)) * 1000


class SourceTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(folder, 'flat')
        self.write(DATA)

    def write(self, data):
        with open(self.path, 'wb') as out:
            out.write(data)

    def read_all(self, reader, size=-1):
        chunks = []
        while chunk := reader.read(size):
            chunks.append(chunk)
        return b''.join(chunks)

    def test_a_pass_reads_everything(self):
        sent = source_module.FileSource(self.path)
        with sent.open() as reader:
            self.assertEqual(DATA, self.read_all(reader))

        self.assertEqual(len(DATA), sent.size_bytes)

    def test_each_pass_begins_at_byte_0(self):
        sent = source_module.FileSource(self.path)
        with sent.open() as reader:
            reader.read(1000)

            with sent.open() as again:
                self.assertEqual(DATA, self.read_all(again))

    def test_the_hash_is_of_the_whole_pass(self):
        with source_module.FileSource(self.path).open() as reader:
            self.read_all(reader, 777)

        self.assertEqual(hashlib.sha512(DATA).hexdigest(), reader.sha512())

    def test_a_pass_that_is_not_hashed_has_the_same_bytes(self):
        made = self.useFixture(fixtures.MockPatch('hashlib.sha512')).mock
        sent = source_module.FileSource(self.path)
        with sent.open(is_hashed=False) as reader:
            self.assertEqual(DATA, self.read_all(reader))

        made.assert_not_called()

    def test_a_read_is_not_longer_than_asked(self):
        with source_module.FileSource(self.path).open() as reader:
            self.assertEqual(DATA[:7], reader.read(7))
            self.assertEqual(b'', reader.read(0))

    def test_progress_tells_bytes_done_and_bytes_in_all(self):
        told = []
        sent = source_module.FileSource(self.path)
        with sent.open(progress=lambda *args: told.append(args)) as reader:
            self.read_all(reader, 100000)

        self.assertEqual([(100000, 256000), (200000, 256000),
                          (256000, 256000)], told)

    def test_it_keeps_below_the_bandwidth_over_all_passes(self):
        clock = unit_clock.Clock()
        sent = source_module.FileSource(self.path, bandwidth=1000, clock=clock)

        for _ in range(2):
            with sent.open() as reader:
                self.read_all(reader)

        self.assertAlmostEqual((2 * 256000 - 500) / 1000, clock.now - 1000)

    def test_a_limited_flow_is_even(self):
        clock = unit_clock.Clock()
        sent = source_module.FileSource(self.path, bandwidth=1000, clock=clock)

        with sent.open() as reader:
            self.assertEqual(500, len(reader.read()))

    def test_another_hash_takes_a_pass_at_full_speed(self):
        clock = unit_clock.Clock()
        sent = source_module.FileSource(self.path, bandwidth=1, clock=clock)

        self.assertEqual(hashlib.sha256(DATA).hexdigest(),
                         sent.digest('sha256'))
        self.assertEqual(1000, clock.now)

    def test_an_unknown_hash_is_none(self):
        self.assertIsNone(
            source_module.FileSource(self.path).digest('sha-of-2099')
        )

    def test_a_file_that_shrank_is_refused(self):
        # More than is read ahead.
        size = (ahead.DEPTH + 4) * source_module.CHUNK_BYTES
        os.truncate(self.path, size)
        sent = source_module.FileSource(self.path)
        with sent.open() as reader:
            reader.read(1000)
            self.write(DATA[:5000])

            refused = self.assertRaises(errors.StorageError, self.read_all,
                                        reader)

        self.assertIn(self.path, str(refused))
        self.assertIn(str(size), str(refused))

    def test_a_file_that_grew_is_refused(self):
        sent = source_module.FileSource(self.path)
        self.write(DATA + b'more')
        with sent.open() as reader:
            self.assertRaises(errors.StorageError, self.read_all, reader)

    def test_a_file_that_changed_is_refused_for_another_hash_too(self):
        sent = source_module.FileSource(self.path)
        self.write(DATA[:-1])

        self.assertRaises(errors.StorageError, sent.digest, 'md5')

    def test_an_empty_file_is_a_source(self):
        self.write(b'')
        sent = source_module.FileSource(self.path)
        with sent.open() as reader:
            self.assertEqual(b'', reader.read())

        self.assertEqual(0, sent.size_bytes)

    def test_a_missing_file_is_refused_by_name(self):
        os.unlink(self.path)

        refused = self.assertRaises(
            errors.StorageError, source_module.FileSource, self.path
        )

        self.assertIn(self.path, str(refused))

    def test_a_file_that_vanished_is_refused(self):
        sent = source_module.FileSource(self.path)
        os.unlink(self.path)

        self.assertRaises(errors.StorageError, sent.open)

    def test_an_error_while_reading_is_refused(self):
        # It opens, and nothing is mapped at address 0.
        path = f'/proc/{os.getpid()}/mem'
        sent = source_module.FileSource(path)
        with sent.open() as reader:
            refused = self.assertRaises(errors.StorageError, reader.read)

        self.assertIn(path, str(refused))

    def test_leaving_the_pass_closes_the_file(self):
        with source_module.FileSource(self.path).open() as reader:
            pass

        self.assertRaises(ValueError, reader.read)

    def test_it_cannot_be_wound_back(self):
        with source_module.FileSource(self.path).open() as reader:
            self.assertFalse(hasattr(reader, 'seek'))
            self.assertFalse(hasattr(reader, 'tell'))
