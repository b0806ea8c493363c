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

"""Emulated network cards that pass for SR-IOV ports.

A machine without an IOMMU can pass no device through. But a guest releases
an emulated PCI card as it releases a real one, and gets it back by the same
calls. So, at the edge of libvirt alone, a card of a guest is shown as an
``<interface type='hostdev'>``, and what is said of such a port is said of the
card.

What libvirt refuses to a guest with a real device (to be saved) it does not
refuse here: for that there is tools/vfio.
"""

# ruff: noqa: N802 - libvirt's names

import functools
import typing as ty

from lxml import etree

from nova_snap.hypervisor import connection as connection_module
from tests.lab.guest import domain as guest_domain

MAC = '52:54:00:5a:00:{:02x}'
CARD = ("<interface type='user'><mac address='{}'/>"
        "<model type='virtio'/></interface>")


def cards(count: int) -> str:
    """Write the XML of so many cards."""
    return ''.join(CARD.format(MAC.format(number)) for number in range(count))


def has_cards(guest: guest_domain.Guest) -> list[str]:
    """Return a running guest's cards, but for libvirt's names of them."""
    found = []
    for card in etree.fromstring(guest.domain.XMLDesc()).findall(
            "./devices/interface[@type='user']"):
        card.remove(card.find('./alias'))
        found.append(''.join(etree.tostring(card, encoding='unicode').split()))
    return sorted(found)


def put_on() -> None:
    """Let this process, which is a test's own, see ports and not cards."""
    connection_module.Connection.get = shown(  # type: ignore[method-assign]
        connection_module.Connection.get)


def shown(inner: ty.Callable[..., ty.Any]) -> ty.Callable[..., ty.Any]:
    """Wrap ``Connection.get``."""
    made: list[_Connection] = []

    @functools.wraps(inner)
    def get(itself: connection_module.Connection) -> ty.Any:
        found = inner(itself)
        # As long as the one within is the same, this one is, too.
        if not made or made[-1].inner is not found:
            made.append(_Connection(found))
        return made[-1]

    return get


def as_port(card: etree._Element) -> None:
    """Show a card as a port; its address on the host is its own."""
    number = int(card.find('./mac').get('address')[-2:], 16)
    card.set('type', 'hostdev')
    card.set('managed', 'yes')
    etree.SubElement(etree.SubElement(card, 'source'), 'address', type='pci',
                     domain='0x0000', bus='0x3b', slot='0x10',
                     function=f'{number:#x}')


def as_card(port: etree._Element) -> None:
    """Write a card as libvirt knows it."""
    port.set('type', 'user')
    port.attrib.pop('managed', None)
    for source in port.findall('./source'):
        port.remove(source)


class _Connection:
    """libvirt's connection, whose domains show ports."""

    def __init__(self, inner: ty.Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> ty.Any:
        return getattr(self.inner, name)

    def lookupByUUIDString(self, uuid: str) -> '_Domain':
        return _Domain(self.inner.lookupByUUIDString(uuid))

    def domainEventRegisterAny(self, domain: '_Domain',
                               *args: ty.Any) -> int:
        return int(self.inner.domainEventRegisterAny(domain.inner, *args))


class _Domain:
    """A domain of libvirt's that shows ports and takes them."""

    def __init__(self, inner: ty.Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> ty.Any:
        return getattr(self.inner, name)

    def XMLDesc(self, flags: int = 0) -> str:
        tree = etree.fromstring(self.inner.XMLDesc(flags))
        for card in tree.findall("./devices/interface[@type='user']"):
            as_port(card)
        return etree.tostring(tree, encoding='unicode')

    def detachDeviceFlags(self, xml: str, flags: int) -> int:
        return int(self.inner.detachDeviceFlags(_card_xml(xml), flags))

    def attachDeviceFlags(self, xml: str, flags: int) -> int:
        return int(self.inner.attachDeviceFlags(_card_xml(xml), flags))


def _card_xml(xml: str) -> str:
    port = etree.fromstring(xml)
    as_card(port)
    return etree.tostring(port, encoding='unicode')
