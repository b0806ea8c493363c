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

"""The devices that Nova knows of, and those that we take out for a save.

Nova's suspend goes by its records: the PCI requests of the flavor, the ports
of the network. We go by the XML of the running guest. What Nova's real
classes write into that XML for such records is what we find there.
"""

import copy
import dataclasses
import pathlib
import tempfile

import fixtures
import libvirt
from lxml import etree
import nova.conf
from nova import context as nova_context
from nova.network import model as network_model
from nova import objects
from nova.objects import fields
import nova.virt.driver
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import event as libvirtevent
import os_vif.objects
from oslo_config import fixture as config_fixture
from oslotest import base

from nova_snap.driver import runtime as runtime_module
from nova_snap.driver import translation
from nova_snap.flows import snapshot
from nova_snap.model import domain as domain_model
from nova_snap.model import request as request_model
from tests.fakes import devices
from tests.fakes import libvirtd as fake_libvirtd
from tests.fakes import node as fake_node
from tests.fakes import refusal
from tests.with_nova import scene

GPU = '0000:3b:00.1'
PORT = '0000:3b:02.1'
# The same address on the wire as PORT has: a bond in the guest.
TWIN_PORT = '0000:3b:02.2'
PHYSICAL = '0000:5e:00.0'
IMAGE = '11111111-1111-4111-8111-111111111111'
MDEV = '6a5a24a2-3a90-4a39-8b1f-6f3b1f0f2d5e'
MACVTAP = '0000:3b:02.5'
# Of an accelerator that Cyborg has lent: in no PCI request of the flavor.
# Nova's suspend does not know of it.
ACCELERATOR = '0000:86:00.0'

VDPA = '0000:3b:03.2'
VDPA_FILE = '/dev/vhost-vdpa-0'
ALL = (MDEV, GPU, PORT, TWIN_PORT, PHYSICAL, VDPA_FILE)

MAC = 'fa:16:3e:0a:0b:0c'
OTHER_MAC = 'fa:16:3e:0a:0b:0d'
VLAN = '101'

ALIAS_REQUEST = '3f1c55d4-2a0b-4c1c-8a53-d6b2a1f3e001'
PORT_REQUEST = '3f1c55d4-2a0b-4c1c-8a53-d6b2a1f3e002'

VNICS = {PORT: (network_model.VNIC_TYPE_DIRECT, MAC),
         TWIN_PORT: (network_model.VNIC_TYPE_DIRECT, MAC),
         PHYSICAL: (network_model.VNIC_TYPE_DIRECT_PHYSICAL, OTHER_MAC),
         VDPA: (network_model.VNIC_TYPE_VDPA, OTHER_MAC),
         MACVTAP: (network_model.VNIC_TYPE_MACVTAP, OTHER_MAC)}
VIF_TYPES = {
    network_model.VNIC_TYPE_DIRECT: network_model.VIF_TYPE_HW_VEB,
    network_model.VNIC_TYPE_DIRECT_PHYSICAL:
        network_model.VIF_TYPE_HOSTDEV,
    network_model.VNIC_TYPE_VDPA: network_model.VIF_TYPE_OVS,
    network_model.VNIC_TYPE_MACVTAP: network_model.VIF_TYPE_HW_VEB}


class DevicesTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        objects.register_all()
        os_vif.objects.register_all()
        conf = nova.conf.CONF
        conf([], project='nova', default_config_files=[],
             default_config_dirs=[])
        set_option = self.useFixture(config_fixture.Config(conf)).config
        set_option(state_path=self.useFixture(fixtures.TempDir()).path)
        set_option(virt_type='qemu', group='libvirt')
        # The network's name of a port is asked of the host.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.pci.utils.get_ifname_by_pci_address',
            lambda *_, **__: 'enp59s2v1'))
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.get_vdpa_device_path',
            lambda *_: VDPA_FILE))
        self.driver = nova.virt.driver.load_compute_driver(
            None, 'nova_snap.LibvirtDriver')
        self.instance = self.make_instance()

    def make_instance(self):
        """Make an instance as nova-compute has it, with all its devices."""
        return objects.Instance(
            nova_context.get_admin_context(), id=1, uuid=fake_node.UUID,
            display_name='guest', user_id='user', project_id='project',
            image_ref=fake_node.BASE_IMAGE, system_metadata={},
            host='node-1', flavor=objects.Flavor(
                id=1, name='gpu', flavorid='1', memory_mb=256, vcpus=1,
                root_gb=1, ephemeral_gb=0, swap=0, extra_specs={}),
            pci_requests=objects.InstancePCIRequests(requests=[
                objects.InstancePCIRequest(
                    request_id=ALIAS_REQUEST, alias_name='gpu', count=1),
                objects.InstancePCIRequest(
                    request_id=PORT_REQUEST, alias_name=None, count=1)]),
            pci_devices=objects.PciDeviceList(objects=[
                pci_device(GPU, ALIAS_REQUEST),
                *(pci_device(address, PORT_REQUEST) for address in VNICS)]),
            info_cache=objects.InstanceInfoCache(
                network_info=network_model.NetworkInfo(
                    [vif(address, *vnic)
                     for address, vnic in VNICS.items()])))

    def devices_xml(self):
        """Let Nova write the devices, as it does for a new guest."""
        instance = self.instance
        mdev = vconfig.LibvirtConfigGuestHostdevMDEV()
        mdev.uuid = MDEV
        return ''.join(config.to_xml() for config in (
            self.driver._get_guest_pci_device(
                instance.pci_devices.objects[0]),
            *(self.driver.vif_driver.get_config(
                instance, one, instance.image_meta, instance.flavor, 'qemu')
              for one in instance.info_cache.network_info),
            mdev))

    def connect(self, connection):
        """Let Nova's own Host have this connection."""
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.get_connection',
            lambda itself: connection))


class SuspendTestCase(DevicesTestCase):
    """What Nova's suspend takes out of a guest."""

    def setUp(self):
        super().setUp()
        # The host's side of a port: there is none here.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.vif.LibvirtGenericVIFDriver.unplug',
            lambda *_: None))

    def domain(self, hostdevs):
        """Make the guest, as Nova will find it."""
        domain = NovasDomain(live_xml(hostdevs), self.driver)
        self.connect(domain)
        return domain

    def suspend(self):
        self.driver.suspend(self.instance._context, self.instance)

    def ours(self, domain):
        """Return what a plan of ours takes out."""
        return [device.host_address for device
                in domain_model.parse(domain.XMLDesc()).hostdevs]

    def test_ours_are_the_same(self):
        domain = self.domain(self.devices_xml())
        ours = self.ours(domain)
        self.suspend()
        self.assertTrue(domain.is_saved)
        self.assertEqual(sorted(ALL), sorted(domain.released))
        self.assertEqual(sorted(ALL), sorted(ours))

    def test_nothing_else_of_the_guest_forbids_to_save_it(self):
        domain = self.domain(self.devices_xml())
        self.assertEqual(
            (), domain_model.parse(domain.XMLDesc()).bound_devices)

    def test_ours_are_also_those_that_novas_suspend_does_not_know(self):
        device = self.driver._get_guest_pci_device(
            pci_device(ACCELERATOR, ALIAS_REQUEST))
        domain = self.domain(self.devices_xml() + device.to_xml())
        self.assertIn(ACCELERATOR, self.ours(domain))
        self.assertRaises(libvirt.libvirtError, self.suspend)
        self.assertNotIn(ACCELERATOR, domain.released)


