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

"""Upstream asks for the thaw once, and leaves the guest frozen if it fails.

:source: nova/virt/libvirt/driver.py _live_snapshot
"""

from tests.flow import scene as flow_scene


class ThawTestCase(flow_scene.FlowTestCase):

    def test_thaw_fails_twice_and_works(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('fsThaw', 2)

        self.take(process, quiesce='require')

        self.assertEqual(3, process.calls.of('libvirt').count('fsThaw'))
        self.assert_guest_untouched(before)

    def test_thaw_is_not_skipped_by_a_definition_that_fails(self):
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.fail_named('defineXML', None)
        try:
            self.take(process, quiesce='require')
        except flow_scene.errors.RollbackIncomplete:
            pass
        self.assertFalse(self.fake.guest.agent.frozen)
        before = self.state()
        self.assertIsNone(before.persistent)
        self.recover()
        self.assertTrue(self.fake.guest.isPersistent())
