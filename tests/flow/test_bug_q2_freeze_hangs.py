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

"""libvirt waits for ever for a guest agent, and upstream lets it.

:source: virDomainAgentSetResponseTimeout
"""

import ddt

from nova_snap import errors
from tests.flow import scene as flow_scene


@ddt.ddt
class HungAgentTestCase(flow_scene.FlowTestCase):

    @ddt.data('getTime', 'fsFreeze', 'fsThaw', 'setTime')
    def test_no_wait_is_without_end(self, command):
        # The fake stops a test that would wait for ever.
        self.fake.guest.create()
        self.fake.guest.agent.hangs_at = command
        started = self.fake.clock.monotonic()
        try:
            self.take(quiesce='require', cold=command == 'setTime')
        except errors.SnapError:
            pass
        self.assertLess(self.fake.clock.monotonic() - started,
                        30 * self.fake.settings.freeze_timeout)

    def test_no_wait_of_a_recovery_is_without_end(self):
        self.fake.guest.create()
        self.die('fsFreeze', quiesce='require')
        self.fake.guest.agent.hung = True
        self.assertEqual(['failed'], self.outcomes())
        self.fake.guest.agent.hung = False
        self.assertEqual(['settled'], self.outcomes())
        self.assertFalse(self.fake.guest.agent.frozen)
