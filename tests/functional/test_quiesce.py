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

"""The guest agent: frozen, not frozen, and every way in which it fails."""

import time
import typing as ty

import ddt
import libvirt

from nova_snap import errors
from tests.functional import agent
from tests.functional import base
from tests.functional import watch
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain
from tests.lab import proof

# Seconds. Shorter than an agent's own and libvirt's patience (5 seconds for
# the first word, for ever for the rest), so that it is seen to count.
FREEZE_TIMEOUT = 2
LIBVIRT_PATIENCE = 5
# A freeze that takes longer than we wait, and happens all the same.
SLOW_FREEZE = 2 * FREEZE_TIMEOUT
SLOW_HOOK = f"""\
#!/bin/sh
echo "GUEST fsfreeze $1" >/dev/ttyS0
[ "$1" != freeze ] || sleep {SLOW_FREEZE}
"""
# Seconds that a guest stands still, and how well its clock is set again.
STANDSTILL = 4
CLOCK_TOLERANCE = 2

CONSISTENCY = 'nova_snap_consistency'


@ddt.ddt
class QuiesceTest(base.FunctionalTest):

    def setUp(self) -> None:
        super().setUp()
        self.options['nova_snap']['freeze_timeout'] = str(FREEZE_TIMEOUT)

    def _agent_guest(self, word: str) -> guest_domain.Guest:
        """Share a guest whose agent does what the lab's word says."""
        return self.guest(shared=True, agent=word)

    def _freezes(self, guest: guest_domain.Guest, since: int) -> list[str]:
        """Return what the guest's hook was called with."""
        lines = guest.console()[since:].splitlines()
        return [line.split()[2] for line in lines
                if line.startswith('GUEST fsfreeze ')]

    def test_frozen_guest(self):
        """Its image mounts without a journal replay; it runs on."""
        self.options['nova_snap']['freeze_timeout'] = '60'
        guest = self._agent_guest('run')
        seen, since = base.look(guest), len(guest.console())
        instant = watch.Instant(guest)
        timeouts: list[int | None] = []
        result = self.take(guest, base.Hooks({
            'block_device.abort': instant,
            'domain.set_agent_timeout': _recorder(timeouts)}),
            quiesce='require')
        self.assertEqual('frozen', result.consistency)
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left(result.images[0].image_id)
        self.assertEqual(['freeze', 'thaw'], self._freezes(guest, since))
        self.assertIsNone(timeouts[-1])
        self.assertEqual(
            'frozen', self.image(result.images[0].image_id)[CONSISTENCY])
        path = self.download(result.images[0].image_id)
        instant.check(path, 'qcow2')
        self.assertTrue(proof.ext4_is_clean(path, 'qcow2'))
        guest_copy.assert_boots(
            self.lab.libvirtd, path, 'qcow2', recovered=False
        )

    def test_guest_that_is_not_to_be_frozen(self):
        """The same look at the image is able to say no."""
        guest = self._agent_guest('run')
        since = len(guest.console())
        result = self.take(guest)
        self.assertEqual([], self._freezes(guest, since))
        self.assertEqual(
            'none', self.image(result.images[0].image_id)[CONSISTENCY])
        path = self.download(result.images[0].image_id)
        self.assertFalse(proof.ext4_is_clean(path, 'qcow2'))

    def test_clock_after_a_cold_snapshot(self):
        """The guest was away; the agent tells it how long."""
        self.options['nova_snap']['freeze_timeout'] = '60'
        guest = self._agent_guest('run')
        # What the agent sets the clock with, at its place in every system.
        agent.execute(guest, '/bin/ln', '-sf', '/bin/busybox',
                      '/sbin/hwclock')
        before = guest.domain.getTime()['seconds'] - time.time()
        self.take(guest, base.Hooks({'qemu_img.convert': _stand_still}),
                  cold=True)
        after = guest.domain.getTime()['seconds'] - time.time()
        self.assertLess(abs(before), CLOCK_TOLERANCE)
        self.assertLess(abs(after), CLOCK_TOLERANCE)

    @ddt.named_data(
        ('absent', 'absent', errors.Refused, 'no guest agent runs'),
        ('hung', 'hung', errors.QuiesceFailed, 'could not be frozen'),
        ('refusing', 'refuses', errors.QuiesceFailed, 'could not be frozen'),
        # What it says is passed on as far as it can be read.
        ('refusing in GB2312', 'mumbles', errors.QuiesceFailed, r'\xbe'))
    @ddt.unpack
    def test_required_of_an_agent_that_is(self, word: str,
                                          error: type[Exception],
                                          said: str) -> None:
        guest = self._agent_guest(word)
        seen = base.look(guest)
        exc = self.assertRaises(error, self.take, guest, quiesce='require')
        self.assertIn(said, str(exc))
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left()

    @ddt.named_data(('absent', 'absent'), ('hung', 'hung'),
                    ('refusing', 'refuses'), ('refusing in GB2312', 'mumbles'))
    def test_wanted_of_an_agent_that_is(self, word: str) -> None:
        guest = self._agent_guest(word)
        seen = base.look(guest)
        result = self.take(guest, quiesce='want')
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left(result.images[0].image_id)
        self.assertEqual('none', result.consistency)
        self.assertEqual(
            'none', self.image(result.images[0].image_id)[CONSISTENCY])

    def test_wait_for_a_hung_agent_ends_and_is_unbounded_again(self):
        guest = self._agent_guest('hung')
        waits: list[float] = []
        self.take(guest, base.Hooks({
            'domain.ask_agent_time': _stopwatch(waits)}), quiesce='want')
        self.assertLess(FREEZE_TIMEOUT * 0.9, waits[0])
        self.assertLess(waits[0], LIBVIRT_PATIENCE - 1)
        # What others ask of the agent waits as it did before.
        self.assertRaises(libvirt.libvirtError, _stopwatch(waits),
                          guest.domain.getTime)
        self.assertLess(LIBVIRT_PATIENCE * 0.9, waits[1])

    @ddt.data('want', 'require')
    def test_slow_agent_freezes_after_we_gave_up(self, quiesce: str) -> None:
        """It is thawed all the same."""
        guest = self._agent_guest('run')
        agent.execute(guest, '/bin/sh', '-c', 'cat >/etc/fsfreeze-hook',
                      stdin=SLOW_HOOK.encode())
        seen, since = base.look(guest), len(guest.console())
        if quiesce == 'require':
            self.assertRaises(errors.QuiesceFailed, self.take, guest,
                              quiesce=quiesce)
            self.assert_nothing_left()
        else:
            result = self.take(guest, quiesce=quiesce)
            self.assertEqual('none', result.consistency)
            self.assert_nothing_left(result.images[0].image_id)
        self.assert_guest_untouched(guest, seen)
        self.assertEqual('thaw', self._freezes(guest, since)[-1])
        self.assertIn('freeze', self._freezes(guest, since))


def _recorder(seen: list[ty.Any]) -> base.Hook:
    """Note the first argument of each call."""
    def hook(call: watch.Call, *args: ty.Any) -> ty.Any:
        seen.append(args[0])
        return call()
    return hook


def _stopwatch(seen: list[float]) -> base.Hook:
    """Note how long each call takes, also when it fails."""
    def hook(call: watch.Call, *args: ty.Any) -> ty.Any:
        started = time.monotonic()
        try:
            return call()
        finally:
            seen.append(time.monotonic() - started)
    return hook


def _stand_still(call: watch.Call, *args: ty.Any) -> ty.Any:
    """Make a call last."""
    time.sleep(STANDSTILL)
    return call()
