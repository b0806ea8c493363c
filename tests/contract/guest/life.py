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

"""Saved, started, paused; the guest agent."""

import libvirt

from nova_snap import errors
from tests.contract.guest import contract

State = contract.State


class MemoryContract(contract.Contract):

    def test_saved_it_has_no_process(self):
        self.domain.managed_save()
        self.assertFalse(self.domain.is_active())
        self.assertTrue(self.domain.is_persistent())
        self.assertTrue(self.domain.has_managed_save())
        self.assertEqual(State.SHUTOFF, self.domain.state())
        self.assertEqual(-1, self.domain.qemu_id())
        self.assert_invalid(self.domain.job)
        self.assert_invalid(self.domain.abort_job)
        self.assert_invalid(self.domain.managed_save)

    def test_started_it_goes_on_in_another_process(self):
        before = self.domain.qemu_id()
        self.domain.managed_save()
        self.domain.start(paused=False)
        self.assertEqual(State.RUNNING, self.domain.state())
        self.assertFalse(self.domain.has_managed_save())
        self.assertNotIn(self.domain.qemu_id(), (before, -1))
        self.assert_invalid(lambda: self.domain.start(paused=False))

    def test_started_paused(self):
        self.domain.managed_save()
        self.domain.start(paused=True)
        self.assertEqual(State.PAUSED, self.domain.state())
        self.assertFalse(self.domain.has_managed_save())

    def test_saved_paused_it_comes_back_paused(self):
        self.side.theirs().suspend()
        for paused in (True, False):
            self.domain.managed_save()
            self.domain.start(paused=paused)
            self.assertEqual(State.PAUSED, self.domain.state())

    def test_who_has_paused_it_can_be_told(self):
        self.domain.managed_save()
        self.domain.start(paused=True)
        self.assertTrue(self.domain.is_paused_since_its_start())
        self.domain.resume()
        self.assertFalse(self.domain.is_paused_since_its_start())
        self.side.theirs().suspend()
        self.assertFalse(self.domain.is_paused_since_its_start())

    def test_transient_it_is_not_saved(self):
        self.domain.undefine()
        self.assert_invalid(self.domain.managed_save)

    def test_no_job_to_abort(self):
        self.assert_invalid(self.domain.abort_job)

    def test_save_that_is_cancelled_leaves_it_as_it_was(self):
        before = self.domain.qemu_id()
        with self.side.saving():
            # libvirt stops the guest for it.
            self.assertEqual('save', self.domain.job())
            self.assertEqual(State.PAUSED, self.domain.state())
            self.domain.abort_job()
        self.assertIsNone(self.domain.job())
        self.assertEqual(State.RUNNING, self.domain.state())
        self.assertFalse(self.domain.has_managed_save())
        self.assertEqual(before, self.domain.qemu_id())

    def test_paused_and_running(self):
        self.side.theirs().suspend()
        self.assertEqual(State.PAUSED, self.domain.state())
        self.side.theirs().resume()
        self.assertEqual(State.RUNNING, self.domain.state())


class AgentContract(contract.Contract):
    """A guest with an agent that does what it is asked."""

    def setUp(self):
        super().setUp()
        self.domain.set_agent_timeout(contract.AGENT_SECONDS)

    def test_it_freezes_and_thaws(self):
        self.assertEqual('connected', self.domain.model().agent)
        self.domain.ask_agent_time()
        self.assertLess(0, self.domain.freeze())
        self.assertLess(0, self.domain.thaw())
        self.assertEqual(0, self.domain.thaw())

    def test_frozen_it_does_nothing_but_thaw(self):
        self.domain.freeze()
        self.assertRaises(errors.QuiesceFailed, self.domain.freeze)
        self.assertRaises(errors.QuiesceFailed, self.domain.ask_agent_time)
        self.domain.thaw()
        self.domain.ask_agent_time()

    def test_paused_it_cannot_answer(self):
        self.side.theirs().suspend()
        for call in (self.domain.ask_agent_time, self.domain.freeze,
                     self.domain.thaw):
            self.assertRaises(errors.QuiesceFailed, call)

    def test_off_it_cannot_answer(self):
        self.side.theirs().destroy()
        for call in (self.domain.ask_agent_time, self.domain.freeze,
                     self.domain.thaw):
            self.assertRaises(errors.QuiesceFailed, call)

    def test_its_time_out_outlives_the_process(self):
        self.side.theirs().destroy()
        self.assertEqual(contract.AGENT_SECONDS, self.timeout_of_the_next())

    def test_off_its_time_out_can_be_set(self):
        self.side.theirs().destroy()
        self.domain.set_agent_timeout(None)
        self.assertEqual(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK,
                         self.timeout_of_the_next())

    def timeout_of_the_next(self):
        """Return it as it is in the next process; that ends as well."""
        self.side.theirs().create()
        seconds = self.side.agent_timeout()
        self.side.theirs().destroy()
        return seconds

    def test_saved_and_started_it_thaws_what_was_frozen(self):
        self.domain.freeze()
        self.domain.managed_save()
        self.domain.start(paused=False)
        self.wait_connected()
        self.domain.set_agent_timeout(contract.AGENT_SECONDS)
        self.assertRaises(errors.QuiesceFailed, self.domain.freeze)
        self.assertLess(0, self.domain.thaw())


class NoAgentContract(contract.Contract):
    """A guest without a channel, or without an agent at its other end."""

    said = 'absent'

    def test_it_says_no_at_once(self):
        self.assertEqual(self.said, self.domain.model().agent)
        started = self.side.clock.monotonic()
        for call in (self.domain.ask_agent_time, self.domain.freeze,
                     self.domain.thaw):
            self.assertRaises(errors.QuiesceFailed, call)
        self.assertLess(self.side.clock.monotonic() - started,
                        contract.AGENT_SECONDS)


class HungAgentContract(contract.Contract):

    def test_it_is_waited_for_as_long_as_was_said(self):
        self.assertEqual('connected', self.domain.model().agent)
        self.domain.set_agent_timeout(contract.AGENT_SECONDS)
        for call in (self.domain.ask_agent_time, self.domain.freeze,
                     self.domain.thaw):
            started = self.side.clock.monotonic()
            self.assertRaises(errors.QuiesceFailed, call)
            seconds = self.side.clock.monotonic() - started
            # libvirt counts milliseconds, and on another clock.
            self.assertLess(contract.AGENT_SECONDS - 0.1, seconds)
            # libvirt may begin to wait anew for each message.
            self.assertLess(seconds, 4 * contract.AGENT_SECONDS)


class RefusingAgentContract(contract.Contract):

    def test_it_answers_and_does_not_freeze(self):
        self.domain.set_agent_timeout(contract.AGENT_SECONDS)
        self.domain.ask_agent_time()
        error = self.assertRaises(errors.QuiesceFailed, self.domain.freeze)
        self.assertNotEqual(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, error.code)
        self.assertEqual(0, self.domain.thaw())
