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

"""What a guest's agent says does not block its operator."""

import ddt

from nova_snap import errors
from nova_snap.flows import recovery
from tests.fakes import agent as fake_agent
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

STATUS = 'guest-fsfreeze-status'
# All that is asked of it around a freeze.
FREEZE_COMMANDS = frozenset(('fsFreeze', 'fsThaw', STATUS))


class AgentTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec()

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.agent = self.fake.guest.agent


@ddt.ddt
class RefusalTestCase(AgentTestCase):
    """It refuses the freeze, and the thaw of what is not frozen."""

    def refuse_by(self, how, *commands):
        getattr(self.agent, how).update(commands)

    @ddt.data('refuses', 'mumbles')
    def test_wanted_the_image_stays_and_says_none(self, how):
        self.refuse_by(how, 'fsFreeze', 'fsThaw')
        before = self.state()
        self.assertEqual('none', self.take(quiesce='want').consistency)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    @ddt.data('refuses', 'mumbles')
    def test_required_it_fails_and_nothing_is_left(self, how):
        self.refuse_by(how, 'fsFreeze', 'fsThaw')
        before = self.state()
        error = self.assertRaises(errors.QuiesceFailed, self.take,
                                  quiesce='require')
        self.assertIn('could not be frozen', str(error))
        self.assert_nothing_left(before)

    @ddt.data('refuses', 'mumbles')
    def test_without_any_command_of_a_freeze_it_is_not_frozen(self, how):
        # As where the guest's owner has forbidden them to its agent.
        self.refuse_by(how, *FREEZE_COMMANDS)
        before = self.state()
        self.assertEqual('none', self.take(quiesce='want').consistency)
        self.assert_guest_untouched(before)
        self.assertEqual([], self.records())

    def test_an_agent_that_thaws_is_not_asked_what_taints(self):
        self.refuse_by('refuses', 'fsFreeze')
        self.take(quiesce='want')
        self.assertFalse(self.fake.guest.is_tainted)

    def test_that_the_domain_is_tainted_is_said(self):
        self.refuse_by('refuses', 'fsFreeze', 'fsThaw')
        with self.assertLogs('nova_snap.steps.freeze', 'WARNING') as logs:
            self.take(quiesce='want')
        self.assertTrue(self.fake.guest.is_tainted)
        self.assertIn('taints the domain', logs.output[0])

    def test_in_bytes_that_are_no_utf_8_its_words_are_passed_on(self):
        self.refuse_by('mumbles', 'getTime')
        error = self.assertRaises(errors.QuiesceFailed, self.take,
                                  quiesce='require')
        self.assertIn(r'\xbe', str(error))


@ddt.ddt
class ThawTestCase(AgentTestCase):
    """It freezes, and does not thaw."""

    @ddt.data('refuses', 'mumbles')
    def test_a_guest_that_is_frozen_still_is_not_taken_for_thawed(self, how):
        getattr(self.agent, how).add('fsThaw')
        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  quiesce='want')
        self.assertIn('could not be thawed', str(error))
        self.assertIn(
            f'When its agent answers again run "virsh domfsthaw '
            f'{fake_node.UUID}"; "virsh reset {fake_node.UUID}" boots a '
            'guest whose agent does not', str(error))
        self.assertNotIn('could not be frozen', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual(1, len(self.records()))

    def test_one_that_has_thawed_itself_was_not_frozen(self):
        self.agent.refuses.add('fsThaw')
        process = self.fake.process()
        process.calls.then('blockJobAbort', self.thaw)
        self.assertEqual('none', self.take(process,
                                           quiesce='want').consistency)
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    def thaw(self):
        self.agent.frozen = False


class LeftTestCase(AgentTestCase):
    """A freeze is left, in a guest whose agent does not thaw it."""

    def setUp(self):
        super().setUp()
        self.agent.refuses.add('fsThaw')
        self.assertRaises(errors.RollbackIncomplete, self.take,
                          quiesce='want')
        [self.left] = self.records()

    def test_a_live_snapshot_waits_for_its_thaw(self):
        error = self.assertRaises(errors.InstanceBusy, self.take)
        self.assertIn('could not be thawed', str(error))

    def test_a_cold_one_does_not_and_leaves_it_in_the_journal(self):
        self.assertEqual('none', self.take(cold=True).consistency)
        self.assert_all_or_nothing()
        self.assertEqual([self.left], self.records())
        self.assertEqual([recovery.Outcome.FAILED], self.outcomes())
        self.assertTrue(self.agent.frozen)

    def test_it_is_thawed_also_in_the_process_that_got_its_memory(self):
        self.take(cold=True)
        self.agent.refuses.clear()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assertFalse(self.agent.frozen)

    def test_saved_by_another_client_it_is_to_be_started_first(self):
        self.take(cold=True)
        self.agent.refuses.clear()
        self.fake.guest.managedSave(0)
        [finding] = self.recover()
        self.assertIn(f'Start the guest: "virsh start {fake_node.UUID}"',
                      finding.reason)
        self.fake.guest.create()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())

    def test_killed_while_it_is_saved_it_is_not_forgotten(self):
        self.die('managedSave', cold=True)
        self.agent.refuses.clear()
        # In which order the two records are settled is left to their names.
        self.recover()
        self.recover()
        self.assertEqual([], self.records())
        self.assertTrue(self.fake.guest.isActive())
        self.assertFalse(self.agent.frozen)

    def test_a_stopped_one_does_not_and_it_is_forgotten(self):
        self.fake.guest.destroy()
        self.take()
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    def test_stopped_after_a_cold_one_it_is_forgotten(self):
        self.take(cold=True)
        self.fake.guest.destroy()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())

    def test_reset_its_agent_thaws_nothing_and_it_is_forgotten(self):
        self.agent.refuses.clear()
        self.agent.frozen = False
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())


class ChannelTestCase(AgentTestCase):

    def test_an_agent_that_went_away_is_not_taken_for_thawed(self):
        process = self.fake.process()
        process.calls.then('fsFreeze', self.unplug)
        self.assertRaises(errors.RollbackIncomplete, self.take, process,
                          quiesce='require')
        self.assertEqual(1, len(self.records()))

    def unplug(self):
        self.agent.channel = fake_agent.Channel.DISCONNECTED
