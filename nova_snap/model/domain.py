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

"""A libvirt domain's XML as values.

With :mod:`nova_snap.model.hostdev` it is all of this room that knows XML. It
decides nothing: which disk can be snapshotted, and how, is for
:mod:`nova_snap.model.plan.local`.
"""

import collections.abc as cabc
import dataclasses
import math

from lxml import etree

from nova_snap import compat
from nova_snap.model import hostdev as hostdev_model
from nova_snap.model import layer as layer_model
from nova_snap.model import nova as nova_model
from nova_snap.model import secret as secret_model
from nova_snap import units

# How Nova names the disk that a guest in rescue boots from: a file in the
# instance's folder, or an image or a volume that has the instance's UUID in
# front.
# :source: nova/virt/libvirt/driver.py rescue; imagebackend.py Lvm, Rbd
RESCUE_DISKS = ('/disk.rescue', '_disk.rescue')
# What libvirt demands before an alias that is not its own.
USER_ALIAS = 'ua-'
# After each <boot order>, which begins with 1.
NEVER_BOOTED = math.inf
# The devices of <disk> that hold a disk; the others take discs in.
DISKS = ('disk', 'lun')
# The protocol of a disk that is an image in Ceph.
CEPH = 'rbd'
AGENT_CHANNEL = 'org.qemu.guest_agent.0'


class State(compat.StrEnum):
    """What the guest is doing, in libvirt's words."""

    RUNNING = 'running'
    PAUSED = 'paused'
    PMSUSPENDED = 'pmsuspended'
    SHUTOFF = 'shut off'
    CRASHED = 'crashed'
    SHUTTING_DOWN = 'shutting down'
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True)
class Mirror:
    """The running copy job of a disk, as the live XML shows it.

    :ivar path: None for a moment at its end
    :ivar is_ending: it was told to end and has not ended yet
    """

    path: str | None
    format: str | None
    job: str
    ready: bool
    is_ending: bool = False


