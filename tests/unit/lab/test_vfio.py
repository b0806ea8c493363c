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

"""What the run with real devices looks at, on XML that is written here."""

from oslotest import base

from tests.lab import errors
from tests.vfio import cases
from tests.vfio import devices as devices_module

DOMAIN = """\
<domain>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <address type='pci' domain='0' bus='0' slot='0x03' function='0'/>
    </interface>
    <interface type='hostdev' managed='yes'>
      <mac address='52:54:00:00:00:02'/>
      <driver name='vfio'/>
      <source>
        <address type='pci' domain='0x0000' bus='0x3b' slot='0x10'
                 function='0x2'/>
      </source>
      <vlan><tag id='42'/></vlan>
      <address type='pci' domain='0' bus='0' slot='0x06' function='0'/>
    </interface>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source>
        <address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
      </source>
      <address type='pci' domain='0' bus='0' slot='0x05' function='0'/>
    </hostdev>
  </devices>
</domain>
"""


class VfioTest(base.BaseTestCase):

    def test_devices_of_a_domain(self):
        self.assertEqual({
            '0000:00:05.0': {'kind': 'hostdev', 'host': '0000:02:00.0',
                             'driver': [], 'mac': None, 'vlan': []},
            '0000:00:06.0': {'kind': 'interface', 'host': '0000:3b:10.2',
                             'driver': ['vfio'], 'mac': '52:54:00:00:00:02',
                             'vlan': ['42']},
        }, devices_module.in_domain(DOMAIN))

    def test_address_as_libvirt_takes_it(self):
        self.assertEqual(
            'domain="0x0000" bus="0x3b" slot="0x10" function="0x2"',
            devices_module.xml_address('0000:3b:10.2'))

    def test_another_vlan_is_seen(self):
        before = {'devices': devices_module.in_domain(DOMAIN)}
        after = {
            'devices': devices_module.in_domain(DOMAIN.replace('42', '43'))
        }

        cases.demand_same(before, before)
        self.assertRaises(errors.LabError, cases.demand_same, before, after)

    def test_a_lost_device_is_seen(self):
        before = {'devices': devices_module.in_domain(DOMAIN)}
        after = {'devices': devices_module.in_domain(
            DOMAIN.replace("type='pci' managed", "type='usb' managed"))}

        self.assertRaises(errors.LabError, cases.demand_same, before, after)
