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

"""The command is killed in the middle of an act, and much happens after it.

Kills between any two acts are cases of tools/faults.
"""

import shutil

import ddt

from nova_snap import units
from tests.functional import base
from tests.functional import kills
from tests.lab.guest import domain as guest_domain

LIVE = ('image-create', '{}', 'killed', '--quiesce', 'require')
COLD = ('image-create', '{}', 'killed', '--cold')

# The last event before a kill, by what the guest suffers there.
UNDEFINED = 'write UndefineDomain done'
UNDEFINED_WITH_MIRROR = 'libvirt blockRebase'
MIRROR = 'write UndefineDomain undone'
FROZEN = 'libvirt fsFreeze'
ENDED_AND_FROZEN = 'libvirt blockJobAbort'
SAVED = 'libvirt managedSave'
COMMITTED = 'write committed'

# Bytes per second at which a phase lasts long enough to die in it, and longer
# than a child of the dead may live.
SLOWLY = units.MiB
# The same, and the mirror before it still catches up with the guest.
QUICKER = 32 * units.MiB


def is_saved(guest: guest_domain.Guest) -> bool:
    return not guest.domain.isActive() and bool(
        guest.domain.hasManagedSaveImage())


class LiveKillsTestCase(kills.KillTest):
    """The live flow as it is by default, with file systems frozen."""

    def setUp(self):
        super().setUp()
        self.running = self.agent_guest()
        self.running.domain.setAutostart(1)
        self.arguments = self.image_create(self.running, LIVE)

    def test_killed_in_the_middle_of_the_mirror(self):
        self.limit(SLOWLY)
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='progress:mirror')
        self.assertEqual(MIRROR, ended.events[-1])

    def test_killed_in_the_middle_of_the_conversion(self):
        self.limit(QUICKER)
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='progress:convert')
        self.assertEqual('QemuImg.convert', ended.events[-1])

    def test_killed_in_the_middle_of_the_upload(self):
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='progress:upload')
        self.assertEqual('Images.upload', ended.events[-1])

    def test_killed_while_the_agent_freezes(self):
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='call:fsFreeze')
        self.assertEqual(FROZEN, ended.events[-1])


@ddt.ddt
class LiveAftermathTestCase(kills.KillTest):
    """What may happen between a kill in the live flow and its recovery."""

    def setUp(self):
        super().setUp()
        self.running = self.agent_guest()
        self.arguments = self.image_create(self.running, LIVE)
        self.events = self.dry_pass(*self.arguments)

    def killed(self, after):
        """Kill the command when an event is done."""
        self.kill(*self.arguments, before=self.events.index(after) + 1)
        self.assertEqual(['left'], [f['outcome'] for f in self.left()])

    @ddt.data(UNDEFINED, UNDEFINED_WITH_MIRROR, MIRROR, FROZEN)
    def test_libvirtd_was_restarted(self, after):
        before = base.look(self.running)
        self.killed(after)
        self.lab.libvirtd.restart()
        self.recover('settled')
        self.assert_whole(self.running, before, committed=False)

    @ddt.data(UNDEFINED_WITH_MIRROR, ENDED_AND_FROZEN)
    def test_the_next_snapshot_settles(self, after):
        before = base.look(self.running)
        self.killed(after)
        self.assertEqual(0, self.child(*self.arguments).code)
        self.assert_whole(self.running, before, committed=True)

    def test_the_next_snapshot_finishes_a_committed_one(self):
        before = base.look(self.running)
        self.killed(COMMITTED)
        (first,) = set(self.images()) - self._images_before
        self.assertEqual(0, self.child(*self.arguments).code)
        self.assertEqual('active', self.image(first)['status'])
        self.delete_image(first)
        self.assert_whole(self.running, before, committed=True)

    @ddt.data(UNDEFINED, FROZEN)
    def test_the_guest_was_deleted(self, after):
        self.killed(after)
        self.running.destroy()
        self.running.undefine()
        shutil.rmtree(self.running.folder)
        self.recover('settled')
        self.assert_undefined(self.running)
        self.assert_nothing_left()

    @ddt.data(UNDEFINED_WITH_MIRROR, FROZEN)
    def test_the_guest_was_hard_rebooted(self, after):
        self.killed(after)
        self.hard_reboot(self.running)
        before = base.look(self.running)
        self.recover('settled')
        self.assert_whole(self.running, before, committed=False)

    @ddt.data(UNDEFINED, UNDEFINED_WITH_MIRROR, FROZEN)
    def test_the_guest_was_powered_off(self, after):
        before = base.look(self.running)
        self.killed(after)
        self.running.destroy()
        self.recover('settled')
        self.assert_off(self.running)
        self.assert_nothing_left()
        self.assertEqual(before.definition, base.look(self.running).definition)
        self.power_cycle(self.running)


class ColdKillsTestCase(kills.KillTest):
    """The cold flow of a running guest."""

    COLD = True

    def setUp(self):
        super().setUp()
        self.running = self.agent_guest()
        self.arguments = self.image_create(self.running, COLD)

    def test_killed_while_the_guest_is_saved(self):
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='call:managedSave')
        self.assertEqual(SAVED, ended.events[-1])

    def test_killed_in_the_middle_of_the_conversion(self):
        self.limit(SLOWLY)
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='progress:convert')
        self.assertEqual('QemuImg.convert', ended.events[-1])

    def test_killed_while_the_guest_is_restored(self):
        ended = self.kill_and_recover(self.running, *self.arguments,
                                      inside='call:createWithFlags')
        self.assertEqual('libvirt createWithFlags', ended.events[-1])


class ColdAftermathTestCase(kills.KillTest):
    """What may happen while a guest lies saved and is not recovered."""

    COLD = True

    def setUp(self):
        super().setUp()
        self.saved = self.guest(shared=True)
        self.before = base.look(self.saved)
        self.arguments = self.image_create(self.saved, COLD)
        events = self.dry_pass(*self.arguments)
        self.kill(*self.arguments, before=events.index(SAVED) + 1)
        self.assertTrue(is_saved(self.saved))

    def test_libvirtd_was_restarted(self):
        self.lab.libvirtd.restart()
        self.recover('settled')
        self.assert_whole(self.saved, self.before, committed=False)

    def test_the_next_snapshot_settles(self):
        self.assertEqual(0, self.child(*self.arguments).code)
        self.assert_whole(self.saved, self.before, committed=True)

    def test_the_guest_was_started(self):
        self.saved.start()
        started = base.look(self.saved)
        self.recover('settled')
        self.assertEqual(started, base.look(self.saved))
        self.assert_whole(self.saved, self.before, committed=False)

    def test_the_guest_was_deleted(self):
        self.saved.undefine()
        shutil.rmtree(self.saved.folder)
        self.recover('settled')
        self.assert_undefined(self.saved)
        self.assert_nothing_left()

    def test_the_guest_was_hard_rebooted(self):
        self.hard_reboot(self.saved)
        before = base.look(self.saved)
        self.recover('settled')
        self.assert_whole(self.saved, before, committed=False)

    def test_the_guest_was_powered_off(self):
        self.saved.domain.managedSaveRemove()
        self.recover('settled')
        self.assert_off(self.saved)
        self.assert_nothing_left()
        self.power_cycle(self.saved)
