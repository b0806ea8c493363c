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

"""Freezing: wanted or required, with agents of every mood."""

import dataclasses

import ddt
import fixtures

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.journal import store as store_module
from nova_snap.model import consistency as consistency_model
from nova_snap.steps import freeze as freeze_step
from tests.fakes import agent as fake_agent
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

Channel = fake_agent.Channel

# More than freeze_timeout of the fake node, which is 10 s.
LONG = 25.0


def hung(agent):
    agent.hung = True


def hangs_at_freeze(agent):
    agent.hangs_at = 'fsFreeze'


def refuses(agent):
    agent.refuses.add('fsFreeze')


def frozen_by_another_client(agent):
    agent.frozen = True


def unplugged(agent):
    agent.channel = Channel.DISCONNECTED


class QuiesceTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.agent = self.fake.guest.agent


@ddt.ddt
class MoodsTestCase(QuiesceTestCase):
    """An agent that was there when the plan was made does not do it."""

    @ddt.data(hung, refuses, frozen_by_another_client)
    def test_wanted_it_goes_on_without(self, mood):
        mood(self.agent)
        before = self.state()

        result = self.take(quiesce='want')

        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assertEqual('none', result.consistency)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    @ddt.data(hung, refuses, frozen_by_another_client)
    def test_required_it_fails_and_nothing_is_left(self, mood):
        mood(self.agent)
        before = self.state()

        self.assertRaises(errors.QuiesceFailed, self.take,
                          quiesce='require')

        self.assert_nothing_left(before)

    @ddt.data('rebase', 'backup')
    def test_while_it_is_frozen_it_does_not_wait_for_the_journal(self, way):
        frozen_at = []
        write = store_module.Store.write

        def look(store, record):
            frozen_at.append(self.agent.frozen)
            write(store, record)

        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.journal.store.Store.write', look))
        self.fake.set(live_method=way)
        self.assertEqual('frozen', self.take(quiesce='require').consistency)
        self.assertEqual({False}, set(frozen_at))

    def test_thawed_before_the_mirror_ended_it_was_not_frozen(self):
        before = self.state()
        self.assertEqual('none', self.take(
            self.thawed_in_between(), quiesce='want').consistency)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_thawed_before_the_mirror_ended_and_it_is_required(self):
        before = self.state()
        process = self.thawed_in_between()
        error = self.assertRaises(errors.QuiesceFailed, self.take, process,
                                  quiesce='require')
        self.assertIn('thawed by another program', str(error))
        self.assertNotIn('upload', process.calls.names())
        self.assert_nothing_left(before)

    @ddt.data('want', 'require')
    def test_no_file_system_can_be_frozen(self, quiesce):
        # As a guest whose disk is a database's: Nova takes this too.
        self.agent.file_systems = 0
        before = self.state()
        result = self.take(quiesce=quiesce)
        self.assertEqual('none', result.consistency)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def thawed_in_between(self):
        process = self.fake.process()
        process.calls.then('blockJobAbort', self.thaw)
        return process

    def thaw(self):
        self.agent.frozen = False

    def test_unplugged_since_the_plan_was_made(self):
        process = self.fake.process()
        process.calls.then('defineXML', lambda: unplugged(self.agent))
        before = self.state()
        self.assertRaises(errors.QuiesceFailed, self.take, process,
                          quiesce='require')
        self.assert_nothing_left(before)

    def test_hung_at_the_freeze_and_ever_after(self):
        # It may have frozen, and cannot be thawed: that is nothing to
        # upload for an hour on.
        hangs_at_freeze(self.agent)
        process = self.fake.process()

        self.assertRaises(errors.RollbackIncomplete, self.take, process,
                          quiesce='want')

        self.assertNotIn('upload', process.calls.names())
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual(1, len(self.records()))
        self.agent.hung = False
        self.agent.hangs_at = None
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assertFalse(self.agent.frozen)
        self.assertEqual([], self.records())

    def test_every_wait_ends(self):
        # An agent that hangs has no end of its own: the fake says so.
        hung(self.agent)
        started = self.fake.clock.monotonic()
        self.take(quiesce='want')
        self.assertLess(self.fake.clock.monotonic() - started,
                        2 * self.fake.settings.freeze_timeout)

    def test_slow_agent_is_waited_for(self):
        self.agent.slow['fsFreeze'] = 5.0
        result = self.take(quiesce='require')
        self.assertEqual(consistency_model.FROZEN, result.consistency)
        self.assert_all_or_nothing()

    def test_agent_that_freezes_after_the_wait_is_thawed(self):
        self.agent.slow['fsFreeze'] = LONG
        before = self.state()

        result = self.take(quiesce='want')

        self.fake.clock.sleep(10 * LONG)
        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assert_guest_untouched(before)

    def test_agent_that_freezes_too_late_where_it_is_required(self):
        self.agent.slow['fsFreeze'] = LONG
        before = self.state()

        self.assertRaises(errors.QuiesceFailed, self.take,
                          quiesce='require')

        self.fake.clock.sleep(10 * LONG)
        self.assert_nothing_left(before)

    def test_other_clients_freeze_is_not_thawed(self):
        frozen_by_another_client(self.agent)
        process = self.fake.process()
        self.take(process, quiesce='want')
        self.assertTrue(self.agent.frozen)
        self.assertNotIn('fsThaw', process.calls.names())


