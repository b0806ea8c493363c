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

"""A guest of the lab: its domain XML, its life, what its console says."""

import contextlib
import dataclasses
import pathlib
import re
import shutil
import typing as ty
import uuid as uuidlib
from xml.sax import saxutils

import libvirt

from nova_snap import units
from tests.lab import errors
from tests.lab.guest import build as guest_build
from tests.lab.guest import disk as guest_disk
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import process

# The kernel and the initramfs need about 90 MiB.
MEMORY = 160 * units.MiB

# Seconds. Two to boot alone; a loaded machine under TCG takes its time.
BOOT_TIMEOUT = 120

# What a guest does with its agent (see init) for libvirt to see one, and how
# the live XML says that it does.
CONNECTING_AGENTS = ('run', 'hung', 'refuses', 'mumbles')
AGENT_CONNECTED = "state='connected'"
RECORD_TIMEOUT = 30

# The console says what the guest says; a panic ends the guest; the rest saves
# a second of every boot under TCG.
KERNEL_WORDS = ('console=ttyS0', 'quiet', 'loglevel=3', 'panic=-1',
                'cryptomgr.notests', 'i8042.noaux', 'i8042.nokbd',
                'i8042.nopnp')

RECORD = re.compile(r'^REC (\d+)\r?\n', re.MULTILINE)

UNDEFINE = (libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
            libvirt.VIR_DOMAIN_UNDEFINE_NVRAM |
            libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
            libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)


@dataclasses.dataclass(frozen=True)
class NovaMetadata:
    """What Nova 34 writes below ``<nova:instance>``."""

    display_name: str = 'lab guest'
    image_id: str = '79d8dbda-718c-4c51-bec7-e75a0c43e97a'
    image_properties: ty.Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    disk_format: str = 'qcow2'
    container_format: str = 'bare'
    min_disk: int = 1
    min_ram: int = 0
    user_id: str = '6e4bc8939961407f83b1852b82e1f5e1'
    project_id: str = 'c7e3e11fa81048d9865ef08026b4db9c'


@dataclasses.dataclass(frozen=True)
class Spec:
    """All that makes one guest differ from another.

    :ivar agent: None for no channel, else what the guest does with it:
        ``run``, ``absent``, ``hung``, ``refuses``, ``mumbles``, ``lies``,
        ``hangs-in-freeze`` or ``hangs-in-thaw`` (see the guest's init)
    :ivar quiet: the guest looks at its disk, says what it found and writes
        nothing
    :ivar disk: the root disk; None where there are volumes
    :ivar volumes: XML of the guest's disks in the place of ``disk``, for
        volumes; records go to the first two in turn
    :ivar cache: of the root disk; ``none`` needs a file system with O_DIRECT
    :ivar iothread: QEMU works on the root disk in a thread of its own
    :ivar extra_devices: XML to put below ``<devices>``
    :ivar load: what the guest writes besides to its first two disks, as
        ``lab.load`` (see load.c)
    """

    name: str
    uuid: str
    disk: guest_disk.Disk | None
    console: pathlib.Path
    agent: str | None = None
    memory: int = MEMORY
    nova: NovaMetadata | None = None
    quiet: bool = False
    cache: str = 'none'
    volumes: tuple[str, ...] = ()
    iothread: bool = False
    extra_devices: str = ''
    load: str = ''


