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

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import blockjob
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import domain as domain_model
from tests.unit import clock as unit_clock

DELTA = '/srv/snapshots/nova_snap-1/delta'


class Guest:
    """A domain whose mirror goes through the looks that a test gives it.

    :ivar looks: bytes copied, or what else is to be seen; the last one stays
    """

    uuid = 'an-instance'

    def __init__(self, *looks):
        self._looks = list(looks)

    def look(self):
        if len(self._looks) > 1:
            self._looks.pop(0)

    @property
    def _now(self):
        return self._looks[0]

    def is_active(self):
        return True

    def mirror(self, target_dev):
        assert target_dev == 'vda'
        if self._now == 'gone':
            return None
        path = '/somewhere/else' if self._now == 'foreign' else DELTA
        return domain_model.Mirror(path=path, format='qcow2', job='copy',
                             ready=self._now == 'ready')

    def block_job(self, target_dev):
        assert target_dev == 'vda'
        if not isinstance(self._now, int):
            return None
        return domain_module.BlockJob('copy', self._now, 100)


class Bell:
    """Rings as a test says; each wait is a look further."""

    def __init__(self, guest, clock, after):
        self._guest = guest
        self._clock = clock
        self._after = after
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self._clock.now += min(seconds, self._after)
        self._guest.look()


@ddt.ddt
class WaitReadyTestCase(base.BaseTestCase):

    def wait(self, *looks, ready=60, stall=30, after=1000):
        """Wait for a mirror and return what the progress was told."""
        clock = unit_clock.Clock()
        guest = Guest(*looks)
        self.bell = Bell(guest, clock, after)
        self.started = clock.now
        told = []
        try:
            blockjob.wait_ready(
                guest, 'vda', DELTA,
                deadlines=blockjob.Deadlines(ready=ready, stall=stall),
                clock=clock, bell=self.bell,
                progress=lambda done, total: told.append((done, total)))
        finally:
            self.took = clock.now - self.started
        return told

    @ddt.named_data(
        ['at once', ['ready'], []],
        ['after it has copied', [10, 50, 100, 'ready'],
         [(10, 100), (50, 100), (100, 100)]],
        # The cursors are equal before the mirror may be ended, and at the
        # start, where both are zero.
        ['not when the cursors meet', [0, 100, 100, 100, 'ready'],
         [(0, 100), (100, 100)]],
        ['though nobody counts', ['uncounted', 'uncounted', 'ready'], []],
    )
    def test_ready(self, looks, told):
        self.assertEqual(told, self.wait(*looks))

    @ddt.named_data(
        ['at once', ['gone']],
        ['in the middle', [10, 50, 'gone']],
        ['at its end, which is no success', [100, 'gone']],
        ['as another that went its place', [10, 'foreign']],
    )
    def test_lost(self, looks):
        error = self.assertRaises(errors.BlockJobLost, self.wait, *looks)
        self.assertIn('vda', str(error))
        self.assertIn('an-instance', str(error))
        self.assertIn(DELTA, str(error))

    @ddt.named_data(
        ['from the start', [0]],
        ['in the middle', [0, 10, 50]],
        ['when the cursors have met', [100]],
        ['and nobody counts', ['uncounted']],
    )
    def test_stands_still(self, looks):
        error = self.assertRaises(errors.MirrorTimeout, self.wait, *looks)
        self.assertIn('stall_timeout', str(error))
        self.assertIn('30 s', str(error))
        self.assertAlmostEqual(30, self.took, delta=1)

    def test_moves_and_is_late_all_the_same(self):
        looks = range(100_000)
        error = self.assertRaises(errors.MirrorTimeout, self.wait, *looks)
        self.assertIn('ready_timeout', str(error))
        self.assertIn('60 s', str(error))
        self.assertAlmostEqual(60, self.took, delta=1)

    def test_slow_is_not_still(self):
        # It moves once in 20 seconds, and may stand still for 30.
        looks = [step // 200 for step in range(200 * 5)] + ['ready']
        self.wait(*looks, ready=1000)
        self.assertAlmostEqual(100, self.took, delta=1)

    def test_the_bell_is_heard_at_once(self):
        self.wait(10, 20, 'ready', after=0)
        self.assertEqual(0, self.took)

    def test_without_a_bell_it_is_looked_at_all_the_same(self):
        self.wait(10, 20, 'ready')
        self.assertEqual([blockjob.POLL_SECONDS] * 2, self.bell.waits)
