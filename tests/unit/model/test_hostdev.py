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

import dataclasses

import ddt
from lxml import etree
from oslotest import base

from nova_snap.model import domain as domain_model
from nova_snap.model import hostdev as hostdev_model
from tests.fakes import devices
from tests.unit import data

# As libvirt shows a port out of a pool while it is attached.
LIVE_POOL_PORT = """
    <interface type='hostdev' managed='yes'>
      <mac address='fa:16:3e:0a:0b:0e'/>
      <driver name='vfio'/>
      <source network='vfs' portid='6f4dfc7c-dbb4-4d23-8d8c-d5cd7a2d2b2c'>
        <address type='pci' domain='0x0000' bus='0x3b' slot='0x10'
                 function='0x3'/>
      </source>
      <vlan><tag id='101'/></vlan>
      <target dev='vf3'/>
      <alias name='hostdev0'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x05'
               function='0x0'/>
    </interface>"""


@ddt.ddt
class ReadTestCase(base.BaseTestCase):

    def found(self):
        return data.domain('hostdevs.live').hostdevs

    def test_of_a_port_all_that_must_come_back_is_known(self):
        device = hostdev_model.parse(LIVE_POOL_PORT)
        self.assertEqual(
            ('interface', '0000:3b:10.3', '0000:00:05.0',
             'fa:16:3e:0a:0b:0e', ('101',), 'vfio', 'hostdev0'),
            (device.kind, device.host_address, device.guest_address,
             device.mac, device.vlan, device.driver, device.alias))

    def test_emulated_devices_and_macvtap_are_left_alone(self):
        self.assertEqual(
            ['hostdev pci', 'hostdev mdev', 'interface'],
            [device.kind for device in self.found()])

    def test_they_are_the_same_read_alone(self):
        self.assertEqual(
            self.found(), domain_model.parse_hostdevs(
                data.xml('hostdevs.live')))

    def test_what_cannot_be_taken_out_is_named(self):
        root = etree.fromstring(
            f'<domain><devices>{devices.USB}</devices></domain>')
        (found,) = hostdev_model.find_others(root)
        self.assertIn('hostdev usb', found)
        self.assertEqual([], list(hostdev_model.find(root)))

    def test_a_vdpa_port_is_known_by_its_file(self):
        device = hostdev_model.parse(devices.VDPA)
        self.assertEqual('interface vdpa fa:16:3e:0a:0b:0f /dev/vhost-vdpa-0',
                         str(device))

    @ddt.data('guest_address', 'mac', 'vlan', 'driver', 'host_address')
    def test_a_device_that_differs_is_another(self, field):
        device = hostdev_model.parse(LIVE_POOL_PORT)
        self.assertNotEqual(device, dataclasses.replace(
            device, **{field: 'another'}))

    def test_only_the_name_that_libvirt_gives_it_may_differ(self):
        device = hostdev_model.parse(LIVE_POOL_PORT)
        self.assertEqual(device, dataclasses.replace(device, alias='another'))


class GiveBackTestCase(base.BaseTestCase):

    def test_a_port_of_a_pool_is_asked_for_as_it_was(self):
        given = etree.fromstring(hostdev_model.attach_xml(LIVE_POOL_PORT))
        for path in ('./alias', './target', './source[@network]',
                     './source[@portid]'):
            self.assertIsNone(given.find(path), path)
        again = hostdev_model.parse(etree.tostring(given, encoding='unicode'))
        self.assertEqual(hostdev_model.parse(LIVE_POOL_PORT), again)

    def test_a_vdpa_port_keeps_its_file(self):
        self.assertEqual(
            hostdev_model.parse(devices.VDPA),
            hostdev_model.parse(hostdev_model.attach_xml(devices.VDPA)),
        )

    def test_of_a_device_nothing_but_its_name_is_left_out(self):
        for device in data.domain('hostdevs.live').hostdevs:
            again = hostdev_model.parse(hostdev_model.attach_xml(device.xml))
            self.assertEqual(device, again)


@ddt.ddt
class DefinedTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('the device', LIVE_POOL_PORT, True),
        ('a port of the pool with its MAC address', devices.POOL_PORT, True),
        ('another port', devices.PORT, False),
        ('nothing', '', False),
    )
    def test_a_definition_is_asked_for_the_device(self, xml, is_defined):
        definition = f'<domain><devices>{xml}</devices></domain>'
        self.assertIs(is_defined, hostdev_model.is_defined(
            hostdev_model.parse(LIVE_POOL_PORT), definition))
