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


import re

import ddt
import libvirt
from lxml import etree
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import blockjob
from tests.unit import clock as unit_clock
from tests.unit import data
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

DELTA = '/srv/snapshots/nova_snap-1/delta'
DOMAIN = ("<domain><devices><disk><target dev='vda'/>{}</disk></devices>"
          '</domain>')
MIRROR = "<mirror job='copy'{ready}><source file='{path}'/></mirror>"


class Guest:
    """A connection to a guest whose mirror goes as a test says.

    :ivar looks: bytes copied, or what else is to be seen; each wait is a
        look further, and the last one stays. Or a function that tells it of
        the seconds that have passed
    :ivar end: bytes to be copied
    :ivar waits: seconds of each wait
    """

    def __init__(self, *looks, news_after, end=100):
        self.clock = unit_clock.Clock()
        self.waits = []
        self._started = self.clock.now
        self._looks = list(looks)
        self._end = end
        self._news_after = news_after

    def wait(self, seconds):
        self.waits.append(seconds)
        self.clock.now += min(seconds, self._news_after)
        if len(self._looks) > 1:
            self._looks.pop(0)

    @property
    def _now(self):
        now = self._looks[0]
        return now(self.clock.now - self._started) if callable(now) else now

    def call(self, uuid, call, *args):
        assert uuid == 'an-instance'
        return {'XMLDesc': self._xml, 'blockJobInfo': self._info,
                'isActive': lambda: 1}[call](*args)

    def _xml(self, _flags):
        return DOMAIN.format('' if self._now == 'gone' else MIRROR.format(
            ready=" ready='yes'" if self._now == 'ready' else '',
            path='/another' if self._now == 'foreign' else DELTA))

    def _info(self, target_dev, _flags):
        assert target_dev == 'vda'
        if not isinstance(self._now, int):
            return {}
        return {'type': libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY,
                'cur': self._now, 'end': self._end}


class DeviceTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.handle = fake_connection.make_domain()
        self.host = fake_connection.make_host(
            fake_connection.make_connection(self.handle))
        self.device = self.host.domain(
            fake_connection.UUID).block_device('vda')


@ddt.ddt
class CallsTestCase(DeviceTestCase):
    """The calls of libvirt that we make, with each of their flags."""

    def test_a_mirror_of_the_active_layer_in_bytes_per_second(self):
        self.device.rebase_to_copy('/srv/delta', 7)
        self.handle.blockRebase.assert_called_once_with(
            'vda', '/srv/delta', 7,
            libvirt.VIR_DOMAIN_BLOCK_REBASE_COPY
            | libvirt.VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT
            | libvirt.VIR_DOMAIN_BLOCK_REBASE_SHALLOW
            | libvirt.VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES)

    @ddt.named_data(
        ['without a limit', 0, {}],
        ['at a rate', 7, {libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH: 7}],
    )
    def test_a_mirror_of_a_domain_that_stays_defined(self, rate, parameters):
        self.device.copy_transient('/srv/delta', rate)
        [[target, xml, given, flags], _] = self.handle.blockCopy.call_args
        self.assertEqual(('vda', parameters), (target, given))
        disk = etree.fromstring(xml)
        self.assertEqual(('/srv/delta', 'qcow2'),
                         (disk.find('source').get('file'),
                          disk.find('driver').get('type')))
        self.assertEqual(
            libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
            | libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
            | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB, flags)

    @ddt.named_data(
        ['none', {}, None],
        ['none, in another way', None, None],
        ['a copy', {'type': libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY,
                    'bandwidth': 0, 'cur': 5, 'end': 10},
         blockjob.BlockJob('copy', 5, 10)],
        ['one that has no word', {'type': 99, 'cur': 0, 'end': 0},
         blockjob.BlockJob('block job', 0, 0)],
    )
    def test_the_job_of_its_disk_is(self, info, job):
        self.handle.blockJobInfo.return_value = info
        self.assertEqual(job, self.device.job())

    @ddt.named_data(
        ['what its XML says', 'vda', True],
        ['not of a disk that is not there', 'vdz', False],
    )
    def test_the_mirror_is(self, target_dev, there):
        self.handle.XMLDesc.return_value = data.xml('mirror-ready.live')
        mirror = self.host.domain(
            fake_connection.UUID).block_device(target_dev).mirror()
        self.assertEqual(there, mirror is not None and mirror.ready)

    @ddt.data('mirror', 'job', 'abort')
    def test_a_domain_that_is_gone_is_an_error_of_ours(self, method):
        self.host.connection.get().lookupByUUIDString.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_NO_DOMAIN))
        error = self.assertRaises(errors.DomainGone,
                                  getattr(self.device, method))
        self.assertIn(fake_connection.UUID, str(error))


