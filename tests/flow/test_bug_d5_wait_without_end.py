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

"""Upstream waits for a mirror as long as it takes, which may be for ever.

:source: nova/virt/libvirt/driver.py _live_snapshot
"""

from nova_snap import errors
from tests.flow import scene as flow_scene


class WaitTestCase(flow_scene.FlowTestCase):

    def wait(self):
        self.fake.guest.create()
        before = self.state()
        started = self.fake.clock.monotonic()
        error = self.assertRaises(errors.MirrorTimeout, self.take,
                                  quiesce='want')
        self.assert_nothing_left(before)
        return error, self.fake.clock.monotonic() - started

    def test_mirror_that_is_never_ready(self):
        self.fake.guest.mirror_life.ready_after = None
        error, seconds = self.wait()
        self.assertIn('ready_timeout', str(error))
        self.assertAlmostEqual(self.fake.settings.ready_timeout, seconds,
                               delta=1)

    def test_mirror_that_stands_still(self):
        self.fake.guest.mirror_life.ready_after = None
        self.fake.guest.mirror_life.stalls_after = 5
        error, seconds = self.wait()
        self.assertIn('stall_timeout', str(error))
        self.assertAlmostEqual(self.fake.settings.stall_timeout, seconds,
                               delta=1)

    def test_mirror_that_is_slow_is_waited_for(self):
        self.fake.guest.mirror_life.ready_after = 200
        self.fake.guest.create()
        self.take()
        self.assert_all_or_nothing()
