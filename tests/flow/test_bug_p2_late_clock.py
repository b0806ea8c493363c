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

"""After a long cold snapshot upstream's guest has the time of its save.

:source: nova/virt/libvirt/driver.py _resume_guest_after_snapshot
"""

from tests.flow import scene as flow_scene


class ClockTestCase(flow_scene.FlowTestCase):

    def test_clock_is_set_before_the_upload(self):
        self.fake.guest.create()
        process = self.fake.process()
        self.take(process, cold=True)
        done = process.calls.changes()
        self.assertLess(done.index('libvirt createWithFlags'),
                        done.index('libvirt setTime'))
        self.assertLess(done.index('libvirt setTime'),
                        done.index('glance upload'))

    def test_paused_guest_has_no_clock_to_set(self):
        self.fake.guest.create()
        self.fake.guest.suspend()
        process = self.fake.process()
        self.take(process, cold=True)
        self.assertNotIn('setTime', process.calls.names())