@ddt.ddt
class LostTestCase(DeviceTestCase):

    @ddt.named_data(
        ['of a guest that runs', 1, 'was it aborted?'],
        ['of one that is off', 0, 'switched off'],
    )
    def test_the_reason_is(self, active, reason):
        self.handle.isActive.return_value = active
        error = self.device.lost('was it aborted?')
        self.assertIn(reason, str(error))
        self.assertIn('vda', str(error))
        self.assertIn(fake_connection.UUID, str(error))


@ddt.ddt
class WaitReadyTestCase(base.BaseTestCase):

    def wait(self, *looks, ready=60, stall=30, after=1000, end=100):
        """Wait for a mirror and return what the progress was told."""
        guest = Guest(*looks, news_after=after, end=end)
        self.waits = guest.waits
        started = guest.clock.now
        told = []
        try:
            blockjob.BlockDevice(guest, 'an-instance', 'vda').wait_ready(
                DELTA, blockjob.Deadlines(ready=ready, stall=stall),
                wait=guest.wait,
                progress=lambda done, total: told.append((done, total)))
        finally:
            self.took = guest.clock.now - started
        return told

    @ddt.named_data(
        ['at once', ['ready'], []],
        ['after it has copied', [10, 50, 100, 'ready'],
         [(10, 100), (50, 100), (100, 100)]],
        # The cursors are equal before the mirror may be ended, and at the
        # start, where both are zero.
        ['not when the cursors meet', [0, 100, 100, 100, 'ready'],
         [(0, 100), (100, 100)]],
        ['though nothing counts', ['uncounted', 'uncounted', 'ready'], []],
    )
    def test_it_is_ready(self, looks, told):
        self.assertEqual(told, self.wait(*looks))

    @ddt.named_data(
        ['at once', ['gone']],
        ['in the middle', [10, 50, 'gone']],
        ['at its end, which is no success', [100, 'gone']],
        ['as another that went its place', [10, 'foreign']],
    )
    def test_a_job_that_is_gone_is_lost(self, looks):
        error = self.assertRaises(errors.BlockJobLost, self.wait, *looks)
        self.assertIn('vda', str(error))
        self.assertIn('an-instance', str(error))
        self.assertIn(DELTA, str(error))

    @ddt.named_data(
        ['from the start', [0]],
        ['in the middle', [0, 10, 50]],
        ['when the cursors have met', [100]],
        ['and nothing counts', ['uncounted']],
    )
    def test_stands_still(self, looks):
        error = self.assertRaises(errors.MirrorTimeout, self.wait, *looks)
        self.assertIn('stall_timeout', str(error))
        self.assertIn('30 s', str(error))
        # It may have moved at first, and is looked at once a second.
        self.assertTrue(30 < self.took < 31.5, self.took)

    def test_moves_and_is_late_all_the_same(self):
        looks = range(100_000)
        error = self.assertRaises(errors.MirrorTimeout, self.wait, *looks)
        self.assertIn('ready_timeout', str(error))
        self.assertIn('60 s', str(error))
        self.assertAlmostEqual(60, self.took, delta=1)

    def test_slow_is_not_still(self):
        # It moves once in 20 seconds, and may stand still for 30.
        self.wait(lambda seconds: int(seconds) // 20 if seconds < 100
                  else 'ready', ready=1000)
        self.assertAlmostEqual(100, self.took, delta=1)

    def test_the_bell_is_heard_at_once(self):
        self.wait(10, 20, 'ready', after=0)
        self.assertEqual(0, self.took)

    def test_without_a_bell_it_is_looked_at_all_the_same(self):
        self.wait(10, 20, 'ready')
        self.assertEqual(2, len(self.waits))

    def test_far_from_ready_it_is_looked_at_less_and_less(self):
        self.wait(1, 2, 3, 4, 5, 6, 'ready')
        self.assertEqual([0.1, 0.2, 0.4, 0.8, 1, 1], self.waits)

    def test_a_copy_of_an_hour(self):
        # It gets on evenly, and is ready as soon as the cursors have met.
        end = 10**9
        told = self.wait(
            lambda seconds: int(seconds * end / 3600) if seconds < 3600
            else 'ready', ready=10_000, end=end)
        # Once a second, and at the end ten times.
        self.assertAlmostEqual(3600, len(told), delta=60)
        self.assertAlmostEqual(3600, self.took, delta=0.1)
        self.assertEqual({1}, set(self.waits[10:3500]))
        self.assertEqual({0.1}, set(self.waits[-20:]))

    def test_it_is_near_as_long_as_a_guest_writes_as_fast_as_it_copies(self):
        self.wait(*[99] * 50, 'ready', stall=60)
        self.assertEqual({0.1}, set(self.waits))

    def test_where_it_only_looks_for_what_to_copy_it_is_not_near(self):
        self.wait(*[0] * 10, 'ready', end=0)
        self.assertEqual(1, self.waits[-1])