class Guest:
    """One guest in the lab's libvirtd.

    Every look is a new one, through a connection of its own: an object
    survives a restart of libvirtd and the undefining of its domain.
    """

    def __init__(self, libvirtd: hypervisor.Libvirtd, spec: Spec) -> None:
        self.libvirtd = libvirtd
        self.spec = spec
        self.folder = spec.console.parent

    @classmethod
    def create(cls, libvirtd: hypervisor.Libvirtd, kind: str = 'qcow2', *,
               name: str = '', **facts: ty.Any) -> 'Guest':
        """Make a disk and a spec for a new guest; nothing is defined yet.

        The folder is ``run_dir/instances/UUID``, as Nova has it.

        :param kind: as ``disk.make_disk``
        :param facts: other fields of Spec; a load is ``disk.LOAD``
        """
        uuid = str(uuidlib.uuid4())
        folder = place.make_dir(libvirtd.run_dir / 'instances' / uuid)
        disk = guest_disk.make_disk(folder, kind)
        if facts.get('load'):
            guest_disk.add_load(disk.path, disk.driver_format)
        return cls(libvirtd, Spec(name=name or f'lab-{uuid[:8]}', uuid=uuid,
                                  disk=disk, console=folder / 'console.log',
                                  **facts))

    @property
    def domain(self) -> libvirt.virDomain:
        """The domain, looked up anew.

        :raises libvirt.libvirtError: when libvirt does not know it
        """
        return self.libvirtd.connect().lookupByUUIDString(self.spec.uuid)

    @property
    def xml(self) -> str:
        """The XML that :meth:`define` gives to libvirt."""
        return domain_xml(self.spec, guest_build.parts(),
                          kvm=self.libvirtd.kvm_works)

    def define(self) -> 'Guest':
        """Define the domain."""
        with self.libvirtd.connection() as conn:
            conn.defineXML(self.xml)
        return self

    def start(self) -> 'Guest':
        """Start the domain, from its managed-save image if it has one."""
        self.domain.create()
        return self

    def boot(self) -> 'Guest':
        """Define and start, and wait until the guest writes records.

        And its load, where it has one. Where it has an agent, wait for
        libvirt to see that one, too: it may come after the first record.
        """
        since = len(self.console())
        self.define().start()
        self.wait_for(r'^REC \d+', timeout=BOOT_TIMEOUT, since=since)
        if self.spec.load:
            self.wait_for(r'^LOAD \d+', since=since)
        if self.spec.agent in CONNECTING_AGENTS:
            process.wait_until(
                lambda: AGENT_CONNECTED in self.domain.XMLDesc(),
                timeout=BOOT_TIMEOUT, what=f'the agent of {self.spec.name}')
        return self

    def destroy(self) -> None:
        """Pull the plug, if the guest runs."""
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.destroy()

    def undefine(self) -> None:
        """Undefine the domain with all that libvirt keeps of it."""
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.undefineFlags(UNDEFINE)

    def remove(self) -> None:
        """Destroy, undefine and delete the guest's folder."""
        self.destroy()
        self.undefine()
        shutil.rmtree(self.folder, ignore_errors=True)

    def shut_down(self, timeout: float = RECORD_TIMEOUT) -> None:
        """Press the power button and wait until the guest is off.

        :raises LabError: when it is not off in time
        """
        self.domain.shutdownFlags(
            libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        process.wait_until(lambda: not self.domain.isActive(),
                           timeout=timeout, what=f'{self.spec.name} off')

    def agent_timeout(self) -> int:
        """Return how long libvirt waits for the agent, in seconds.

        libvirt tells it in the status it keeps of a domain that runs.
        """
        status = self.libvirtd.folder.joinpath(
            'run', 'qemu', f'{self.spec.name}.xml').read_text()
        found = re.search(r'<agentTimeout>(.*)</agentTimeout>', status)
        if found is None:
            raise errors.LabError(f'{self.spec.name} has no agentTimeout')
        return int(found[1])

    def console(self) -> str:
        """Return all that the guest has said, over all its boots."""
        try:
            return self.spec.console.read_bytes().decode(errors='replace')
        except FileNotFoundError:
            return ''

    def wait_for(self, pattern: str, *, timeout: float = BOOT_TIMEOUT,
                 since: int = 0) -> re.Match[str]:
        """Wait until the console has a line that matches.

        :param pattern: a regular expression; ^ and $ are a line's ends
        :param since: characters of :meth:`console` to leave out
        :raises LabError: when there is none in time; the console's last
            lines are in the message
        """
        regex = re.compile(pattern, re.MULTILINE)
        matches: list[re.Match[str]] = []

        def found() -> bool:
            # A line that is not finished may still become another one.
            text = self.console()[since:]
            matches.extend(regex.finditer(text[:text.rfind('\n') + 1]))
            return bool(matches)

        try:
            process.wait_until(found, timeout=timeout,
                               what=f'{pattern!r} from {self.spec.name}')
        except errors.LabError as exc:
            last = '\n'.join(self.console().splitlines()[-20:])
            raise errors.LabError(f'{exc}; its console: {last}') from exc
        return matches[0]

    def last_record(self) -> int:
        """Return the last record that the guest reported; -1 for none."""
        return last_reported(self.spec.console)

    def is_writing(self, timeout: float = RECORD_TIMEOUT) -> bool:
        """Tell whether the guest reports new records, within a time."""
        before = self.last_record()
        try:
            process.wait_until(lambda: self.last_record() > before,
                               timeout=timeout, what='a new record')
        except errors.LabError:
            return False
        return True


def last_reported(console: pathlib.Path) -> int:
    """Return the last record that a guest reported on its console.

    :returns: -1 where there is none, or no console
    """
    try:
        said = console.read_bytes().decode(errors='replace')
    except FileNotFoundError:
        return -1
    numbers = RECORD.findall(said)
    return int(numbers[-1]) if numbers else -1


def domain_xml(spec: Spec, parts: guest_build.Parts, *, kvm: bool) -> str:
    """Write the domain as Nova would, as far as it matters here.

    The console is appended to: a restore from a managed-save image would
    empty it otherwise.
    """
    return f"""\
<domain type='{'kvm' if kvm else 'qemu'}'>
  <name>{saxutils.escape(spec.name)}</name>
  <uuid>{spec.uuid}</uuid>
  {_metadata_xml(spec.nova)}
  <memory unit='b'>{spec.memory}</memory>
  <vcpu placement='static'>1</vcpu>
  {'<iothreads>1</iothreads>' if spec.iothread else ''}
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{parts.kernel}</kernel>
    <initrd>{parts.initrd}</initrd>
    <cmdline>{saxutils.escape(_command_line(spec))}</cmdline>
    <boot dev='hd'/>
  </os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {''.join(spec.volumes) or _disk_xml(spec)}
    <controller type='usb' index='0' model='none'/>
    <serial type='file'>
      <source path={saxutils.quoteattr(str(spec.console))} append='on'/>
      <target type='isa-serial' port='0'/>
    </serial>
    {_agent_xml(spec)}
    <memballoon model='none'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    {spec.extra_devices}
  </devices>
</domain>
"""


def _command_line(spec: Spec) -> str:
    words = list(KERNEL_WORDS)
    if spec.agent is not None:
        words.append(f'lab.agent={spec.agent}')
    if spec.quiet:
        words.append('lab.quiet')
    if len(spec.volumes) > 1:
        words.append('lab.second')
    if spec.load:
        words.append(f'lab.load={spec.load}')
    return ' '.join(words)


def _disk_xml(spec: Spec) -> str:
    assert spec.disk is not None
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='{spec.disk.driver_format}'
              cache='{spec.cache}' {"iothread='1'" if spec.iothread else ''}/>
      <source file={saxutils.quoteattr(str(spec.disk.path))}/>
      <target dev='vda' bus='virtio'/>
    </disk>"""


def _agent_xml(spec: Spec) -> str:
    if spec.agent is None:
        return ''
    return """<channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>"""


def _metadata_xml(nova: NovaMetadata | None) -> str:
    if nova is None:
        return ''
    properties = ''.join(
        f'<nova:property name={saxutils.quoteattr(name)}>'
        f'{saxutils.escape(value)}</nova:property>'
        for name, value in sorted(nova.image_properties.items()))
    return f"""<metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:package version="34.0.0"/>
      <nova:name>{saxutils.escape(nova.display_name)}</nova:name>
      <nova:creationTime>2026-11-22 23:48:43</nova:creationTime>
      <nova:flavor name="lab" id="1">
        <nova:memory>{MEMORY // units.MiB}</nova:memory>
        <nova:disk>1</nova:disk>
        <nova:swap>0</nova:swap>
        <nova:ephemeral>0</nova:ephemeral>
        <nova:vcpus>1</nova:vcpus>
        <nova:extraSpecs/>
      </nova:flavor>
      <nova:image uuid="{nova.image_id}">
        <nova:containerFormat>{nova.container_format}</nova:containerFormat>
        <nova:diskFormat>{nova.disk_format}</nova:diskFormat>
        <nova:minDisk>{nova.min_disk}</nova:minDisk>
        <nova:minRam>{nova.min_ram}</nova:minRam>
        <nova:properties>{properties}</nova:properties>
      </nova:image>
      <nova:owner>
        <nova:user uuid="{nova.user_id}">admin</nova:user>
        <nova:project uuid="{nova.project_id}">admin</nova:project>
      </nova:owner>
      <nova:root type="image" uuid="{nova.image_id}"/>
      <nova:ports/>
    </nova:instance>
  </metadata>"""
