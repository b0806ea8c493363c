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

"""Q4: a volume-backed guest is frozen for as long as Cinder takes.

Nova freezes it, asks for each snapshot, and thaws when all were asked for,
however long that takes; a nova-api that dies leaves it frozen.

:source: nova/compute/api.py snapshot_volume_backed; bugs 1731986, 1754360
"""

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import recovery
from tests.fakes import node as fake_node
from tests.fakes import refusal
from tests.flow import scene as flow_scene

# As FakeNode's settings have them.
LIMIT = 30
TIMEOUT = 60


@ddt.ddt
class FrozenTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.agent = self.fake.guest.agent
        self.frozen_at = []
        self.thawed_at = []
        self.agent._freeze = self.noting(self.agent._freeze, self.frozen_at)
        self.agent._thaw = self.noting(self.agent._thaw, self.thawed_at)

    def noting(self, act, times):
        def noted():
            times.append(self.fake.clock.monotonic())
            act()
        return noted

    def longest(self):
        [began] = self.frozen_at
        return self.thawed_at[0] - began

    def test_in_time_it_is_one_moment(self):
        result = self.take(quiesce='want')
        self.assertEqual('frozen', result.consistency)
        self.assertEqual('frozen', result.file_systems)
        self.assert_all_or_nothing()
        self.assert_guest_untouched(self.before)

    @ddt.data('create_seconds', 'ask_seconds')
    def test_cinder_takes_too_long_and_it_is_required(self, what):
        setattr(self.fake.cinder, what, LIMIT + 10)
        error = self.assertRaises(errors.QuiesceFailed, self.take,
                                  quiesce='require')
        self.assertIn('quiesce_limit', str(error))
        self.assertLessEqual(self.longest(), LIMIT + 10
                             if what == 'ask_seconds' else LIMIT)
        self.assert_nothing_left(self.before)
        self.assertEqual({}, self.fake.cinder.snapshots)

    def test_cinder_takes_too_long_and_it_is_only_wanted(self):
        self.fake.cinder.create_seconds = LIMIT + 10
        result = self.take(quiesce='want')
        self.assertEqual('none', result.consistency)
        self.assertEqual('as after a power cut', result.file_systems)
        self.assertEqual(LIMIT, self.longest())
        self.assert_all_or_nothing()
        self.assert_guest_untouched(self.before)

    def test_cinder_never_ends(self):
        self.fake.cinder.create_seconds = None
        self.assertRaises(errors.RollbackIncomplete, self.take,
                          quiesce='want')
        self.assertEqual(LIMIT, self.longest())
        self.assert_guest_untouched(self.before)

    def test_the_freeze_itself_takes_longer_than_it_may_last(self):
        self.fake.set(quiesce_limit=3)
        self.agent.slow['fsFreeze'] = 5
        result = self.take(quiesce='want')
        self.assertEqual('none', result.consistency)
        self.assert_all_or_nothing()
        self.assert_guest_untouched(self.before)
        error = self.assertRaises(
            errors.QuiesceFailed, self.take, quiesce='require',
            image_id=flow_scene.IMAGE.replace('1', '2'))
        self.assertIn('quiesce_limit', str(error))
        self.assert_guest_untouched(self.before)

    def test_thawed_before_anything_is_deleted(self):
        self.fake.cinder.fails.add(fake_node.volume_id(1))
        process = self.fake.process()
        self.assertRaises(errors.VolumeSnapshotFailed, self.take, process,
                          quiesce='require')
        done = process.calls.changes()
        self.assertLess(done.index('libvirt fsThaw'), next(
            number for number, what in enumerate(done)
            if what.startswith('cinder delete_snapshot')))

    def test_killed_it_is_thawed_by_the_next_process(self):
        self.die(f'cinder create_snapshot {fake_node.volume_id(0)}',
                 quiesce='require')
        self.assertTrue(self.agent.frozen)
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)
        self.assertEqual({}, self.fake.cinder.snapshots)

    def test_a_slow_thaw_makes_nothing_of_it_untrue(self):
        self.fake.cinder.create_seconds = LIMIT - 5
        self.agent.slow['fsThaw'] = 8
        result = self.take(quiesce='require')
        self.assertEqual('frozen', result.consistency)
        self.assert_all_or_nothing()
        self.assert_guest_untouched(self.before)

    def test_a_freeze_that_failed_rings_no_alarm(self):
        self.agent.refuses.add('fsFreeze')
        self.fake.cinder.create_seconds = LIMIT + 10
        process = self.fake.process()
        self.assertEqual('none',
                         self.take(process, quiesce='want').consistency)
        # Once, because the freeze may have been done all the same.
        self.assertEqual(1, process.calls.changes().count('libvirt fsThaw'))

    def test_the_clock_runs_from_the_freeze_not_before(self):
        self.agent.slow['getTime'] = 5
        self.fake.cinder.create_seconds = LIMIT - 3
        self.assertEqual('frozen', self.take(quiesce='require').consistency)


@ddt.ddt
class ThawedInBetweenTestCase(flow_scene.FlowTestCase):
    """A guest that writes in the middle of it was not frozen."""

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def take_in_between(self, what, **asked):
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.then(
            f'cinder create_snapshot {fake_node.volume_id(0)}',
            getattr(self, what))
        return self.take(process, **asked)

    def restart(self):
        self.fake.guest.destroy()
        self.fake.guest.create()

    def thaw(self):
        self.fake.guest.agent.frozen = False

    def thaw_as_windows(self):
        """Thaw by itself, and say so when it is asked to."""
        agent = self.fake.guest.agent
        thaw = agent.thaw
        self.thaw()

        def refuse():
            agent.thaw = thaw
            raise refusal.refusal(
                libvirt.VIR_ERR_INTERNAL_ERROR, "couldn't hold writes: "
                'fsfreeze is limited up to 10 seconds')

        agent.thaw = refuse

    @ddt.data('restart', 'thaw', 'thaw_as_windows')
    def test_it_is_required(self, what):
        error = self.assertRaises(errors.QuiesceFailed, self.take_in_between,
                                  what, quiesce='require')
        self.assertIn('not frozen any more', str(error))
        self.assertEqual({}, self.fake.cinder.snapshots)
        self.assertEqual([], self.records())

    @ddt.data('restart', 'thaw', 'thaw_as_windows')
    def test_it_is_only_wanted(self, what):
        result = self.take_in_between(what, quiesce='want')
        self.assertEqual('none', result.consistency)
        self.assert_all_or_nothing()
