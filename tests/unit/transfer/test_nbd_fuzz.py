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

import random
import socket
import threading
import time

from nova_snap import errors
from nova_snap import units
from tests.fakes import nbd as fake_nbd
from tests.unit.transfer import exports

BLOCK = exports.BLOCK
DISK = exports.DISK
LONG = exports.LONG


class Replay:
    """A server that says what it was given, whatever it hears."""

    def __init__(self, path):
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(path)
        self._listening.listen()
        self.words = b''
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                try:
                    client.sendall(self.words)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(units.KiB):
                        pass
                except OSError:
                    pass

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()


class FuzzTestCase(exports.ExportTestCase):
    """Whatever a server says, it is the one error or an answer."""

    # So many fit into a second or two.
    ROUNDS = 600

    def good(self):
        """Return what a good server says."""
        with fake_nbd.Server(self.path, DISK[:3 * BLOCK], extents=[
                (BLOCK, 0), (BLOCK, 3), (BLOCK, 0)]) as server:
            with self.export() as export:
                self.converse(export)
            return bytes(server.said)

    def converse(self, export):
        export.extents()
        return [bytes(view) for view in export.read(
            [(0, 2000), (BLOCK, 5), (2 * BLOCK, 100), (7, 7)], depth=2)]

    def try_words(self, words):
        """Return what was read; None after the one error."""
        self.server.words = words
        started = time.monotonic()
        try:
            with self.export() as export:
                found = self.converse(export)
        except errors.ExportFailed:
            found = None
        self.assertLess(time.monotonic() - started, LONG)
        return found

    def setUp(self):
        super().setUp()
        self.words = self.good()
        self.random = random.Random(11)
        self.server = Replay(self.path)
        self.addCleanup(self.server.close)

    def test_the_good_conversation_ends_well(self):
        self.assertEqual(
            [DISK[:2000], DISK[BLOCK:BLOCK + 5],
             DISK[2 * BLOCK:2 * BLOCK + 100], DISK[7:14]],
            self.try_words(self.words))

    def test_random_words(self):
        for _ in range(self.ROUNDS // 6):
            begin = self.random.choice((0, 18, 38, 90, 150))
            self.assertIsNone(self.try_words(
                self.words[:begin] + self.random.randbytes(300)))

    def test_a_conversation_that_is_cut(self):
        for _ in range(self.ROUNDS // 6):
            end = self.random.randrange(len(self.words))
            self.assertIsNone(self.try_words(self.words[:end]))

    def test_a_conversation_with_changes(self):
        for _ in range(self.ROUNDS):
            words = bytearray(self.words)
            for _ in range(self.random.randint(1, 4)):
                self.change(words)
            self.try_words(bytes(words))

    def change(self, words):
        at = self.random.randrange(len(words) - 8)
        how = self.random.randrange(5)
        if how == 0:
            words[at] ^= 1 << self.random.randrange(8)
        elif how == 1:
            words[at:at + 4] = self.random.choice(
                (bytes(4), 4 * b'\xff', b'\0\0\0\1', b'\x7f\xff\xff\xff'))
        elif how == 2:
            del words[at:at + self.random.randint(1, 8)]
        elif how == 3:
            words[at:at] = self.random.randbytes(self.random.randint(1, 8))
        else:
            other = self.random.randrange(len(words) - 8)
            words[at:at + 8] = words[other:other + 8]