@dataclasses.dataclass(frozen=True)
class Disk:
    """One disk.

    :ivar driver_format: what QEMU opens the active layer with; never probed
    :ivar has_slices: a layer is a part of its file, which a :class:`Layer`
        does not tell
    :ivar backing: the layers under the active one, the nearest first; known
        only from the XML of a running domain
    :ivar device: 'disk', 'lun', 'cdrom' or 'floppy'
    :ivar protocol: of a network disk: 'rbd', 'nbd', ...
    :ivar alias: libvirt's name for it, or one that Nova chose
    :ivar boot_order: its place among the devices that are booted from, None
        where its XML gives it none
    :ivar has_iothread: QEMU works on it in another thread than its main one
    :ivar is_shareable: other guests may write to it, too
    :ivar is_transient: what the guest writes is lost when it stops
    :ivar startup_policy: 'optional' or 'requisite' where libvirt starts a
        guest without a disc that is missing
    :ivar ceph: how its QEMU reaches an image in Ceph; None for other disks
    :ivar ceph_snapshot: it is this snapshot of the image, and not written to
    """

    target_dev: str
    source_type: str
    source_path: str | None
    driver_format: str | None
    serial: str | None
    encrypted: bool
    has_slices: bool
    backing: tuple[layer_model.Layer, ...]
    mirror: Mirror | None
    bus: str | None = None
    device: str = 'disk'
    alias: str = ''
    protocol: str = ''
    boot_order: int | None = None
    has_iothread: bool = False
    is_shareable: bool = False
    is_transient: bool = False
    startup_policy: str = ''
    ceph: layer_model.CephClient | None = None
    ceph_snapshot: str = ''

    @property
    def may_be_missing(self) -> bool:
        """Tell whether a saved guest is started when its file is missing.

        Its drive is empty then. A disk is not left out: its state is in the
        saved memory.

        :source: libvirt src/qemu/qemu_domain.c
            qemuDomainCheckDiskStartupPolicy; docs/formatdomain.rst
            "startupPolicy"
        """
        return (self.device in ('cdrom', 'floppy')
                and self.startup_policy in ('optional', 'requisite'))

    @property
    def volume_id(self) -> str | None:
        """Return the Cinder volume of a disk of Nova's, None without one.

        A LUN has no serial number.

        :source: nova/virt/libvirt/volume/volume.py get_config;
            nova/virt/libvirt/config.py make_libvirt_device_alias
        """
        if self.serial is not None:
            return self.serial
        if self.alias.startswith(USER_ALIAS):
            return self.alias.removeprefix(USER_ALIAS)
        return None

    @property
    def storage(self) -> layer_model.Storage:
        """Return what its active layer lies on."""
        return layer_model.storage_of(self.source_type, self.protocol)

    @property
    def active_layer(self) -> layer_model.Layer:
        """Return the layer the guest writes to.

        Only for a disk that has a path and a format.
        """
        assert self.source_path and self.driver_format
        return layer_model.Layer(self.source_path, self.driver_format,
                                 self.storage, self.ceph)


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain as its XML describes it.

    :ivar agent: 'absent' (no channel), 'disconnected' or 'connected'
    :ivar has_virtio_channel: that of an agent, or another one whose state
        libvirt follows
    :ivar drives: each <disk> in the order of the XML, also cdroms
    :ivar hostdevs: passed-through devices that can be taken out for a save
    :ivar bound_devices: a word for each other one that forbids to save it
    :ivar is_rescued: Nova has booted it from a rescue disk
    :ivar tpm_is_volatile: a TPM whose state libvirt drops with the domain
    :ivar memory: what the guest has now, bytes
    :ivar secrets: those of libvirt's that it needs when it starts
    :ivar qemu_user: uid and gid QEMU runs as, where the live XML tells
    """

    uuid: str
    name: str
    type: str
    drives: tuple[Disk, ...]
    agent: str
    hostdevs: tuple[hostdev_model.Hostdev, ...]
    bound_devices: tuple[str, ...]
    is_rescued: bool
    tpm_is_volatile: bool
    launch_security: bool
    qemu_user: tuple[int, int] | None
    nova: nova_model.NovaMetadata | None
    memory: int = 0
    secrets: tuple[secret_model.Secret, ...] = ()
    has_virtio_channel: bool = False

    @property
    def disks(self) -> tuple[Disk, ...]:
        """Return the disks, without cdroms and floppies."""
        return tuple(disk for disk in self.drives if disk.device in DISKS)

    @property
    def cdroms(self) -> tuple[Disk, ...]:
        """Return the cdroms with a disc in."""
        return tuple(disk for disk in self.drives if disk.device == 'cdrom'
                     and disk.source_path is not None)

    @property
    def root_disk(self) -> Disk | None:
        """Return what the guest boots from, None without a disk.

        For a guest of Nova's that is what Nova takes, the first one of any
        kind: a server that was booted from an ISO image has a cdrom there.
        For others it is the first disk in boot order, else the first one,
        which is also what ``<os><boot dev='hd'/>`` means.

        :source: nova/virt/libvirt/utils.py find_disk; libvirt src/qemu/
            qemu_process.c qemuProcessPrepareDeviceBootorder
        """
        if self.nova is not None:
            return self.drives[0] if self.drives else None
        return min(self.disks, default=None,
                   key=lambda disk: disk.boot_order or NEVER_BOOTED)

    def reached(self, user: str, conf: str) -> 'Domain':
        """Return the domain with its disks in Ceph as this host reaches them.

        A guest of Nova's is reached as Nova does. Another one has its user
        in its XML.

        :param user: that Nova is; '' where it is not told
        :param conf: Nova's; '' where it is not told
        """
        def reached(disk: Disk) -> Disk:
            if disk.ceph is None:
                return disk
            own = disk.ceph
            return dataclasses.replace(disk, ceph=layer_model.CephClient(
                user=(user or own.user) if self.nova else (own.user or user),
                conf=conf or own.conf))

        return dataclasses.replace(self, drives=tuple(
            reached(disk) for disk in self.drives))

    def disk(self, target_dev: str) -> Disk | None:
        """Return the disk with this target, or None."""
        for disk in self.disks:
            if disk.target_dev == target_dev:
                return disk
        return None


def parse(xml: str) -> Domain:
    """Read the XML of a domain, live or inactive."""
    root = _root(xml)
    nova = nova_model.find(root)
    return Domain(
        uuid=_text(root, './uuid'),
        name=_text(root, './name'),
        type=root.get('type', ''),
        drives=tuple(_disk(e) for e in root.findall('./devices/disk')),
        agent=_agent(root),
        has_virtio_channel=root.find(
            "./devices/channel/target[@type='virtio']") is not None,
        hostdevs=tuple(hostdev_model.find(root)),
        bound_devices=tuple(hostdev_model.find_others(root)),
        is_rescued=nova is not None and _is_rescued(root),
        tpm_is_volatile=_tpm_is_volatile(root),
        launch_security=root.find('./launchSecurity') is not None,
        qemu_user=_qemu_user(root),
        nova=nova,
        memory=units.KiB * int(_text(root, './currentMemory')
                               or _text(root, './memory', '0')),
        secrets=tuple(secret_model.find(root)))


def parse_mirror(xml: str, target_dev: str) -> Mirror | None:
    """Read the mirror of one disk; None without one, or without the disk."""
    for element in _root(xml).findall('./devices/disk'):
        if _attribute(element, './target', 'dev') == target_dev:
            return _mirror(element)
    return None


def parse_hostdevs(xml: str) -> tuple[hostdev_model.Hostdev, ...]:
    """Read the passed-through devices that can be taken out for a save."""
    return tuple(hostdev_model.find(_root(xml)))


def _root(xml: str) -> etree._Element:
    # The XML is libvirt's own, but its metadata is written by others: no
    # entity is expanded and nothing is fetched.
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    return etree.fromstring(xml.encode(), parser)


def _text(element: etree._Element, path: str, default: str = '') -> str:
    return (element.findtext(path) or default).strip()


def _attribute(element: etree._Element, path: str, name: str) -> str:
    found = element.find(path)
    return '' if found is None else found.get(name, '')


def _source_path(element: etree._Element) -> str | None:
    source = element.find('./source')
    if source is None:
        return None
    return source.get('file') or source.get('dev') or source.get('name')


def _disk(element: etree._Element) -> Disk:
    target = element.find('./target')
    driver = element.find('./driver')
    encrypted = (element.find('./encryption') is not None
                 or element.find('./source/encryption') is not None)
    return Disk(
        target_dev='' if target is None else target.get('dev', ''),
        source_type=element.get('type', 'file'),
        source_path=_source_path(element),
        driver_format=None if driver is None else driver.get('type'),
        serial=_text(element, './serial') or None,
        encrypted=encrypted,
        has_slices=(element.find('./source/slices') is not None or
                    element.find('.//backingStore/source/slices') is not None),
        backing=tuple(_backing(element)),
        mirror=_mirror(element),
        bus=None if target is None else target.get('bus'),
        device=element.get('device', 'disk'),
        alias=_attribute(element, './alias', 'name'),
        protocol=_attribute(element, './source', 'protocol'),
        boot_order=int(_attribute(element, './boot', 'order') or 0) or None,
        has_iothread=_has_iothread(element),
        is_shareable=element.find('./shareable') is not None,
        is_transient=element.find('./transient') is not None,
        startup_policy=_attribute(element, './source', 'startupPolicy'),
        ceph=_ceph(element),
        ceph_snapshot=_attribute(element, './source/snapshot', 'name'))


def _ceph(element: etree._Element) -> layer_model.CephClient | None:
    """Read how the guest's QEMU reaches a disk in Ceph.

    libvirt writes the user below the disk or below its source, as it was
    told.

    :source: libvirt docs/formatdomain.rst "auth", "config"
    """
    if _attribute(element, './source', 'protocol') != CEPH:
        return None
    return layer_model.CephClient(
        user=(_attribute(element, './source/auth', 'username')
              or _attribute(element, './auth', 'username')),
        conf=_attribute(element, './source/config', 'file'))


def _has_iothread(disk: etree._Element) -> bool:
    """Tell whether a disk, or the controller that it is on, has a thread.

    :source: libvirt docs/formatdomain.rst, "IOThreads Allocation"
    """
    drivers = [disk.find('./driver')]
    if _attribute(disk, './target', 'bus') == 'scsi':
        number = _attribute(disk, './address', 'controller') or '0'
        drivers += disk.findall(
            f"../controller[@type='scsi'][@index='{number}']/driver")
    return any(driver.get('iothread') is not None
               or driver.find('./iothreads') is not None
               for driver in drivers if driver is not None)


def _backing(element: etree._Element) -> cabc.Iterator[layer_model.Layer]:
    store = element.find('./backingStore')
    while store is not None and store.find('./source') is not None:
        store_format = store.find('./format')
        yield layer_model.Layer(
            path=_source_path(store) or '',
            format='' if store_format is None else store_format.get('type',
                                                                    ''),
            storage=layer_model.storage_of(
                store.get('type', ''),
                _attribute(store, './source', 'protocol')))
        store = store.find('./backingStore')


def _mirror(element: etree._Element) -> Mirror | None:
    mirror = element.find('./mirror')
    if mirror is None:
        return None
    mirror_format = mirror.find('./format')
    return Mirror(
        path=_source_path(mirror) or mirror.get('file'),
        format=None if mirror_format is None else mirror_format.get('type'),
        job=mirror.get('job', 'copy'),
        ready=mirror.get('ready') == 'yes',
        is_ending=mirror.get('ready') in ('abort', 'pivot'))


def _agent(root: etree._Element) -> str:
    target = root.find(
        f"./devices/channel/target[@name='{AGENT_CHANNEL}']")
    if target is None:
        return 'absent'
    return target.get('state', 'disconnected')


def _is_rescued(root: etree._Element) -> bool:
    """Look for the rescue disk, which may also be a CD or a floppy."""
    return any((_source_path(element) or '').endswith(RESCUE_DISKS)
               for element in root.findall('./devices/disk'))


def _tpm_is_volatile(root: etree._Element) -> bool:
    backend = root.find("./devices/tpm/backend[@type='emulator']")
    return backend is not None and backend.get('persistent_state') != 'yes'


def _qemu_user(root: etree._Element) -> tuple[int, int] | None:
    label = _text(root, "./seclabel[@model='dac']/label")
    user, _, group = label.replace('+', '').partition(':')
    if user.isdigit() and group.isdigit():
        return int(user), int(group)
    return None


def copy_target_xml(path: str) -> str:
    """Write the target of a block copy: a qcow2 file that is there."""
    disk = etree.Element('disk', type='file')
    etree.SubElement(disk, 'source', file=path)
    etree.SubElement(disk, 'driver', type='qcow2')
    return etree.tostring(disk, encoding='unicode')
