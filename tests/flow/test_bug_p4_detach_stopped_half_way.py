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

"""P4: Nova looks once whether a device is gone, and leaves those that are.

:source: nova/virt/libvirt/driver.py _detach_pci_devices
"""

from nova_snap import errors
from tests.fakes import devices
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class HalfWayTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(hostdev=devices.PCI + devices.PORT)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.life = self.fake.guest.hostdevs.life

    def test_guest_may_take_its_time(self):
        self.life.released_after = 15
        self.take(cold=True)
        self.assertLess(10, self.fake.clock.monotonic())
        self.assert_guest_untouched(self.before)

    def test_second_one_is_stuck_and_the_first_comes_back(self):
        process = self.fake.process()

        def refuse():
            self.life.refuses = True

        process.calls.then('journal write DetachHostdev done', refuse)
        error = self.assertRaises(errors.HostdevStuck, self.take, process,
                                  cold=True)
        self.assertIn('fa:16:3e:0a:0b:0c', str(error))
        self.assertEqual(
            ['detachDeviceFlags hostdev pci 3b:00.1',
             'detachDeviceFlags interface hostdev 3b:02.1',
             'attachDeviceFlags hostdev pci 3b:00.1'],
            process.calls.of('libvirt'))
        self.assert_nothing_left(self.before)
