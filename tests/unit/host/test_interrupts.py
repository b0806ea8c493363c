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
import signal

from oslotest import base

from nova_snap.cmd import cancellation
from nova_snap.host import interrupts


class InterruptsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.ran = []
        self.addCleanup(interrupts.allow)
        for number in cancellation.Cancellation.SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def act(self):
        self.ran.append('acted')

    def test_it_runs_at_once(self):
        interrupts.deliver(self.act)
        self.assertEqual(['acted'], self.ran)

    def test_deferred_it_runs_when_allowed_and_once(self):
        interrupts.defer()
        interrupts.deliver(self.act)
        self.assertEqual([], self.ran)
        interrupts.allow()
        interrupts.allow()
        self.assertEqual(['acted'], self.ran)

    def test_allowed_it_runs_at_once_again(self):
        interrupts.defer()
        interrupts.allow()
        interrupts.deliver(self.act)
        self.assertEqual(['acted'], self.ran)

    def test_a_signal_in_a_fork_comes_after_it(self):
        done = []
        with cancellation.Cancellation():
            interrupts.defer()
            os.kill(os.getpid(), signal.SIGTERM)
            done.append('forked')
            self.assertRaises(KeyboardInterrupt, interrupts.allow)
        self.assertEqual(['forked'], done)

    def test_a_signal_that_was_lost_is_found_before_the_commit(self):
        class Finalized:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                # Python runs the handler here, and drops what it raises.
                sum(range(10))

        with cancellation.Cancellation() as stop:
            Finalized()
            self.assertRaises(KeyboardInterrupt, stop.forbid)

    def test_without_a_signal_the_commit_goes_on(self):
        with cancellation.Cancellation() as stop:
            stop.forbid()
            os.kill(os.getpid(), signal.SIGTERM)
