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

"""P5: of two ports with one MAC address Nova could detach neither.

:source: bug 1529785 of Nova
"""

from tests.fakes import devices
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class TwinsTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(hostdev=devices.PORT + devices.TWIN_PORT)

    def test_each_is_known_by_its_address(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        self.take(process, cold=True)
        self.assertEqual(
            ['detachDeviceFlags interface hostdev 3b:02.1',
             'detachDeviceFlags interface hostdev 3b:02.2'],
            [call for call in process.calls.of('libvirt')
             if call.startswith('detach')])
        self.assert_guest_untouched(before)