class SnapshotTestCase(DevicesTestCase):
    """A cold snapshot by our code, through Nova's connection."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.fake = fake_node.FakeNode(
            pathlib.Path(folder.name), fake_node.GuestSpec(
                hostdev=self.devices_xml()))
        self.guest = self.fake.guest
        self.guest.create()
        self.process = self.fake.process()
        connection = fake_libvirtd.FakeConnection(self.fake.libvirtd,
                                             self.process.calls)
        self.connect(connection)
        # Nova listens, too, and does not know what it hears of.
        self.heard = []
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self.hear, None)
        self.before = self.guest.hostdevs.facts()
        self.definition = self.guest.persistent
        host = self.driver._snap.local_node().world.host
        self.assertIsInstance(host, runtime_module.NovaHost)
        self.node = dataclasses.replace(
            self.process.node,
            world=dataclasses.replace(self.process.world, host=host))

    def hear(self, *event):
        self.heard.append(event)
        self.driver.emit_event(libvirtevent.DeviceRemovedEvent(
            fake_node.UUID, event[2]))

    def take(self):
        return snapshot.take(self.node, request_model.Request(
            fake_node.UUID,
            (request_model.RequestedImage(IMAGE, 'nightly'),), cold=True))

    def assert_none_is_lost(self):
        self.assertEqual(self.before, self.guest.hostdevs.facts())
        self.assertEqual(self.definition, self.guest.persistent)

    def test_every_device_comes_back(self):
        self.take()
        detached = [call for call in self.process.calls.of('libvirt')
                    if call.startswith('detach')]
        self.assertEqual(len(ALL), len(detached), detached)
        self.assertEqual(len(ALL), len(self.heard))
        self.assert_none_is_lost()

    def test_tenant_is_told_that_a_device_is_not_back(self):
        def take_away():
            self.guest.persistent = self.definition.replace(MDEV, 'another')

        self.process.calls.then('convert', take_away)
        error = self.assertRaises(translation.SnapshotFailed,
                                  self.take_in_novas_words)
        self.assertIn('could not be given back', str(error))
        self.assertNotIn(MDEV, str(error))

    def test_tenant_is_told_that_the_guest_has_not_released_it(self):
        self.process.calls.fail_named('detachDeviceFlags')
        error = self.assertRaises(translation.SnapshotFailed,
                                  self.take_in_novas_words)
        self.assertIn('did not release a passed-through device', str(error))
        self.assert_none_is_lost()

    def take_in_novas_words(self):
        domain = self.process.world.host.domain(fake_node.UUID)
        with translation.in_novas_words(fake_node.UUID, IMAGE,
                                        has_domain=domain.exists):
            self.take()

    def test_novas_records_stay_as_they_are(self):
        before = copy.deepcopy(self.instance.obj_to_primitive())
        self.take()
        self.assertEqual(before, self.instance.obj_to_primitive())
        # Nova looks for them in the guest by these.
        wanted = {device.address for device
                  in self.instance.get_pci_devices()} - {MACVTAP, VDPA}
        self.assertEqual(wanted, self.pci_addresses())

    def pci_addresses(self):
        """Return the passed-through devices as Nova's classes find them."""
        found = vconfig.LibvirtConfigGuest()
        found.parse_str(self.guest.XMLDesc())
        return {
            (device.source_dev if isinstance(
                device, vconfig.LibvirtConfigGuestInterface)
             else address_of(device.domain, device.bus, device.slot,
                             device.function))
            for device in found.devices
            if isinstance(device, vconfig.LibvirtConfigGuestHostdevPCI)
            or (isinstance(device, vconfig.LibvirtConfigGuestInterface)
                and device.net_type == 'hostdev')}


class ClaimTestCase(scene.SceneTestCase):
    """A mediated device that is out of its guest is not free."""

    spec = fake_node.GuestSpec(nova=True, hostdev=devices.MDEV)

    def setUp(self):
        super().setUp()
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        self.driver = self.start_driver()
        self.seen = []

    def look(self):
        """Look until the guest has released it, and once more."""
        while self.guest.hostdevs.facts():
            self.guest.XMLDesc()
        self.seen.append(list(
            self.driver._get_all_assigned_mediated_devices()))

    def test_nova_does_not_take_it_for_free(self):
        self.calls.then('detachDeviceFlags', self.look)
        self.snapshot(self.driver)
        self.assertEqual([[MDEV]], self.seen)
        self.assertEqual(1, len(self.guest.hostdevs.facts()))
        self.assert_guest_whole()