class AbortTestCase(DeviceTestCase):
    """The end of a mirror: libvirt is not left to wait for it."""

    NONE = data.xml('chain-of-three.live')
    ENDING = data.xml('mirror-aborting.live')
    READY = data.xml('mirror-ready.live')

    def setUp(self):
        super().setUp()
        self.clock = self.host.connection.clock
        self.handle.blockJobAbort.return_value = 0

    def see(self, *looks):
        """Let libvirt show this, one a look; the last one stays."""
        left = list(looks)
        self.handle.XMLDesc.side_effect = lambda flags: (
            left.pop(0) if len(left) > 1 else left[0])

    def test_it_is_told_without_a_pivot_and_waited_for(self):
        self.see(self.ENDING, self.ENDING, self.NONE)
        self.device.abort()
        self.handle.blockJobAbort.assert_called_once_with(
            'vda', libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC)
        self.assertEqual(2, len(self.clock.slept))

    def test_without_an_address_it_is_still_there(self):
        self.see(re.sub('<mirror .*?</mirror>', "<mirror type='file' job=''/>",
                        self.ENDING, flags=re.S), self.NONE)
        self.device.abort()
        self.assertEqual(1, len(self.clock.slept))

    def test_the_wait_has_an_end(self):
        self.see(self.ENDING)
        error = self.assertRaises(
            errors.MirrorTimeout, self.device.abort, timeout=7)
        self.assertIn('7 s', str(error))
        self.assertAlmostEqual(7, sum(self.clock.slept), delta=1)

    def test_other_client_may_end_the_wait(self):
        self.see(self.ENDING, self.NONE)
        waits = []
        self.device.abort(wait=waits.append)
        self.assertEqual(([blockjob.FIRST_ABORT_LOOK_SECONDS], []),
                         (waits, self.clock.slept))

    def test_told_before_it_is_waited_for_all_the_same(self):
        self.handle.blockJobAbort.side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_OPERATION_INVALID)
        self.see(self.ENDING, self.ENDING, self.NONE)
        self.device.abort()

    def test_refused_it_is_not_waited_for(self):
        self.handle.blockJobAbort.side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_OPERATION_INVALID)
        for look in (self.READY, self.NONE):
            self.see(look)
            self.assertRaises(errors.HypervisorError,
                              self.device.abort)
        self.assertEqual([], self.clock.slept)
