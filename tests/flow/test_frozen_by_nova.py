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

"""Frozen between two requests of Nova's, and never for ever."""

import contextlib

import ddt

from nova_snap import errors
from nova_snap.flows import frozen_by_nova
from nova_snap.flows import recovery
from tests.fakes import calls as fake_calls
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

UUID = fake_node.UUID
LIMIT = 30.0


class QuiescedTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.agent = self.fake.guest.agent
        self.before = self.state()
        self.process = self.fake.process()
        self.quiesced = frozen_by_nova.Quiesced(LIMIT)
        self.addCleanup(self.quiesced.thaw_all)

    def freeze(self):
        self.quiesced.freeze(self.process.node, UUID)


class AskedTestCase(QuiescedTestCase):

    def test_frozen_until_it_is_asked(self):
        self.freeze()
        self.assertTrue(self.agent.frozen)
        self.assertEqual(1, len(self.records()))
        self.assertTrue(self.quiesced.thaw(UUID))
        self.assert_nothing_left(self.before)

    def test_asked_twice(self):
        self.freeze()
        self.quiesced.thaw(UUID)
        self.assertFalse(self.quiesced.thaw(UUID))

    def test_a_guest_that_thawed_by_itself_is_told_from_one_held(self):
        # As Windows does after ten seconds.
        self.freeze()
        self.agent.frozen = False
        error = self.assertRaises(errors.QuiesceFailed, self.quiesced.thaw,
                                  UUID)
        self.assertIn('not frozen any more', str(error))
        self.assert_nothing_left(self.before)

    def test_never_frozen(self):
        self.assertFalse(self.quiesced.thaw(UUID))

    def test_frozen_again(self):
        self.freeze()
        self.quiesced.thaw(UUID)
        self.freeze()
        self.assertTrue(self.quiesced.thaw(UUID))
        self.assert_nothing_left(self.before)

    def test_no_snapshot_begins_in_between(self):
        self.freeze()
        self.assertRaises(errors.InstanceBusy, self.take)
        self.assertTrue(self.agent.frozen)
        self.quiesced.thaw(UUID)
        self.take()

    def test_we_are_not_taken_for_dead(self):
        self.freeze()
        self.assertEqual([recovery.Outcome.UNDER_WAY], self.outcomes())
        self.assertTrue(self.agent.frozen)

    def test_service_stops(self):
        self.freeze()
        self.quiesced.thaw_all()
        self.assert_nothing_left(self.before)


class BugQ4FrozenForEverTestCase(QuiescedTestCase):
    """nova-api dies, or waits too long, and the guest is thawed."""

    def test_thawed_when_the_time_is_over(self):
        self.freeze()
        self.fake.clock.sleep(LIMIT)
        self.assert_nothing_left(self.before)

    def test_asked_too_late_it_says_so(self):
        self.freeze()
        self.fake.clock.sleep(LIMIT)
        self.assertFalse(self.quiesced.thaw(UUID))

    def test_asked_in_time_nothing_comes_later(self):
        self.freeze()
        self.quiesced.thaw(UUID)
        self.freeze()
        self.fake.clock.sleep(LIMIT - 1)
        self.assertTrue(self.agent.frozen)


@ddt.ddt
class CannotTestCase(QuiescedTestCase):

    def test_agent_does_not_answer(self):
        self.agent.hung = True
        self.assertRaises(errors.QuiesceFailed, self.freeze)
        self.agent.hung = False
        self.assert_nothing_left(self.before)

    def test_agent_refuses(self):
        self.agent.refuses.add('fsFreeze')
        self.assertRaises(errors.QuiesceFailed, self.freeze)
        self.assert_nothing_left(self.before)

    def test_guest_is_off(self):
        self.fake.guest.destroy()
        self.assertRaises(errors.QuiesceFailed, self.freeze)
        self.assertEqual([], self.records())

    @ddt.data(fake_calls.When.BEFORE, fake_calls.When.AFTER)
    def test_killed_anywhere_in_the_freeze_recovery_thaws(self, when):
        for call in ('agentSetResponseTimeout', 'getTime', 'fsFreeze',
                     'journal write FreezeFilesystems intent',
                     'journal write FreezeFilesystems done'):
            process = self.fake.process()
            process.calls.kill_named(call, when)
            with contextlib.suppress(fake_calls.Killed, errors.SnapError):
                frozen_by_nova.Quiesced(LIMIT).freeze(process.node, UUID)
            self.assertTrue(process.calls.is_dead)
            self.assertEqual([], [
                finding for finding in self.recover()
                if finding.outcome != recovery.Outcome.SETTLED])
            self.assert_nothing_left(self.before)