class NovasDomain:
    """libvirt and a guest, as Nova's suspend asks them.

    The guest releases at once what it is asked for, of whatever definition.

    :ivar released: what the running guest was asked for: each device's
        address on the host
    """

    def __init__(self, xml, driver):
        self._xml = {libvirt.VIR_DOMAIN_AFFECT_LIVE: xml,
                     libvirt.VIR_DOMAIN_AFFECT_CONFIG: xml}
        self._driver = driver
        self.released = []
        self.is_saved = False

    def lookupByUUIDString(self, uuid):
        assert uuid == fake_node.UUID
        return self

    def UUIDString(self):
        return fake_node.UUID

    def ID(self):
        return 1

    def info(self):
        return [libvirt.VIR_DOMAIN_RUNNING, 262144, 262144, 1, 0]

    def isPersistent(self):
        return 1

    def setMetadata(self, *_, **__):
        return 0

    def XMLDesc(self, flags=0):
        return self._xml[libvirt.VIR_DOMAIN_AFFECT_CONFIG
                         if flags & libvirt.VIR_DOMAIN_XML_INACTIVE
                         else libvirt.VIR_DOMAIN_AFFECT_LIVE]

    def detachDeviceFlags(self, xml, flags):
        address = host_address(etree.fromstring(xml))
        tree = etree.fromstring(self._xml[flags])
        (found,) = [element for element in passed_through(tree)
                    if host_address(element) == address]
        found.getparent().remove(found)
        self._xml[flags] = etree.tostring(tree, encoding='unicode')
        if flags == libvirt.VIR_DOMAIN_AFFECT_LIVE:
            self.released.append(address)
            self._driver.emit_event(libvirtevent.DeviceRemovedEvent(
                fake_node.UUID, found.find('./alias').get('name')))

    def managedSave(self, flags):
        if passed_through(etree.fromstring(self.XMLDesc())):
            raise refusal.invalid("cannot migrate domain: VFIO device doesn't "
                                  'support migration')
        self.is_saved = True


def live_xml(hostdevs):
    """Write what libvirt shows of a running guest with these devices."""
    tree = etree.fromstring(fake_node.guest_xml(
        fake_node.GuestSpec(hostdev=hostdevs), '/disk'))
    for number, element in enumerate(passed_through(tree)):
        etree.SubElement(element, 'alias', name=f'hostdev{number}')
        etree.SubElement(element, 'address', type='pci', domain='0x0000',
                         bus='0x00', slot=f'{16 + number:#04x}',
                         function='0x0')
    return etree.tostring(tree, encoding='unicode')


def passed_through(tree):
    """Return what forbids to save a guest."""
    return [*tree.findall('./devices/hostdev'),
            *tree.findall("./devices/interface[@type='hostdev']"),
            *tree.findall("./devices/interface[@type='vdpa']")]


def host_address(element):
    """Return the host's address of a device, as Nova writes it."""
    address = element.find('./source/address')
    if address is None:
        return element.find('./source').get('dev')
    return address.get('uuid') or address_of(*(
        address.get(part)
        for part in ('domain', 'bus', 'slot', 'function')))


def address_of(domain, bus, slot, function):
    return (f'{int(domain, 16):04x}:{int(bus, 16):02x}:{int(slot, 16):02x}.'
            f'{int(function, 16):x}')


def pci_device(address, request_id):
    """Return Nova's record of a device that the instance has."""
    return objects.PciDevice(
        compute_node_id=1, address=address, instance_uuid=fake_node.UUID,
        request_id=request_id, status=fields.PciDeviceStatus.ALLOCATED,
        dev_type=fields.PciDeviceType.STANDARD, vendor_id='8086',
        product_id='10ed', numa_node=None, parent_addr=None, extra_info={})


def vif(address, vnic_type, mac):
    """Return a port as Neutron tells Nova of it."""
    return network_model.VIF(
        id=f'0aa1d5b3-{address[5:7]}{address[8:10]}-4000-8000-'
           f'00000000000{address[-1]}',
        address=mac, network=network_model.Network(
            id='d0d5b1c5-3c5f-4d4b-9a53-6f1f1e5d1c9a', bridge=None,
            label='net', subnets=[], mtu=1500),
        type=VIF_TYPES[vnic_type], vnic_type=vnic_type,
        details={network_model.VIF_DETAILS_VLAN: VLAN},
        profile={'pci_slot': address, 'pci_vendor_info': '8086:10ed',
                 'physical_network': 'physnet1'})
