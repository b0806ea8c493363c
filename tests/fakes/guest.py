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

"""The guest in a domain of the fake libvirt, and what it runs on.

It writes as long as it can. Its disks, its block jobs and its agent are
here; how it is defined, started and ended is for
:mod:`tests.fakes.domain`.
"""

# ruff: noqa: N802, N803 - libvirt's names

import dataclasses
import json
import os
import typing as ty

import libvirt
from lxml import etree

from tests.fakes import agent as fake_agent
from tests.fakes import clock as fake_clock
from tests.fakes import disk as fake_disk
from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.fakes import hostdev as fake_hostdev
from tests.fakes import mirror as fake_mirror
from tests.fakes import refusal

AGENT_TARGET = "./devices/channel/target[@name='org.qemu.guest_agent.0']"

# Clusters that the guest writes to, one after the other, again and again.
CLUSTERS = 8

RUNNING = libvirt.VIR_DOMAIN_RUNNING
PAUSED = libvirt.VIR_DOMAIN_PAUSED
SHUTOFF = libvirt.VIR_DOMAIN_SHUTOFF

BLOCK_JOB_TYPES = {
    'copy': libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY,
    'pull': libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL,
    'active-commit': libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT,
}


@dataclasses.dataclass(frozen=True)
class Moment:
    """The disks as they were when a copy was taken.

    :ivar disks: what was on each, by its target, the first disk first
    :ivar frozen: nothing was under way in the guest's file systems
    """

    disks: dict[str, fake_disk.Clusters]
    frozen: bool

    @property
    def content(self) -> fake_disk.Clusters:
        """Return what was on the first disk."""
        return next(iter(self.disks.values()))


class Host(ty.Protocol):
    """What a guest and its domain need of their libvirt."""

    clock: fake_clock.FakeClock
    domains: dict[str, ty.Any]
    moments: list[Moment]
    refuses_define_during_job: bool

    def tell_job(self, target: str, status: int, error: str | None, *,
                 is_cancelled: bool = False) -> None:
        """Tell those who listen that a copy job has ended."""

    def tell_device(self, alias: str, *, refused: bool) -> None:
        """Tell those who listen what became of a device's release."""

    def next_id(self) -> int:
        """Return the number of a new QEMU process."""


