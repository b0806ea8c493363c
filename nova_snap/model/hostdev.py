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

"""Devices of the host that a guest has in its hands.

A guest that has one cannot be saved: what the device holds of its state
cannot be written down. It is taken out of the running guest before, and put
back after, at the same place.
"""

import collections.abc as cabc
import dataclasses
import shlex

from lxml import etree

MEDIATED = 'hostdev mdev'

# What is taken out and put back. In the XML of a running guest libvirt shows
# a port out of a network's pool as the hostdev that it was given.
# :source: libvirt src/conf/domain_conf.c virDomainNetDefFormat; nova/virt/
#     libvirt/driver.py suspend
KINDS = {
    'hostdev pci': "./devices/hostdev[@type='pci']",
    MEDIATED: "./devices/hostdev[@type='mdev']",
    'interface': "./devices/interface[@type='hostdev']",
    'interface vdpa': "./devices/interface[@type='vdpa']",
}

# What keeps a guest from being saved, too, and is not taken out: Nova passes
# no such device through.
OTHERS = {
    'hostdev': './devices/hostdev',
}

# Of the XML of a port that is attached. libvirt gives it another name when it
# comes back, and a port of its network is not asked for again.
NOT_GIVEN_BACK = ('./alias', './target')


@dataclasses.dataclass(frozen=True)
class Hostdev:
    """One device of the host, as the XML of a running guest has it.

    :ivar host_address: a PCI address (``0000:3b:00.1``), the UUID of a
        mediated device, or the file of a vDPA device in ``/dev``
    :ivar guest_address: where the guest sees it
    :ivar alias: libvirt's name for it, another one after each attach
    """

    kind: str
    host_address: str
    guest_address: str | None
    mac: str | None
    vlan: tuple[str, ...]
    driver: str | None
    alias: str | None = dataclasses.field(compare=False)
    xml: str = dataclasses.field(compare=False, repr=False)

    def __str__(self) -> str:
        """Say which one it is, as an operator finds it on the host."""
        mac = f' {self.mac}' if self.mac else ''
        return f'{self.kind}{mac} {self.host_address}'

    def is_same(self, other: 'Hostdev') -> bool:
        """Tell whether it is the same device, wherever a guest sees it."""
        return (self.kind, self.host_address) == (other.kind,
                                                  other.host_address)


def find(root: etree._Element) -> cabc.Iterator[Hostdev]:
    """Yield the devices of a domain that are taken out for a save."""
    for kind, path in KINDS.items():
        for element in root.findall(path):
            yield _hostdev(kind, element)


def find_others(root: etree._Element) -> cabc.Iterator[str]:
    """Yield a word for each device that keeps the guest from being saved."""
    ours = [element for path in KINDS.values()
            for element in root.findall(path)]
    for word, path in OTHERS.items():
        for element in root.findall(path):
            if element not in ours:
                yield f'{word} {element.get("type", "")}'.strip()


def parse(xml: str) -> Hostdev:
    """Read one device as :attr:`Hostdev.xml` has it."""
    devices = etree.Element('domain')
    etree.SubElement(devices, 'devices').append(etree.fromstring(xml))
    (found,) = find(devices)
    return found


def attach_xml(xml: str) -> str:
    """Write what gives a device back as it was, at the same address.

    A port out of a network's pool is asked for as the very device that it
    had, not as any of the pool.
    """
    element = etree.fromstring(xml)
    for path in NOT_GIVEN_BACK:
        for found in element.findall(path):
            element.remove(found)
    if element.get('type') == 'hostdev':
        for source in element.findall('./source'):
            source.attrib.clear()
    return etree.tostring(element, encoding='unicode')


def attach_command(uuid: str, xml: str) -> str:
    """Return what an operator runs to give a device back, on one line."""
    element = etree.fromstring(attach_xml(xml), etree.XMLParser(
        remove_blank_text=True))
    return (f'echo {shlex.quote(etree.tostring(element, encoding="unicode"))}'
            f' | virsh attach-device {uuid} /dev/stdin --live')


def is_defined(hostdev: Hostdev, definition: str) -> bool:
    """Tell whether a definition gives the guest this device, or its port."""
    root = etree.fromstring(definition)
    if any(hostdev.is_same(found) for found in find(root)):
        return True
    return hostdev.mac is not None and any(
        mac.get('address') == hostdev.mac
        for mac in root.findall("./devices/interface[@type='network']/mac"))


def _hostdev(kind: str, element: etree._Element) -> Hostdev:
    mac, driver = element.find('./mac'), element.find('./driver')
    alias = element.find('./alias')
    return Hostdev(
        kind=kind,
        host_address=_host_address(element),
        guest_address=_address(element.find('./address')),
        mac=None if mac is None else mac.get('address'),
        vlan=tuple(tag.get('id', '') for tag in element.findall('./vlan/tag')),
        driver=None if driver is None else driver.get('name'),
        alias=None if alias is None else alias.get('name'),
        xml=etree.tostring(element, encoding='unicode', with_tail=False))


def _host_address(element: etree._Element) -> str:
    source = element.find('./source')
    if source is None:
        return ''
    return _address(source.find('./address')) or str(source.get('dev', ''))


def _address(element: etree._Element | None) -> str | None:
    """Write an address as it is known: PCI's, a UUID, or all of it."""
    if element is None:
        return None
    if 'uuid' in element.attrib:
        return str(element.get('uuid'))
    if element.get('type', 'pci') == 'pci':
        domain, bus, slot, function = (
            int(element.get(part, '0'), 0)
            for part in ('domain', 'bus', 'slot', 'function'))
        return f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'
    return ' '.join(f'{name!s}={value!s}'
                    for name, value in sorted(element.attrib.items()))
