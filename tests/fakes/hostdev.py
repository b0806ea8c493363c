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

"""The passed-through devices of a fake guest."""

# ruff: noqa: N802, N803 - libvirt's names

import dataclasses
import typing as ty

import libvirt
from lxml import etree

from tests.fakes import refusal

PATHS = ('./devices/hostdev', "./devices/interface[@type='hostdev']",
         "./devices/interface[@type='vdpa']",
         "./devices/interface[@type='network']")


@dataclasses.dataclass
class DeviceLife:
    """How a guest and its host will treat devices.

    :ivar released_after: looks at the guest until it has released what it
        was asked for; None is never: it does not answer
    :ivar refuses: it says no instead
    :ivar taken: guest addresses that something else has taken since
    :ivar gone: host addresses of devices that are gone from the host
    """

    released_after: int | None = 2
    refuses: bool = False
    taken: set[str] = dataclasses.field(default_factory=set)
    gone: set[str] = dataclasses.field(default_factory=set)


class Guest(ty.Protocol):
    """What the devices need of the guest they are in."""

    live: str | None
    runs: bool

    def tell_device(self, alias: str, *, refused: bool) -> None:
        """Tell those who listen what became of a request."""


class FakeHostdevs:
    """The devices of one guest; they are in its live XML."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._asked: dict[str, int] = {}
        self._aliases = 0
        self.life = DeviceLife()

    def start(self) -> None:
        """Give each device of a new QEMU process a name and an address."""
        self._asked.clear()
        tree = etree.fromstring(self._guest.live)
        for element in _all(tree):
            self._settle(element)
        self._write(tree)

    def look(self) -> None:
        """Let the guest answer, when it is time."""
        after = self.life.released_after
        for alias in tuple(self._asked):
            self._asked[alias] += 1
            if not self._guest.runs or after is None:
                continue
            if self._asked[alias] < after:
                continue
            del self._asked[alias]
            if not self.life.refuses:
                self._remove(alias)
            self._guest.tell_device(alias, refused=self.life.refuses)

    def facts(self) -> tuple[str, ...]:
        """Return what a test compares: all but libvirt's names for them."""
        if self._guest.live is None:
            return ()
        return tuple(sorted(_described(element) for element in _all(
            etree.fromstring(self._guest.live))))

    def detach(self, xml: str, flags: int) -> int:
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        wanted = _key(etree.fromstring(xml))
        for element in _all(etree.fromstring(self._guest.live)):
            if _key(element) == wanted:
                alias = element.find('./alias').get('name')
                if alias in self._asked:
                    raise refusal.refusal(
                        libvirt.VIR_ERR_INTERNAL_ERROR, 'internal error: '
                        "unable to execute QEMU command 'device_del': Device "
                        f'{alias} is already in the process of unplug')
                # libvirt says yes, whatever the guest will do.
                self._asked[alias] = 0
                return 0
        raise refusal.refusal(libvirt.VIR_ERR_DEVICE_MISSING,
                              'device not found: host device not found')

    def attach(self, xml: str, flags: int) -> int:
        assert flags == libvirt.VIR_DOMAIN_AFFECT_LIVE
        new = etree.fromstring(xml)
        assert new.get('type') != 'network', 'any port of the pool would do'
        assert new.find('./alias') is None and new.find('./target') is None
        tree = etree.fromstring(self._guest.live)
        if _host_address(new) in self.life.gone:
            raise refusal.refusal(
                libvirt.VIR_ERR_OPERATION_FAILED, 'operation failed: Device '
                f'{_host_address(new)} not found: could not access it')
        place = _guest_address(new)
        if place in self.life.taken or place in [
                _guest_address(element) for element in _all(tree)]:
            raise refusal.refusal(
                libvirt.VIR_ERR_XML_ERROR, 'XML error: Attempted double use '
                f'of PCI Address {place}')
        if any(_host_address(element) == _host_address(new)
               for element in _all(tree)):
            raise refusal.invalid('PCI device is in use by this domain')
        tree.find('./devices').append(new)
        self._settle(new)
        self._write(tree)
        return 0

    def _settle(self, element: etree._Element) -> None:
        self._aliases += 1
        if element.find('./alias') is None:
            etree.SubElement(element, 'alias', name=f'dev{self._aliases}')
        if element.get('type') == 'network':
            # A port out of the pool was given to it.
            element.set('type', 'hostdev')
            source = element.find('./source')
            source.set('portid', 'a-port')
            etree.SubElement(source, 'address', type='pci', domain='0x0000',
                             bus='0x3b', slot='0x10', function='0x3')
            etree.SubElement(element, 'target', dev='vf3')
        if element.find('./address') is None:
            etree.SubElement(
                element, 'address', type='pci', domain='0x0000', bus='0x00',
                slot=f'{16 + self._aliases:#04x}', function='0x0')

    def _remove(self, alias: str) -> None:
        tree = etree.fromstring(self._guest.live)
        for element in _all(tree):
            if element.find('./alias').get('name') == alias:
                element.getparent().remove(element)
        self._write(tree)

    def _write(self, tree: etree._Element) -> None:
        self._guest.live = etree.tostring(tree, encoding='unicode')


def _all(tree: etree._Element) -> list[etree._Element]:
    return [element for path in PATHS for element in tree.findall(path)]


def _host_address(element: etree._Element) -> str:
    address = element.find('./source/address')
    if address is None:
        return str(element.find('./source').get('dev'))
    return ' '.join(value for name, value in sorted(address.attrib.items())
                    if name != 'type')


def _guest_address(element: etree._Element) -> str | None:
    address = element.find('./address')
    return None if address is None else str(address.get('slot'))


def _key(element: etree._Element) -> tuple[str, str | None]:
    return _host_address(element), _guest_address(element)


def _described(element: etree._Element) -> str:
    for path in ('./alias', './target'):
        for found in element.findall(path):
            element.remove(found)
    if element.get('type') == 'hostdev':
        for source in element.findall('./source'):
            source.attrib.clear()
    words = etree.tostring(element, encoding='unicode', with_tail=False)
    return ''.join(words.split())