class FakeGuest:
    """A guest, with the methods of its domain that reach into it.

    :ivar persistent: its definition, None for a transient domain
    :ivar live: what its QEMU process was started with, None without one
    :ivar now: its state, in libvirt's numbers
    :ivar mirror_life: how its copy jobs will go
    :ivar is_tainted: its agent was asked something behind libvirt's back
    :ivar held: device and inode of each file that its QEMU has open
    """

    def __init__(self, host: Host, xml: str) -> None:
        self._host = host
        self.persistent: str | None = xml
        self.live: str | None = None
        self.now = SHUTOFF
        self.agent = fake_agent.FakeAgent(host.clock)
        self.mirror_life = fake_mirror.MirrorLife()
        self.is_tainted = False
        self.mirrors: dict[str, fake_mirror.FakeMirror] = {}
        self.hostdevs = fake_hostdev.FakeHostdevs(self)
        self._records = 0
        self._written: dict[str, fake_disk.Clusters] = {}
        self._backing: dict[str, list[tuple[str, str]]] = {}
        self.held: set[tuple[int, int]] = set()

    def live_on(self) -> None:
        """Write a record, to each disk in turn, if the guest can."""
        if self.now != RUNNING or self.agent.frozen:
            return
        self._records += 1
        targets = list(self._backing)
        self._write(targets[self._records % len(targets)],
                    str(self._records % CLUSTERS), f'{self._records}')

    def begin(self, first: bytes) -> None:
        """Let it write how its disk begins; QEMU has it in memory yet."""
        self._write(next(iter(self._backing)), fake_disk.FIRST, first.hex())

    def _write(self, target: str, cluster: str, what: str) -> None:
        self._written.setdefault(target, {})[cluster] = what

    @property
    def runs(self) -> bool:
        """Tell whether programs run in it."""
        return bool(self.now == RUNNING)

    def tell_device(self, alias: str, *, refused: bool) -> None:
        self._host.tell_device(alias, refused=refused)

    @property
    def tree(self) -> etree._Element:
        """Return the definition that counts now."""
        return etree.fromstring(self.live or self.persistent or '')

    def content(self) -> fake_disk.Clusters:
        """Return what the guest sees on its first disk."""
        return next(iter(self.contents().values()))

    def contents(self) -> dict[str, fake_disk.Clusters]:
        """Return what the guest sees on each disk, by its target."""
        self.flush()
        return {target: fake_disk.content(*layer)
                for target, layer in self._disks().items()}

    def files_in_use(self) -> set[str]:
        """Return what its QEMU process has open for writing."""
        if self.live is None:
            return set()
        return {*(path for path, _ in self._disks().values()),
                *(m.path for m in self.mirrors.values())}

    def _disks(self) -> dict[str, tuple[str, str]]:
        """Return the active layer of each disk, by its target."""
        return {element.find('./target').get('dev'): active_layer(element)
                for element in self.tree.findall(
                    "./devices/disk[@device='disk']")}

    def flush(self) -> None:
        """Let QEMU write out what the guest wrote; only it has the file."""
        disks = self._disks() if self._written else {}
        for target, clusters in self._written.items():
            path, _ = disks[target]
            file = fake_disk.DiskFile.load(path)
            file.clusters.update(clusters)
            file.save(path)
        self._written.clear()

    def find_layers(self) -> None:
        """Look at the chains of all disks, as libvirt does at a start."""
        self._backing = {
            target: list(fake_disk.layers(*layer))[1:]
            for target, layer in self._disks().items()}
        paths = [self._source(target) for target in self._backing]
        paths += [path for layers in self._backing.values()
                  for path, _ in layers if not fake_disk.is_address(path)]
        self.held = {(found.st_dev, found.st_ino)
                     for found in map(os.stat, paths)}

    def add_live_parts(self, tree: etree._Element) -> None:
        """Write into its XML what only a guest that runs has."""
        for element in tree.findall('./devices/disk'):
            target = element.find('./target').get('dev')
            self._add_backing(element, target)
            self._look_at_mirror(element, target)
        channel = tree.find(AGENT_TARGET)
        if channel is not None:
            channel.set('state', self.agent.channel)

    def _add_backing(self, element: etree._Element, target: str) -> None:
        for path, file_format in self._backing.get(target, ()):
            is_address = fake_disk.is_address(path)
            element = etree.SubElement(
                element, 'backingStore',
                type='network' if is_address else 'file')
            etree.SubElement(element, 'format', type=file_format)
            etree.SubElement(element, 'source', {
                'name' if is_address else 'file': path})
        etree.SubElement(element, 'backingStore')

    def _look_at_mirror(self, element: etree._Element, target: str) -> None:
        mirror = self.mirrors.get(target)
        if mirror is None:
            return
        mirror.look()
        if mirror.has_ended:
            self._end_mirror(target)
            return
        if mirror.is_lost:
            self.lose_mirror(target)
            return
        found = etree.SubElement(element, 'mirror', type='file',
                                 job=mirror.job)
        if mirror.is_ending:
            found.set('ready', 'abort')
        elif mirror.ready:
            found.set('ready', 'yes')
        etree.SubElement(found, 'format', type=mirror.format)
        etree.SubElement(found, 'source', file=mirror.path)

    # Its devices

    def detachDeviceFlags(self, xml: str, flags: int = 0) -> int:
        self.require_running()
        return self.hostdevs.detach(xml, flags)

    def attachDeviceFlags(self, xml: str, flags: int = 0) -> int:
        self.require_running()
        return self.hostdevs.attach(xml, flags)

    # Its disks

    def blockInfo(self, path: str, flags: int = 0) -> list[int]:
        file = fake_disk.DiskFile.load(self._source(path))
        size = len(file.to_bytes())
        return [file.virtual_size, size, size]

    def blockJobInfo(self, path: str, flags: int = 0) -> dict[str, int]:
        self.require_running()
        mirror = self.mirrors.get(path)
        if mirror is None:
            return {}
        return {'type': BLOCK_JOB_TYPES[mirror.job], 'bandwidth': 0,
                'cur': mirror.cur, 'end': mirror.end}

    def blockRebase(self, disk: str, base: str,
                    bandwidth: int = 0, flags: int = 0) -> int:
        self.require_running()
        copies = flags & libvirt.VIR_DOMAIN_BLOCK_REBASE_COPY
        if copies and self.persistent is not None:
            raise refusal.invalid('domain is not transient')
        assert flags & libvirt.VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT
        assert flags & libvirt.VIR_DOMAIN_BLOCK_REBASE_SHALLOW
        self._start_mirror(disk, base)
        return 0

    def blockCopy(self, disk: str, destxml: str,
                  params: dict[str, int] | None = None,
                  flags: int = 0) -> int:
        self.require_running()
        if self.persistent is not None and not (
                flags & libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB):
            raise refusal.invalid('domain is not transient')
        assert flags & libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
        assert flags & libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
        target = etree.fromstring(destxml)
        assert target.find('./driver').get('type') == 'qcow2'
        self._start_mirror(disk, target.find('./source').get('file'))
        return 0

    def blockCommit(self, disk: str, base: str, top: str,
                    bandwidth: int = 0, flags: int = 0) -> int:
        """Merge a layer below the active one into its base, at once."""
        self.require_running()
        if disk in self.mirrors:
            raise refusal.refusal(
                libvirt.VIR_ERR_BLOCK_COPY_ACTIVE, 'block copy still active: '
                f"disk '{disk}' already in active block job")
        layers = [path for path, _ in self._backing[disk]]
        assert layers.index(top) + 1 == layers.index(base)
        fake_disk.commit(top, base)
        above = [self._source(disk), *layers][layers.index(top)]
        fake_disk.rebase(above, *self._backing[disk][layers.index(base)])
        self.find_layers()
        return 0

    def put_overlay(self, target: str, path: str) -> None:
        """Make a file over the active layer of a disk."""
        self.flush()
        below, below_format = self._disks()[target]
        fake_disk.DiskFile(
            'qcow2', fake_disk.DiskFile.load(below).virtual_size,
            backing=below, backing_format=below_format).save(path)

    def _start_mirror(self, target: str, path: str) -> None:
        if target in self.mirrors:
            raise refusal.refusal(
                libvirt.VIR_ERR_BLOCK_COPY_ACTIVE, 'block copy still active: '
                f"disk '{target}' already in active block job")
        source = self._source(target)
        try:
            found = fake_disk.DiskFile.load(path)
        except OSError as exc:
            raise refusal.refusal(
                libvirt.VIR_ERR_SYSTEM_ERROR, 'missing destination file for '
                f'disk {target}: {path}: {exc.strerror}') from exc
        if self.mirror_life.is_denied:
            raise refusal.refusal(
                libvirt.VIR_ERR_INTERNAL_ERROR, 'internal error: unable to '
                "execute QEMU command 'blockdev-add': Could not open "
                f"'{path}': Permission denied")
        self.mirrors[target] = fake_mirror.FakeMirror(
            source, path, dataclasses.replace(self.mirror_life),
            found.format)

    def blockJobAbort(self, disk: str, flags: int = 0) -> int:
        self.require_running()
        self._source(disk)
        mirror = self.mirrors.get(disk)
        if mirror is None:
            raise refusal.refusal(
                libvirt.VIR_ERR_INVALID_ARG, f'invalid argument: disk {disk} '
                'does not have an active block job')
        if mirror.is_ending:
            raise refusal.invalid(f"block job on disk '{disk}' is still "
                                  'being ended')
        mirror.is_ending = True
        if flags != libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC:
            assert not flags, 'a pivot would move the guest onto our copy'
            self._end_mirror(disk)
        return 0

    def _end_mirror(self, target: str) -> None:
        """Let a copy job end, well or not: libvirt calls it the same."""
        mirror = self.mirrors.pop(target)
        error = mirror.life.fails_at_end
        is_whole = mirror.ready and error is None
        self.flush()
        mirror.leave_delta(whole=is_whole)
        if is_whole:
            self.remember_moment()
        self._host.tell_job(target, libvirt.VIR_DOMAIN_BLOCK_JOB_CANCELED,
                            error, is_cancelled=not mirror.ready)

    def lose_mirror(self, target: str) -> None:
        """Let the copy run into a full file system: the job is gone."""
        self.flush()
        self.mirrors.pop(target).leave_delta(whole=False)
        self._host.tell_job(target, libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED,
                            'No space left on device')

    def _source(self, target: str) -> str:
        for element in self.tree.findall('./devices/disk'):
            if element.find('./target').get('dev') == target:
                return _path(element)
        raise refusal.refusal(libvirt.VIR_ERR_INVALID_ARG, 'invalid argument:'
                              f" disk '{target}' not found in domain")

    def remember_moment(self) -> None:
        self._host.moments.append(
            Moment(self.contents(), self.agent.frozen))

    # Its agent

    def agentSetResponseTimeout(self, timeout: int,
                                flags: int = 0) -> int:
        assert timeout >= fake_agent.SET_TIME_OUT_BLOCK
        self.agent.timeout = timeout
        return 0

    def getTime(self, flags: int = 0) -> dict[str, int]:
        self._require_agent_can_run()
        return self.agent.get_time()

    def setTime(self, time: dict[str, int] | None = None,
                flags: int = 0) -> int:
        self._require_agent_can_run()
        return self.agent.set_time()

    def fsFreeze(self, mountpoints: list[str] | None = None,
                 flags: int = 0) -> int:
        self._require_agent_can_run()
        return self.agent.freeze()

    def fsThaw(self, mountpoints: list[str] | None = None,
               flags: int = 0) -> int:
        self._require_agent_can_run()
        return self.agent.thaw()

    def qemuAgentCommand(self, cmd: str, timeout: int, flags: int) -> str:
        self._require_agent_can_run()
        self.is_tainted = True
        return json.dumps(self.agent.execute(cmd, timeout))

    def _require_agent_can_run(self) -> None:
        if self.now != RUNNING:
            raise refusal.not_running()

    def require_running(self) -> None:
        if self.live is None:
            raise refusal.not_running()


