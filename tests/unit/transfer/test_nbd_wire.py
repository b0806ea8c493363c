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

import socket

import ddt

from nova_snap import errors
from tests.fakes import nbd as fake_nbd
from tests.unit.transfer import exports

DISK = exports.DISK
SHORT = exports.SHORT
nothing = exports.nothing
patience = exports.patience
read_all = exports.read_all
said = exports.said


@ddt.ddt
class HandshakeTestCase(exports.ExportTestCase):

    @ddt.data(0, 1, 1000, 5 << 40)
    def test_the_size_is_that_of_the_export(self, size):
        self.serve(b'', size=size)

        with self.export() as export:
            self.assertEqual(size, export.size_bytes)

    def test_an_export_is_found_by_its_name(self):
        self.serve(name=b'vda')

        with self.export('vda') as export:
            self.assertEqual(DISK, read_all(export))

    def test_the_error_names_the_export_the_socket_and_the_reason(self):
        self.serve(name=b'vda')

        raised = self.assertRaises(errors.ExportFailed,
                                   self.export('vdb').__enter__)

        self.assertEqual(
            f'The disk "vdb" cannot be read over NBD from {self.path}: the '
            'server refuses the block status: it has no such export. export '
            'not there', str(raised))

    def test_no_socket(self):
        self.assertEqual('No such file or directory', self.failure(nothing))

    def test_no_server_at_the_socket(self):
        with socket.socket(socket.AF_UNIX) as abandoned:
            abandoned.bind(self.path)

        self.assertEqual('Connection refused', self.failure(nothing))

    def test_a_path_that_no_socket_can_have(self):
        self.path += 108 * 'x'

        self.assertEqual('AF_UNIX path too long', self.failure(nothing))

    @ddt.data(
        (b'HTTP/1.1 400 Bad Request\r\n', 'the fixed newstyle'),
        (b'NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\0\0',
         'the fixed newstyle'),
        (b'NBDMAGICIHAVEOPT\0\0', 'the fixed newstyle'),
        (b'NBDMAGIC', 'no answer for 0.3 seconds'),
        (b'', 'no answer for 0.3 seconds'),
    )
    @ddt.unpack
    def test_another_greeting(self, greeting, reason):
        self.serve(greeting=greeting)

        self.assertIn(reason, self.failure(nothing,
                                           timeout=patience(reason)))

    def test_a_server_that_takes_the_connection_and_closes_it(self):
        self.serve(greeting=fake_nbd.Stop)

        self.assertIn('closed the connection', self.failure(nothing))

    @ddt.data(
        (said(8, (fake_nbd.ERR_UNSUP,)), 'structured replies: it does not'),
        (said(8, (1 << 31, b'')), 'structured replies: no reason'),
        (said(10, (fake_nbd.ACK,)), 'base:allocation'),
        (said(10, (4, fake_nbd.context(name=b'qemu:dirty')),
              (fake_nbd.ACK,)), 'base:allocation'),
        (said(10, (4, b'\0'), (fake_nbd.ACK,)), 'base:allocation'),
        (said(7, (fake_nbd.ACK,)), 'the size of the disk is None'),
        (said(7, (3, fake_nbd.info_export(1 << 63)), (fake_nbd.ACK,)),
         'the size of the disk is 92'),
        (said(7, (3, b'\0\0\0'), (fake_nbd.ACK,)),
         'the size of the disk is None'),
        (said(7, (fake_nbd.ERR_UNSUP + 4,)), 'it wants TLS'),
        (said(7, (fake_nbd.ERR_UNSUP + 7,)), 'block sizes'),
        (said(7, fake_nbd.option_reply(8, fake_nbd.ACK)), 'another question'),
        (said(7, 20 * b'\0'), 'another question'),
        (said(7, fake_nbd.option_reply(7, 3)[:16] + 4 * b'\xff'),
         'another question'),
    )
    @ddt.unpack
    def test_a_server_that_refuses_or_lies(self, options, reason):
        self.serve(options=options)

        self.assertIn(reason, self.failure(nothing))

    def test_the_words_of_a_server_are_fit_for_a_log(self):
        self.serve(options=said(
            7, (fake_nbd.ERR_UNKNOWN, b'no\n\x1b[1m\xff')))

        self.assertEndsWith('it has no such export. no  [1m\ufffd',
                            self.failure(nothing))

    def assertEndsWith(self, end, text):
        self.assertEqual(end, text[-len(end):])

    def test_other_information_is_ignored(self):
        self.serve(options=said(
            7, (3, b'\0\1name'), (3, fake_nbd.info_export(7)), (3, b'\0\x63'),
            (fake_nbd.ACK,)))

        with self.export() as export:
            self.assertEqual(7, export.size_bytes)

    @ddt.data(8, 10, 7)
    def test_a_server_that_hangs_before_an_answer(self, option):
        self.serve(options=said(option, fake_nbd.Hang))

        self.assertEqual('no answer for 0.3 seconds',
                         self.failure(nothing, timeout=SHORT))

    @ddt.data(8, 10, 7)
    def test_a_server_that_closes_before_an_answer(self, option):
        self.serve(options=said(option, fake_nbd.Stop))

        self.assertIn('closed the connection', self.failure(nothing))

    def test_a_server_that_always_says_a_little_more(self):
        def talk(option, _data):
            while True:
                server.wait(SHORT / 10)
                yield fake_nbd.option_reply(option, 3, b'\0\1')

        server = self.serve(options={7: talk})

        self.assertEqual('no answer for 0.3 seconds',
                         self.failure(nothing, timeout=SHORT))

    def test_a_client_leaves_as_it_should(self):
        server = self.serve()

        for _ in range(2):
            with self.export() as export:
                self.assertEqual(DISK[:1], read_all(export, end=1))

        self.assertEqual(2, len(server.asked))

    def test_an_export_that_is_left_is_closed(self):
        self.serve()
        with self.export() as export:
            pass

        for call in (export.extents, lambda: read_all(export)):
            raised = self.assertRaises(errors.ExportFailed, call)
            self.assertEqual('the connection is closed', raised.reason)
