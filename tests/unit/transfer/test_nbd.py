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

import os
import random
import threading

import ddt
import fixtures

from nova_snap import errors
from nova_snap.transfer import nbd
from nova_snap import units
from tests.fakes import nbd as fake_nbd
from tests.unit.transfer import exports

BLOCK = exports.BLOCK
DISK = exports.DISK
LONG = exports.LONG
SHORT = exports.SHORT
data_at = exports.data_at
patience = exports.patience
read_all = exports.read_all


@ddt.ddt
class ExtentsTestCase(exports.ExportTestCase):

    def serve_status(self, *descriptors, size=100, **more):
        return self.serve(b'', size=size, block_status=lambda cookie, *_: [
            fake_nbd.status(cookie, descriptors, **more)])

    def extents(self):
        with self.export() as export:
            return list(export.extents())

    def test_an_empty_disk_has_none(self):
        server = self.serve(b'')

        self.assertEqual([], self.extents())
        self.assertEqual([], server.asked)

    def test_only_the_flag_of_zeros_makes_a_zero(self):
        self.serve(extents=[(BLOCK, 0), (BLOCK, fake_nbd.ZERO), (BLOCK, 1),
                            (BLOCK, 3), (BLOCK, 4 | 1), (BLOCK, 4 | 2),
                            (len(DISK) - 6 * BLOCK, 0)])

        self.assertEqual(
            [False, True, False, True, False, True, False],
            [extent.is_zero for extent in self.extents()])

    def test_neighbours_of_one_kind_are_joined(self):
        self.serve(extents=[(BLOCK, 0), (BLOCK, fake_nbd.HOLE), (BLOCK, 2),
                            (len(DISK) - 3 * BLOCK, 3)])

        self.assertEqual(
            data_at((0, 2 * BLOCK, False),
                    (2 * BLOCK, len(DISK) - 2 * BLOCK, True)),
            self.extents())

    def test_a_partial_answer_is_followed_by_another_question(self):
        server = self.serve(b'', size=100, block_status=lambda cookie, at, _: [
            fake_nbd.status(cookie, [(20, at % 40 // 10)])])

        self.assertEqual(
            data_at((0, 20, False), (20, 20, True), (40, 20, False),
                    (60, 20, True), (80, 20, False)), self.extents())
        self.assertEqual([100, 80, 60, 40, 20],
                         [length for _, _, length in server.asked])

    def test_a_large_disk_is_asked_for_in_parts(self):
        size = 10 * units.GiB + 512
        server = self.serve(b'', size=size, extents=[(size, 3)])

        self.assertEqual(data_at((0, size, True)), self.extents())
        largest = 4 * units.GiB - BLOCK
        self.assertEqual([largest, largest, size - 2 * largest],
                         [length for _, _, length in server.asked])

    def test_a_last_descriptor_may_go_beyond_its_question(self):
        size = 4 * units.GiB + 5
        server = self.serve_status((units.GiB, 0), (size - units.GiB, 3),
                                   size=size)

        self.assertEqual(data_at((0, units.GiB, False),
                                 (units.GiB, size - units.GiB, True)),
                         self.extents())
        self.assertEqual(1, len(server.asked))

    def test_another_context_is_ignored(self):
        self.serve(b'', size=100, block_status=lambda cookie, *_: [
            fake_nbd.status(cookie, [(100, 2)], context_id=1, done=False),
            fake_nbd.status(cookie, [(100, 0)], done=False),
            fake_nbd.status(cookie, [(100, 2)], context_id=2, done=False),
            fake_nbd.none(cookie)])

        self.assertEqual(data_at((0, 100, False)), self.extents())

    @ddt.data(
        ([(0, 0)], '0 bytes at 0'),
        ([(50, 0), (0, 0), (50, 0)], '0 bytes at 50'),
        ([(101, 0)], '101 bytes at 0 of a disk of 100'),
        ([(100, 0), (1, 3)], '1 bytes at 100 of a disk of 100'),
        ([], 'a chunk of type 5 and 4 bytes'),
    )
    @ddt.unpack
    def test_a_lie_about_extents(self, descriptors, reason):
        self.serve_status(*descriptors)

        self.assertIn(reason, self.failure(nbd.Export.extents))

    @ddt.data(
        (lambda at: [fake_nbd.none(at)], 'the reply is empty'),
        (lambda at: [fake_nbd.status(at, [(100, 0)], context_id=1)],
         'the reply is empty'),
        (lambda at: [fake_nbd.status(at, [(60, 0)], done=False),
                     fake_nbd.status(at, [(40, 0)])], 'it comes twice'),
        (lambda at: [fake_nbd.data(at, 0, bytes(100))], 'a chunk of type 1'),
        (lambda at: [fake_nbd.hole(at, 0, 100)], 'a chunk of type 2'),
        (lambda at: [fake_nbd.chunk(at, 5, bytes(13))], 'and 13 bytes'),
        (lambda at: [fake_nbd.chunk(at, 5, b'')], 'and 0 bytes'),
        (lambda at: [fake_nbd.chunk(at, 5)[:16] + 4 * b'\xff'],
         'and 4294967295 bytes'),
        (lambda at: [fake_nbd.error(at, 22)], 'Invalid argument'),
        (lambda at: [fake_nbd.simple(at, 5)], 'Input/output error'),
        (lambda at: [fake_nbd.simple(at, 0)], 'error 0'),
        (lambda at: [fake_nbd.Stop], 'closed'),
        (lambda at: [fake_nbd.status(at, [(100, 0)])[:-1], fake_nbd.Stop],
         'closed'),
        (lambda at: [fake_nbd.Hang], 'no answer'),
        (lambda at: [fake_nbd.status(at, [(100, 0)])[:-1], fake_nbd.Hang],
         'no answer'),
    )
    @ddt.unpack
    def test_no_answer(self, answer, reason):
        self.serve(b'', size=100,
                   block_status=lambda cookie, *_: answer(cookie))

        self.assertIn(reason, self.failure(
            nbd.Export.extents, timeout=patience(reason)))

    def test_a_server_that_goes_on_by_single_bytes_has_a_deadline(self):
        self.serve(b'', size=units.GiB, block_status=lambda cookie, *_: [
            fake_nbd.status(cookie, [(1, 0)])])

        self.assertIn('no answer',
                      self.failure(nbd.Export.extents, timeout=SHORT))

    def test_more_extents_than_memory_should_hold_become_fewer(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.transfer.nbd.MOST_EXTENTS', 1000))
        count = 4 * nbd.MOST_EXTENTS
        self.serve_status(*[(1, at % 2 * 2) for at in range(count)],
                          size=count)

        self.assertLessEqual(len(self.extents()), nbd.MOST_EXTENTS)


class ChangedTestCase(exports.ExportTestCase):

    def changed(self, bitmap='day'):
        with nbd.Export(self.path, bitmap=bitmap) as export:
            return [(extent.offset, extent.length)
                    for extent in export.unchanged()
                    if not extent.is_zero]

    def test_what_the_bitmap_has_and_no_more(self):
        self.serve(context=b'qemu:dirty-bitmap:day', extents=[
            (BLOCK, 0), (BLOCK, 1), (2 * BLOCK, 1),
            (len(DISK) - 5 * BLOCK, 0), (BLOCK, 1)])

        self.assertEqual([(BLOCK, 3 * BLOCK), (len(DISK) - BLOCK, BLOCK)],
                         self.changed())

    def test_nothing_has_changed(self):
        self.serve(context=b'qemu:dirty-bitmap:day')

        self.assertEqual([], self.changed())

    def test_a_server_without_this_bitmap(self):
        server = self.serve(context=b'qemu:dirty-bitmap:day', options={
            fake_nbd.SET_META_CONTEXT: lambda option, _: [
                fake_nbd.option_reply(option, fake_nbd.ACK)]})

        error = self.assertRaises(errors.ExportFailed, self.changed, 'night')

        self.assertIn('does not tell what has changed '
                      '(qemu:dirty-bitmap:night)', error.reason)
        self.assertEqual([], server.asked)


@ddt.ddt
class ReadTestCase(exports.ExportTestCase):

    def read_one(self, export):
        return read_all(export, end=BLOCK)

    @ddt.data(1, 3, 4, 100)
    def test_the_bytes_come_in_order(self, depth):
        self.serve()

        with self.export() as export:
            self.assertEqual(DISK, read_all(export, depth=depth))

    @ddt.data(2, 4, 7)
    def test_they_do_when_the_replies_come_out_of_order(self, gather):
        self.serve(gather=gather)

        with self.export() as export:
            self.assertEqual(DISK, read_all(export, 5000, depth=gather))

    def test_as_many_as_wanted_are_under_way_and_no_more(self):
        server = self.serve(gather=20)

        with self.export() as export:
            self.assertEqual(DISK, read_all(export, depth=3))

        self.assertEqual(3, server.most_pending)

    def test_the_server_works_while_the_caller_does(self):
        server = self.serve(read=self.read_and_tell)
        with self.export() as export:
            views = export.read([(0, 1), (1, 1), (2, 1), (3, 1)], depth=2)
            self.told = threading.Semaphore(0)
            next(views)

            # The first, and two more while the caller has it.
            for _ in range(3):
                self.assertTrue(self.told.acquire(timeout=LONG))
        self.assertEqual(3, len(server.asked))

    def test_what_is_settled_needs_no_server_any_more(self):
        server = fake_nbd.Server(self.path, DISK).__enter__()
        with self.export() as export:
            views = export.read([(at, BLOCK) for at in range(5)], depth=4)
            first = bytes(next(views))
            export.settle()
            server.__exit__()
            found = [first, *map(bytes, views)]
        self.assertEqual([DISK[at:at + BLOCK] for at in range(5)], found)

    def test_with_nothing_under_way_all_is_settled(self):
        server = self.serve()
        with self.export() as export:
            export.settle()
            self.assertEqual(DISK, read_all(export))
            export.settle()
        self.assertEqual(11, len(server.asked))

    def read_and_tell(self, cookie, offset, length):
        self.told.release()
        return [fake_nbd.data(cookie, offset, DISK[offset:offset + length])]

    def test_the_caller_may_take_its_time(self):
        self.serve()
        with self.export(timeout=SHORT) as export:
            for view in export.read([(0, 9), (9, 9), (18, 9)], depth=2):
                threading.Event().wait(2 * SHORT)
                self.assertEqual(9, len(view))

    def test_a_reply_may_come_in_chunks_and_holes_in_any_order(self):
        disk = DISK[:3000] + bytes(1000) + DISK[4000:BLOCK]

        def read(cookie, offset, length):
            pieces = [fake_nbd.hole(cookie, 3000, 1000, done=False)] + [
                fake_nbd.data(cookie, first, disk[first:last], done=False)
                for first, last in ((0, 1), (1, 1000), (1000, 3000),
                                    (4000, 4001), (4001, BLOCK))]
            random.Random(cookie).shuffle(pieces)
            return [*pieces, fake_nbd.none(cookie)]

        self.serve(disk, read=read, gather=3)

        with self.export() as export:
            for view in export.read(20 * [(0, BLOCK)], depth=3):
                self.assertEqual(disk, bytes(view))

    def test_a_hole_hides_what_its_buffer_had_before(self):
        self.serve(read=lambda cookie, offset, length: [
            fake_nbd.hole(cookie, offset, length) if offset
            else fake_nbd.data(cookie, 0, DISK[:length])])

        with self.export() as export:
            found = [bytes(view)
                     for view in export.read(3 * [(0, 9)] + 3 * [(9, 9)])]

        self.assertEqual(3 * [DISK[:9]] + 3 * [bytes(9)], found)

    def test_a_view_is_used_up_when_the_next_is_taken(self):
        self.serve()
        with self.export() as export:
            views = export.read([(0, 9), (9, 9)])
            first = next(views)
            self.assertTrue(first.readonly)
            next(views)

            self.assertRaises(ValueError, bytes, first)

    def test_its_buffers_are_few(self):
        self.serve()
        with self.export() as export:
            seen = {id(view.obj) for view in export.read(
                [(at, 1) for at in range(100)], depth=3)}

        self.assertLessEqual(len(seen), 4)

    def test_a_read_that_is_left_does_not_disturb_the_next(self):
        self.serve()
        with self.export() as export:
            next(export.read([(0, BLOCK)] * 5))

            self.assertEqual(DISK, read_all(export))
            self.assertEqual(data_at((0, len(DISK), False)),
                             list(export.extents()))

    @ddt.data((0, 0), (-1, 5), (0, units.MiB + 1), (len(DISK) - 1, 2),
              (0, -1))
    def test_a_range_that_cannot_be_asked_for(self, asked):
        server = self.serve(DISK, size=2 * units.MiB) if asked[1] > BLOCK \
            else self.serve()
        with self.export() as export:
            self.assertRaises(ValueError, list, export.read([asked]))

        self.assertEqual([], server.asked)

    def test_no_depth(self):
        self.serve()
        with self.export() as export:
            self.assertRaises(ValueError, list,
                              export.read([(0, 1)], depth=0))

    @ddt.data(
        # Short, long, twice, elsewhere.
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK - 1])], 'too short'),
        (lambda at: [fake_nbd.none(at)], 'too short'),
        (lambda at: [fake_nbd.hole(at, 1, BLOCK - 1)], 'too short'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK + 1])],
         'not asked for'),
        (lambda at: [fake_nbd.data(at, BLOCK, b'x')], 'not asked for'),
        (lambda at: [fake_nbd.data(at, 1 << 63, b'x')], 'not asked for'),
        (lambda at: [fake_nbd.hole(at, 0, (1 << 32) - 1)], 'not asked for'),
        (lambda at: [fake_nbd.hole(at, 5, 0)], 'not asked for'),
        (lambda at: [fake_nbd.data(at, 9, b'x', done=False),
                     fake_nbd.data(at, 0, DISK[:BLOCK])], 'come twice'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK], done=False),
                     fake_nbd.hole(at, 9, 1)], 'come twice'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK]),
                     fake_nbd.none(at)] * 2, 'a reply is to no request'),
        # No content.
        (lambda at: [fake_nbd.data(at, 0, b'')], 'type 1 and 8 bytes'),
        (lambda at: [fake_nbd.chunk(at, 2, bytes(13))], 'and 13 bytes'),
        (lambda at: [fake_nbd.chunk(at, 3, b'')], 'a chunk of type 3'),
        (lambda at: [fake_nbd.status(at, [(BLOCK, 3)])], 'type 5'),
        (lambda at: [fake_nbd.chunk(at, 0, done=False)], 'an empty chunk'),
        (lambda at: [fake_nbd.chunk(at, 0, b'x')], 'an empty chunk'),
        # Another conversation.
        (lambda at: [fake_nbd.data(at + 9, 0, DISK[:BLOCK])],
         'to no request'),
        (lambda at: [20 * b'x'], 'to no request'),
        (lambda at: [fake_nbd.simple(at, 0), DISK[:BLOCK]], 'error 0'),
        # Errors.
        (lambda at: [fake_nbd.simple(at, 5)], 'Input/output error'),
        (lambda at: [fake_nbd.error(at, 5, b'broken disk')],
         'read of 65536 bytes at 0: Input/output error. broken disk'),
        (lambda at: [fake_nbd.error(at, 108, done=False)],
         os.strerror(108)),
        (lambda at: [fake_nbd.error(at, 0xffffffff)], 'error 4294967295'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:999], done=False),
                     fake_nbd.error_at(at, 999, 5)],
         'Input/output error'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK], done=False),
                     fake_nbd.error_at(at, 7, 5, b'?', done=False)],
         'Input/output error. ?'),
        (lambda at: [fake_nbd.chunk(at, (1 << 15) + 9, bytes(6))],
         'error 0'),
        (lambda at: [fake_nbd.chunk(at, (1 << 15) + 1, bytes(5))],
         'an error has 5 bytes'),
        (lambda at: [fake_nbd.error(at)[:16] + 4 * b'\xff'],
         'an error has 4294967295 bytes'),
        # The end.
        (lambda at: [fake_nbd.Stop], 'closed'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK])[:9], fake_nbd.Stop],
         'closed'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK])[:999],
                     fake_nbd.Stop], 'closed'),
        (lambda at: [fake_nbd.Hang], 'no answer'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK])[:9], fake_nbd.Hang],
         'no answer'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK])[:999],
                     fake_nbd.Hang], 'no answer'),
        (lambda at: [fake_nbd.data(at, 0, DISK[:BLOCK], done=False),
                     fake_nbd.Hang], 'no answer'),
    )
    @ddt.unpack
    def test_a_wrong_reply_is_the_one_error(self, answer, reason):
        self.serve(read=lambda cookie, *_: answer(cookie))

        # The second is asked for, and fails where the first one is whole.
        self.assertIn(reason, self.failure(
            lambda export: list(export.read([(0, BLOCK), (0, BLOCK)])),
            timeout=patience(reason)))

    def test_the_ranges_before_an_error_are_right(self):
        self.serve(read=lambda cookie, offset, length: [
            fake_nbd.error(cookie) if offset >= 5 * BLOCK
            else fake_nbd.data(cookie, offset, DISK[offset:offset + length])])
        found = []

        def read(export):
            found.extend(bytes(view) for view in export.read(
                (at * BLOCK, BLOCK) for at in range(9)))

        self.assertIn('at 327680: Input/output error', self.failure(read))
        self.assertEqual(DISK[:len(found) * BLOCK], b''.join(found))

    def test_a_reply_that_trickles_has_a_deadline(self):
        def read(cookie, offset, length):
            for at in range(length):
                server.wait(SHORT / 10)
                yield fake_nbd.data(cookie, at, b'x', done=False)

        server = self.serve(read=read)
        # The fake makes a list of a reply: it is sent while it is made.
        server._reply = lambda flags, kind, *request: Trickle(read(*request))

        self.assertIn('no answer', self.failure(self.read_one, timeout=SHORT))

    def test_a_half_read_message_is_not_read_on(self):
        """What follows may be a guest's bytes that look like a reply."""
        self.serve()

        class Interrupted(BaseException):
            pass

        def interrupt(_view):
            raise Interrupted

        with self.export() as export:
            export._wire.receive_into = interrupt
            self.assertRaises(Interrupted, self.read_one, export)
            del export._wire.receive_into

            raised = self.assertRaises(errors.ExportFailed, self.read_one,
                                       export)

        self.assertEqual('the connection is closed', raised.reason)


class Trickle:
    """A reply that is made as it is sent."""

    def __init__(self, messages):
        self._messages = messages

    def pop(self, _at):
        return next(self._messages)
