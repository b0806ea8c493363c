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

import threading

import hypothesis
from hypothesis import strategies
from oslotest import base

from nova_snap.transfer import ahead
from tests.fakes import examples

# Seconds for what needs none.
SOON = 10


def take_all(made):
    return list(iter(made.next, None))


class AheadTestCase(base.BaseTestCase):

    def ahead(self, chunks):
        made = ahead.Ahead(iter(chunks))
        self.addCleanup(made.close)
        return made

    @examples.settings()
    @hypothesis.given(strategies.lists(strategies.binary(min_size=1)))
    def test_it_is_all_there_in_order(self, chunks):
        made = ahead.Ahead(iter(chunks))
        try:
            self.assertEqual(chunks, take_all(made))
            self.assertIsNone(made.next())
        finally:
            made.close()

    def test_some_is_made_before_it_is_asked_for_and_no_more(self):
        asked, enough = [], threading.Event()

        def chunks():
            for number in range(100):
                asked.append(number)
                if number == ahead.DEPTH:
                    enough.set()
                yield b'%d' % number

        made = self.ahead(chunks())
        self.assertEqual(b'0', made.next())
        self.assertTrue(enough.wait(SOON))
        # It waits for room now, but for what it had in its hands.
        self.assertEqual(b'1', made.next())
        self.assertLessEqual(len(asked), ahead.DEPTH + 3)

    def test_before_a_wait_for_the_reader_nothing_is_left_under_way(self):
        settled = threading.Event()
        made = ahead.Ahead(iter([b'chunk'] * (ahead.DEPTH + 2)), settled.set)
        self.addCleanup(made.close)
        self.assertTrue(settled.wait(SOON))

    def test_while_there_is_room_it_goes_on(self):
        settled = []
        made = ahead.Ahead(iter([b'chunk'] * ahead.DEPTH),
                           lambda: settled.append(True))
        self.addCleanup(made.close)
        take_all(made)
        self.assertEqual([], settled)

    def test_an_error_comes_behind_what_was_made_before(self):
        def chunks():
            yield b'first'
            raise OSError('broken')

        made = self.ahead(chunks())
        self.assertEqual(b'first', made.next())
        self.assertRaises(OSError, made.next)
        self.assertIsNone(made.next())

    def test_closed_in_the_middle_its_thread_ends(self):
        before = threading.active_count()
        made = ahead.Ahead(iter([b'chunk'] * 1000))
        made.next()
        made.close()
        self.assertEqual(before, threading.active_count())
        self.assertRaises(ValueError, made.next)

    def test_closed_twice(self):
        made = self.ahead([b'chunk'])
        made.close()
