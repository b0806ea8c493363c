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
