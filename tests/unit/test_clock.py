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
import time

from oslotest import base

from nova_snap import clock as clock_module
from tests.unit import clock as unit_clock

# Longer than any of these tests: to wait for it is to fail.
LONG_SECONDS = 60


class ClockTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = clock_module.Clock()

    def test_it_is_the_clock_of_this_host(self):
        before = time.time()
        now = self.clock.time()
        self.assertTrue(before <= now <= time.time())

    def test_it_does_not_go_back(self):
        before = self.clock.monotonic()
        self.clock.sleep(0)
        self.assertLessEqual(before, self.clock.monotonic())

    def test_an_alarm_rings_while_its_block_waits(self):
        rung = threading.Event()
        with self.clock.alarm(0, rung.set):
            self.assertTrue(rung.wait(LONG_SECONDS))

    def quiet(self, error=None):
        """Tell whether an alarm that was far off is off after its block."""
        before = set(threading.enumerate())
        rung = threading.Event()
        try:
            with self.clock.alarm(LONG_SECONDS, rung.set):
                [timer] = set(threading.enumerate()) - before
                if error:
                    raise error
        except ValueError:
            pass
        timer.join(LONG_SECONDS / 2)
        return not timer.is_alive() and not rung.is_set()

    def test_it_is_off_when_the_block_has_ended(self):
        self.assertTrue(self.quiet())

    def test_and_when_it_has_failed(self):
        self.assertTrue(self.quiet(ValueError()))


class LooksTestCase(base.BaseTestCase):
    """One look after the other, until a deadline."""

    def setUp(self):
        super().setUp()
        self.clock = unit_clock.Clock()

    def looks(self, timeout, **asked):
        """Return at which second each look was."""
        started = self.clock.now
        return [self.clock.now - started for _ in self.clock.looks(
            timeout, first_pause=1, longest_pause=4, **asked)]

    def test_the_first_one_is_at_once_and_the_last_one_at_the_deadline(self):
        self.assertEqual([0, 1, 3, 7, 11, 13], self.looks(13))

    def test_without_time_there_is_one(self):
        self.assertEqual([0], self.looks(0))

    def test_a_look_takes_time_itself(self):
        looks = 0
        for _ in self.clock.looks(10, first_pause=1, longest_pause=1):
            looks += 1
            self.clock.now += 9
        # The second one began in time.
        self.assertEqual(2, looks)

    def test_no_pause_after_what_was_waited_for(self):
        for _ in self.clock.looks(10, first_pause=1, longest_pause=4):
            break
        self.assertEqual([], self.clock.slept)

    def test_news_end_a_pause_early(self):
        waits = []

        def wait(seconds):
            waits.append(seconds)
            self.clock.now += min(seconds, 2)

        self.assertEqual([0, 1, 3, 5, 7], self.looks(7, wait=wait))
        # They grow all the same; none goes beyond the deadline.
        self.assertEqual([1, 2, 4, 2], waits)
        self.assertEqual([], self.clock.slept)

    def test_it_is_looked_at_by_the_clock_of_this_host(self):
        clock = clock_module.Clock()
        looks = clock.looks(LONG_SECONDS, first_pause=0, longest_pause=0)
        self.assertEqual([None] * 3, [next(looks) for _ in range(3)])


class BellTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.bell = clock_module.Clock().bell()

    def test_it_ends_a_wait(self):
        thread = threading.Thread(target=self.bell.ring)
        thread.start()
        self.bell.wait(LONG_SECONDS)
        thread.join()

    def test_rung_before_the_wait_it_is_not_missed(self):
        self.bell.ring()
        self.bell.wait(LONG_SECONDS)

    def test_it_ends_one_wait(self):
        self.bell.ring()
        self.bell.wait(LONG_SECONDS)
        started = clock_module.Clock().stopwatch()
        self.bell.wait(0.01)
        self.assertLessEqual(0.01, started.seconds())


class StopwatchTestCase(base.BaseTestCase):

    def test_it_counts_from_its_start(self):
        clock = unit_clock.Clock()
        stopwatch = clock.stopwatch()
        self.assertEqual(0, stopwatch.seconds())
        clock.now += 5
        self.assertEqual(5, stopwatch.seconds())

    def test_it_counts_anew(self):
        clock = unit_clock.Clock()
        stopwatch = clock.stopwatch()
        clock.now += 5
        stopwatch.restart()
        clock.now += 2
        self.assertEqual(2, stopwatch.seconds())