@ddt.ddt
class ThawTestCase(QuiesceTestCase):

    @ddt.data(1, 2, freeze_step.THAW_ATTEMPTS - 1)
    def test_it_fails_and_is_asked_again(self, times):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('fsThaw', times)

        result = self.take(process, quiesce='require')

        self.assertEqual(consistency_model.FROZEN, result.consistency)
        self.assert_guest_untouched(before)
        self.assertEqual([], self.records())

    def test_it_fails_too_often_and_works_at_the_end(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('fsThaw', freeze_step.THAW_ATTEMPTS + 1)

        self.assertRaises(errors.UndoFailed, self.take, process,
                          quiesce='require')

        self.assert_nothing_left(before)

    def test_it_never_works(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('fsThaw', None)

        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  process, quiesce='require')

        self.assertIn('FreezeFilesystems', str(error))
        self.assertTrue(self.agent.frozen)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(before)

    def test_it_is_thawed_when_the_freeze_failed_after_its_effect(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('fsFreeze', when=flow_scene.When.AFTER)

        result = self.take(process, quiesce='want')

        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assert_guest_untouched(before)

    def test_it_is_thawed_when_the_abort_failed(self):
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('blockJobAbort')

        self.assertRaises(errors.HypervisorError, self.take, process,
                          quiesce='require')

        self.assert_nothing_left(before)

    def test_it_is_thawed_before_anything_else_is_done(self):
        process = self.fake.process()
        self.take(process, quiesce='require')
        done = process.calls.changes()
        abort = done.index('libvirt blockJobAbort vda ASYNC')
        self.assertEqual('libvirt fsThaw', done[abort + 2])

    @ddt.data('rebase', 'backup')
    def test_waits_are_unbounded_again_when_it_was_switched_off(self, method):
        # libvirt keeps the time-out until the next start, and beyond.
        self.fake.set(live_method=method)
        before = self.state()
        process = self.fake.process()
        process.calls.then('fsFreeze', self.fake.guest.destroy)
        self.assertRaises(errors.SnapError, self.take, process,
                          quiesce='require')
        self.fake.guest.create()
        self.assert_nothing_left(before)

    def test_guest_that_was_restarted_is_not_thawed(self):
        # A freeze does not survive the QEMU process it was in.
        process = self.fake.process()
        process.calls.then('fsFreeze', self.fake.hard_reboot_guest)

        self.assertRaises(errors.BlockJobLost, self.take, process,
                          quiesce='require')

        self.assertNotIn('fsThaw', process.calls.names())
        self.assertEqual([], self.records())

    def test_guest_that_was_restarted_is_not_frozen(self):
        process = self.fake.process()

        def reboot():
            self.fake.hard_reboot_guest()
            self.fake.guest.agent.channel = Channel.CONNECTED

        process.calls.then('getTime', reboot)

        self.assertRaises(errors.QuiesceFailed, self.take, process,
                          quiesce='require')

        self.assertNotIn('fsFreeze', process.calls.names())
        self.assertEqual([], self.records())


@ddt.ddt
class TimeOutTestCase(QuiesceTestCase):
    """libvirt waits for this agent as it did before, whatever happened."""

    @ddt.data(None, 'fsFreeze', 'blockJobAbort', 'fsThaw', 'getTime',
              'write BoundAgentWaits done',
              'journal write FreezeFilesystems intent')
    def test_it_is_put_back(self, failing):
        process = self.fake.process()
        if failing:
            process.calls.fail_named(failing)
        try:
            self.take(process, quiesce='require')
        except errors.SnapError:
            pass
        self.assertEqual(fake_agent.SET_TIME_OUT_BLOCK,
                         self.agent.timeout)

    def test_it_is_put_back_after_thaws_that_failed(self):
        process = self.fake.process()
        process.calls.fail_named('fsThaw', freeze_step.THAW_ATTEMPTS)
        self.assertRaises(errors.UndoFailed, self.take, process,
                          quiesce='require')
        self.assertEqual(fake_agent.SET_TIME_OUT_BLOCK,
                         self.agent.timeout)


@ddt.ddt
class AskedForTestCase(flow_scene.FlowTestCase):
    """The image of Nova's says what is wanted."""

    def node(self, channel=Channel.CONNECTED, **properties):
        self.fake = self.make_node(fake_node.GuestSpec(
            nova=True, agent=channel, properties=properties))
        self.fake.guest.create()

    def test_image_wants_it(self):
        self.node(hw_qemu_guest_agent='True')
        self.assertEqual(consistency_model.FROZEN, self.take().consistency)

    def test_image_requires_it(self):
        self.node(hw_qemu_guest_agent='True', os_require_quiesce='True')
        refuses(self.fake.guest.agent)
        before = self.state()
        self.assertRaises(errors.QuiesceFailed, self.take)
        self.assert_nothing_left(before)

    def test_image_does_not_want_it(self):
        self.node()
        process = self.fake.process()
        self.take(process)
        self.assertNotIn('fsFreeze', process.calls.names())

    @ddt.data(Channel.ABSENT, Channel.DISCONNECTED)
    def test_wanted_without_an_agent(self, channel):
        self.node(channel, hw_qemu_guest_agent='True')
        result = self.take()
        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)

    @ddt.data(Channel.ABSENT, Channel.DISCONNECTED)
    def test_required_without_an_agent_it_is_refused(self, channel):
        self.node(channel, os_require_quiesce='True')
        before = self.state()
        process = self.fake.process()

        error = self.assertRaises(errors.Unsupported, self.take, process)

        self.assertIn('agent', str(error))
        self.assertEqual([], process.calls.changes())
        self.assert_nothing_left(before)

    def test_required_of_a_paused_guest_it_is_refused(self):
        self.node(hw_qemu_guest_agent='True', os_require_quiesce='True')
        self.fake.guest.suspend()
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn('paused', str(error))
        self.assert_nothing_left(dataclasses.replace(before))