def with_disk(xml: str, target: str, path: str, file_format: str) -> str:
    """Return a definition with another file for a disk."""
    tree = etree.fromstring(xml)
    for element in tree.findall('./devices/disk'):
        if element.find('./target').get('dev') == target:
            element.find('./source').set('file', path)
            element.find('./driver').set('type', file_format)
    return etree.tostring(tree, encoding='unicode')


def without_missing_discs(xml: str) -> str:
    """Return the definition with which a saved guest is started.

    :raises libvirtError: for a disc that is missing and must not be
    """
    tree = etree.fromstring(xml)
    for element in tree.findall("./devices/disk[@device='cdrom']"):
        source = element.find('./source')
        if source is None or os.path.exists(_path(element)):
            continue
        if source.get('startupPolicy') not in ('optional', 'requisite'):
            raise refusal.refusal(
                libvirt.VIR_ERR_SYSTEM_ERROR, 'Cannot access storage file '
                f"'{_path(element)}': No such file or directory",
                libvirt.VIR_FROM_STORAGE)
        element.remove(source)
    return etree.tostring(tree, encoding='unicode')


def active_layer(element: etree._Element) -> tuple[str, str]:
    """Return the file of a disk, and what the domain takes it for."""
    return _path(element), element.find('./driver').get('type')


def _path(element: etree._Element) -> str:
    source = element.find('./source')
    if source.get('protocol') == 'rbd':
        return fake_disk_in_ceph.file_of(source.find('./config').get('file'),
                                 source.get('name'))
    return str(source.get('file') or source.get('dev'))
