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

"""The devices of the outer machine, as its kernel and libvirt have them."""

import json
import os
import pathlib
import typing as ty
import xml.etree.ElementTree

from tests.lab import errors
from tests.lab import process

BUS = pathlib.Path('/sys/bus/pci')
CLASS_NVME = '0x010802'
VFIO = 'vfio-pci'

# What the machine itself uses its devices with.
NVME_DRIVER = 'nvme'
PORT_DRIVER = 'igbvf'

# Ports of the card: one for each way to ask for one, and one that is left.
PORTS = 3

POOL = """\
<network>
  <name>ports</name>
  <forward mode='hostdev' managed='yes'>
    <driver name='vfio'/>
    {addresses}
  </forward>
</network>
"""


class Devices:
    """The card with its ports, and the NVMe.

    :ivar card: the network interface of the card's physical function
    :ivar ports: PCI addresses, in the order of their numbers
    :ivar nvme: a PCI address
    """

    def __init__(self) -> None:
        """Make the ports.

        :raises LabError: when the machine has not these devices
        """
        cards = list((BUS / 'drivers' / 'igb').glob('*/net/*'))
        nvmes = [path.parent.name for path in (BUS / 'devices').glob(
            '*/class') if path.read_text().strip() == CLASS_NVME]
        if len(cards) != 1 or len(nvmes) != 1:
            raise errors.LabError(f'cards {cards}, NVMe {nvmes}')
        self.nvme, self.card = nvmes[0], cards[0].name
        device = cards[0].parents[1]
        # A port is answered by a card that is up alone.
        process.run(['ip', 'link', 'set', self.card, 'up'])
        (device / 'sriov_numvfs').write_text(f'{PORTS}\n')
        self.ports = [(device / f'virtfn{number}').resolve().name
                      for number in range(PORTS)]
        for address in self.ports:
            process.wait_until(
                lambda address=address: driver(address), timeout=30,
                what=f'a driver for {address}')

    @property
    def all(self) -> list[str]:
        """The addresses of all that a guest may get."""
        return [self.nvme, *self.ports]

    def pool(self) -> str:
        """Write a network whose pool is all ports but the first."""
        return POOL.format(addresses=''.join(
            f'<address type="pci" {xml_address(address)}/>'
            for address in self.ports[1:]))

    def drivers(self) -> dict[str, str]:
        """Return which driver has each device, by its address."""
        return {address: driver(address) for address in self.all}

    def settings(self) -> dict[str, tuple[str, ty.Any]]:
        """Return MAC and VLAN of each port, as the card filters by them."""
        (link,) = json.loads(process.run(
            ['ip', '--json', 'link', 'show', self.card]))
        found = {}
        for port in link['vfinfo_list']:
            vlans = [vlan['vlan'] for vlan in port.get('vlan_list', ())
                     if 'vlan' in vlan]
            found[self.ports[port['vf']]] = port['address'], vlans
        return found

    def take_out(self) -> None:
        """Take the NVMe out of the machine, as by hand."""
        (BUS / 'devices' / self.nvme / 'remove').write_text('1\n')

    def put_back(self) -> None:
        """Put it in again; nothing where it is in."""
        (BUS / 'rescan').write_text('1\n')
        process.wait_until(lambda: driver(self.nvme), timeout=30,
                           what=f'a driver for {self.nvme}')


def driver(address: str) -> str:
    """Return the driver of a device; empty for none."""
    try:
        return os.path.basename(
            os.readlink(BUS / 'devices' / address / 'driver'))
    except FileNotFoundError:
        return ''


def xml_address(address: str) -> str:
    """Write a PCI address as attributes of libvirt's."""
    domain, bus, rest = address.split(':')
    slot, function = rest.split('.')
    return (f'domain="0x{domain}" bus="0x{bus}" slot="0x{slot}" '
            f'function="0x{function}"')


def in_domain(domain_xml: str) -> dict[str, dict[str, ty.Any]]:
    """Return what a running guest has, by its address in the guest.

    Read without the product, which is what is tried.
    """
    root = xml.etree.ElementTree.fromstring(domain_xml)
    found = {}
    for element in (*root.iterfind("devices/hostdev[@type='pci']"),
                    *root.iterfind("devices/interface[@type='hostdev']")):
        mac = element.find('mac')
        found[_address(element.find('address'))] = {
            'kind': element.tag,
            'host': _address(element.find('source/address')),
            'driver': [entry.get('name')
                       for entry in element.iterfind('driver')],
            'mac': None if mac is None else mac.get('address'),
            'vlan': [tag.get('id') for tag in element.iterfind('vlan/tag')]}
    return found


def _address(element: ty.Any) -> str:
    domain, bus, slot, function = (
        int(element.get(part), 0)
        for part in ('domain', 'bus', 'slot', 'function'))
    return f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'
