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

"""P1: Nova's cold snapshot gives PCI devices and ports back, no mediated ones.

:source: nova/virt/libvirt/driver.py suspend, _resume_guest_after_snapshot
"""

from tests.fakes import devices
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class MediatedDeviceTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(hostdev=devices.MDEV)

    def test_it_comes_back(self):
        self.fake.guest.create()
        before = self.state()
        self.take(cold=True)
        self.assertEqual(1, len(before.hostdevs))
        self.assert_guest_untouched(before)
