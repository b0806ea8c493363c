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

"""Upstream lets libvirt wait for the end of a mirror, while a guest is frozen.

A ready mirror writes what is left and flushes it before it ends. Where the
storage of the delta hangs that takes for ever, and what fails then is called
a success.

:source: nova/virt/libvirt/driver.py _live_snapshot (dev.abort_job)
"""

import dataclasses

import libvirt

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.hypervisor import blockjob
from tests.flow import scene as flow_scene


class AbortTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.life = self.fake.guest.mirror_life
        self.process = self.fake.process()
        self.times = {}
        for call in ('blockJobAbort', 'fsFreeze', 'fsThaw', 'convert'):
            self.process.calls.then(call, lambda call=call: (
                self.times.setdefault(call, self.fake.clock.monotonic())))

    def end_hanging(self):
        """Let the storage that hangs do what it was asked."""
        for mirror in self.fake.guest.mirrors.values():
            mirror.life.ends_after = 0


class HangsTestCase(AbortTestCase):
    """The storage of the delta does not answer any more."""

    def setUp(self):
        super().setUp()
        self.life.ends_after = None

    def fail(self, **asked):
        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  self.process, **asked)
        self.assertIsInstance(error.__cause__, errors.MirrorTimeout)
        self.assertIn('hang', str(error))
        self.assertNotIn('convert', self.times)

    def assert_recovered(self):
        # It cannot be ended, and the record says so.
        self.assertEqual(['vda'], list(self.fake.guest.mirrors))
        self.assertEqual([recovery.Outcome.FAILED], self.outcomes())
        self.end_hanging()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_a_frozen_guest_is_thawed_in_time(self):
        self.fail(quiesce='require')
        frozen = self.times['fsThaw'] - self.times['fsFreeze']
        self.assertAlmostEqual(blockjob.ABORT_SECONDS, frozen, delta=1)
        self.assertFalse(self.fake.guest.agent.frozen)
        self.assert_recovered()

    def test_one_that_is_not_frozen_can_wait_longer(self):
        self.fake.set(stall_timeout=50)
        self.process = self.fake.process()
        started = self.fake.clock.monotonic()
        self.fail()
        seconds = self.fake.clock.monotonic() - started
        # Once more by the undo, and once more at the end.
        self.assertAlmostEqual(50 + 2 * blockjob.ABORT_SECONDS, seconds,
                               delta=2)
        self.assert_recovered()

    def test_it_ends_while_it_is_undone(self):
        self.fake.clock.after(1.5 * blockjob.ABORT_SECONDS,
                              self.end_hanging)
        self.assertRaises(errors.MirrorTimeout, self.take, self.process,
                          quiesce='require')
        self.assert_nothing_left(self.before)

    def test_we_die_and_it_ends_by_itself(self):
        self.die('blockJobAbort', quiesce='require')
        self.end_hanging()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_the_guest_is_switched_off_in_between(self):
        # Its mirror is gone then, and did not end.
        self.fake.clock.after(5, self.fake.power_off_guest)
        error = self.assertRaises(errors.BlockJobLost, self.take,
                                  self.process)
        self.assertIn('switched off', str(error))
        self.assert_nothing_left(dataclasses.replace(
            self.before, is_active=False, now=libvirt.VIR_DOMAIN_SHUTOFF))

    def test_the_guest_is_restarted_in_between(self):
        self.fake.clock.after(5, self.fake.hard_reboot_guest)
        self.assertRaises(errors.BlockJobLost, self.take, self.process,
                          quiesce='require')
        self.assertNotIn('convert', self.times)
        self.assertEqual({}, self.fake.glance.stored)


class FailsTestCase(AbortTestCase):

    def test_what_fails_at_the_end_is_no_success(self):
        self.life.fails_at_end = 'No space left on device'
        error = self.assertRaises(errors.BlockJobLost, self.take,
                                  self.process, quiesce='require')
        self.assertIn('No space left on device', str(error))
        self.assertNotIn('convert', self.times)
        self.assert_nothing_left(self.before)

    def test_an_end_that_no_event_told_is_no_success(self):
        self.process.calls.then('blockJobAbort',
                                self.fake.libvirtd.listeners.clear)
        error = self.assertRaises(errors.BlockJobLost, self.take,
                                  self.process, quiesce='require')
        self.assertIn('no event told how it ended', str(error))
        self.assertNotIn('convert', self.times)
        self.assert_nothing_left(self.before)

    def test_the_guest_is_thawed_before_anybody_asks(self):
        # An event may be late.
        self.fake.libvirtd.event_delay = 1.5
        self.take(self.process, quiesce='require')
        self.assertLess(self.times['fsThaw'] - self.times['fsFreeze'], 1)
        self.assertLess(1, self.times['convert'] - self.times['fsThaw'])
        self.assert_guest_untouched(self.before)

    def test_after_a_restart_of_libvirtd_it_is_heard_all_the_same(self):
        self.process.calls.then('blockJobAbort', self.fake.libvirtd.restart)
        self.life.fails_at_end = 'No space left on device'
        error = self.assertRaises(errors.BlockJobLost, self.take,
                                  self.process, quiesce='require')
        self.assertIn('No space left on device', str(error))
        self.assert_nothing_left(self.before)

    def test_the_moment_is_within_the_freeze(self):
        self.life.ends_after = 20
        self.take(self.process, quiesce='require')
        (moment,) = self.fake.libvirtd.moments
        self.assertTrue(moment.frozen)
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()

    def test_what_the_guest_writes_until_the_end_is_in_the_image(self):
        self.life.ends_after = 20
        self.take(self.process)
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        self.assert_guest_untouched(self.before)
