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

"""The inner guest: three devices of the outer machine, and what it says."""

import contextlib
import pathlib
import re
import shutil
import typing as ty
import uuid as uuidlib

import libvirt

from tests.lab import errors
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import place
from tests.lab import process
from tests.vfio import devices as devices_module
from tests.vfio import machine as machine_module

KERNEL = '/share/guest.elf'
NAME = 'inner'
# MiB. All of it is pinned while it has a device.
MEMORY = 32
DISK_SIZE = 8 * 1024 ** 2

# Slots of the guest's only bus.
NVME, PORT, POOL_PORT = 5, 6, 7
SLOTS = (NVME, PORT, POOL_PORT)
MACS = {PORT: '52:54:00:0b:00:06', POOL_PORT: '52:54:00:0b:00:07'}
VLANS = {PORT: 42, POOL_PORT: 43}

# Seconds. SeaBIOS alone takes some of them, emulated twice.
BOOT_TIMEOUT = 180
# A device that was given back is proved within a second, or in five broken.
SPEAK_TIMEOUT = 60

XML = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <cmdline>{words}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0' bus='0' slot='0x04' function='0'/>
    </disk>
    <controller type='usb' index='0' model='none'/>
    <serial type='file'>
      <source path='{console}' append='on'/>
      <target type='isa-serial' port='0'/>
    </serial>
    <memballoon model='none'/>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address {nvme}/></source>
      {nvme_slot}
    </hostdev>
    <interface type='hostdev' managed='yes'>
      <mac address='{port_mac}'/>
      <source><address type='pci' {port}/></source>
      <vlan><tag id='{port_vlan}'/></vlan>
      {port_slot}
    </interface>
    <interface type='network'>
      <mac address='{pool_mac}'/>
      <source network='ports'/>
      <vlan><tag id='{pool_vlan}'/></vlan>
      {pool_slot}
    </interface>
  </devices>
</domain>
"""


class Guest:
    """The one guest of a case; it writes nothing to its disk.

    :ivar base: the raw file below its disk, which has all its content
    :ivar console: where it says what it does, over all its starts
    """

    def __init__(self, conn: libvirt.virConnect, instances: pathlib.Path,
                 console: pathlib.Path, *, keeps: int | None = None) -> None:
        """Name what it is made of.

        :param keeps: a slot that it does not give back
        """
        self.conn = conn
        self.uuid = str(uuidlib.uuid4())
        self.console = console
        self.folder = place.make_dir(instances / self.uuid)
        self.base = self.folder / 'base'
        self.disk = self.folder / 'disk'
        self._keeps = keeps

    def boot(self, devices: devices_module.Devices) -> None:
        """Define and start it, and wait until its devices are proved."""
        name = uuidlib.UUID(self.uuid).bytes
        self.base.write_bytes(name * (DISK_SIZE // len(name)))
        guest_disk.make_overlay(self.disk, self.base, 'raw')
        self.conn.defineXML(self._xml(devices))
        self.domain.create()
        self.wait_for('GOES', timeout=BOOT_TIMEOUT)
        self.assert_works()

    @property
    def domain(self) -> libvirt.virDomain:
        """The domain, looked up anew."""
        return self.conn.lookupByUUIDString(self.uuid)

    def remove(self) -> None:
        """Destroy and undefine it and delete its files."""
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.destroy()
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.undefineFlags(guest_domain.UNDEFINE)
        shutil.rmtree(self.folder)

    def said(self) -> str:
        """Return all whole lines of its console."""
        try:
            text = self.console.read_text(errors='replace')
        except FileNotFoundError:
            return ''
        return text[:text.rfind('\n') + 1]

    def wait_for(self, word: str, *, since: int = 0,
                 timeout: float = SPEAK_TIMEOUT) -> str:
        """Wait for a line that begins with a word; return the rest of it.

        :param since: characters of :meth:`said` to leave out
        :raises LabError: when it does not come
        """
        pattern = re.compile(rf'^(?:{word})\b(.*)$', re.MULTILINE)
        process.wait_until(lambda: pattern.search(self.said()[since:]),
                           timeout=timeout, what=f'{word} from the guest')
        found = pattern.search(self.said()[since:])
        assert found is not None
        return found[1].strip()

    def life(self) -> tuple[str, int]:
        """Return which boot this is, and how far it has counted in it."""
        boot, count = self.wait_for('GOES', since=len(self.said())).split()
        return boot, int(count, 16)

    def assert_works(self, since: int = 0) -> None:
        """Assert that it has proved each of its devices.

        :raises LabError: when it has not, or one is another one
        """
        self._expect(f'NVME {NVME:02x}', machine_module.NVME_SERIAL, since)
        for slot, mac in MACS.items():
            self._expect(f'PORT {slot:02x}', mac, since)

    def _expect(self, word: str, value: str, since: int) -> None:
        slot = word.partition(' ')[2]
        found = self.wait_for(f'{word}|BROKEN {slot}', since=since)
        if found != value:
            raise errors.LabError(f'{word}: {found!r}, not {value!r}')

    def _xml(self, devices: devices_module.Devices) -> str:
        facts: dict[str, ty.Any] = {
            'name': NAME, 'uuid': self.uuid, 'memory': MEMORY,
            'kernel': KERNEL, 'disk': self.disk, 'console': self.console,
            'words': '' if self._keeps is None else f'keep={self._keeps:x}',
            'nvme': devices_module.xml_address(devices.nvme),
            'port': devices_module.xml_address(devices.ports[0]),
            'port_mac': MACS[PORT], 'pool_mac': MACS[POOL_PORT],
            'port_vlan': VLANS[PORT], 'pool_vlan': VLANS[POOL_PORT]}
        for name, slot in (('nvme', NVME), ('port', PORT),
                           ('pool', POOL_PORT)):
            facts[f'{name}_slot'] = (
                "<address type='pci' domain='0' bus='0' "
                f"slot='{slot:#04x}' function='0'/>")
        return XML.format(**facts)
