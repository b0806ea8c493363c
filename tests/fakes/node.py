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

"""One compute node with a guest, over the lives of several processes."""

import collections.abc as cabc
import dataclasses
import pathlib
import string
import typing as ty

from nova_snap import errors
from nova_snap.host import locks as locks_module
from nova_snap.journal import store as store_module
from nova_snap.model import layer as layer_model
from nova_snap.model import observer as observer_module
from nova_snap.model import phase as phase_model
from nova_snap.model import settings as settings_model
from nova_snap.model import volumes as volumes_model
from nova_snap.steps import world as world_module
from nova_snap import units
from tests.fakes import agent as fake_agent
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import disks as fake_disks
from tests.fakes.ceph import rbd as fake_rbd
from tests.fakes.cinder import volumes as fake_volumes
from tests.fakes import clock as fake_clock
from tests.fakes import disk as fake_disk
from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.fakes import export as fake_export
from tests.fakes import files as fake_files
from tests.fakes.glance import images as fake_images
from tests.fakes.glance import store as glance_store
from tests.fakes import libvirtd as fake_libvirtd
from tests.fakes import qemu_img as fake_qemu_img

HERE = pathlib.Path(__file__).parent
UUID = '0a608a7f-a14f-42bf-bf80-ca5745ad69d0'
NAME = 'instance-00000009'
BASE_IMAGE = '79d8dbda-718c-4c51-bec7-e75a0c43e97a'
PROJECT = 'c7e3e11fa81048d9865ef08026b4db9c'
HOST = 'node-1'
MACHINE_ID = '6f8a3c5d'
BOOT_ID = '11c3a2b0'
DISK_BYTES = 64 * units.MiB
PASSWORD = 'xyzzy'


@dataclasses.dataclass(frozen=True)
class GuestSpec:
    """What makes one guest differ from another.

    :ivar layers: of its root disk, with the active one
    :ivar properties: of Nova's image, in the words of Nova's objects
    :ivar in_ceph: its root disk is an image in Ceph
    :ivar second: it has another disk, a raw file: vdb
    :ivar volumes: how many Cinder volumes it has instead of that disk
    :ivar volume_type: of their disks in libvirt: 'block' or 'file'
    """

    driver_format: str = 'qcow2'
    layers: int = 2
    agent: fake_agent.Channel = fake_agent.Channel.CONNECTED
    nova: bool = False
    properties: ty.Mapping[str, str] = dataclasses.field(
        default_factory=dict)
    tpm: str = ''
    nvram: str = ''
    hostdev: str = ''
    launch_security: str = ''
    in_ceph: bool = False
    second: bool = False
    volumes: int = 0
    volume_type: str = 'block'


class FakeNode:
    """The node.

    :ivar guest: its one domain, which :meth:`start` starts
    :ivar free: bytes free for snapshots, or what tells them; None for what
        is so
    :ivar block_devices: files of its disk that are to be taken for one
    :ivar has_clones: the file system of its disks can share their blocks
    :ivar nova_compute_runs: a nova-compute is on this host
    :ivar why_away: what the door says of Nova's guests; None is nothing
    :ivar said: what the doors were told, in order: a phase with how much of
        it is done, or a word
    """

    def __init__(self, folder: pathlib.Path,
                 spec: GuestSpec = GuestSpec()) -> None:
        self.folder = folder
        self.snapshots = folder / 'snapshots'
        self.snapshots.mkdir()
        self.clock = fake_clock.FakeClock()
        self.libvirtd = fake_libvirtd.FakeLibvirtd(self.clock)
        self.glance = glance_store.FakeGlance()
        self.cinder = fake_volumes.FakeCinder(self.clock)
        self.settings = _settings(folder)
        self.free: fake_files.Free = None
        self.block_devices: set[str] = set()
        self.has_clones = False
        self.nova_compute_runs = False
        self.why_away: world_module.WhyAway | None = None
        self.host = HOST
        self.machine_id = MACHINE_ID
        self.said: list[tuple[str, int, int]] = []
        self.spec = spec
        if spec.volumes:
            self.disks = _make_volumes(folder, spec, self.cinder)
        else:
            self.disks = _make_disks(folder, spec)
        self.ceph: ty.Any = fake_disks.NoCluster()
        self.xml = guest_xml(spec, *self.disks)
        if spec.in_ceph:
            self.libvirtd.secrets.add(UUID)
        self.guest = self.libvirtd.define(self.xml)
        self.guest.agent.channel = spec.agent
        if spec.in_ceph:
            self.ceph = fake_disks.DiskCluster(
                pathlib.Path(self.disks[0]), DISK_BYTES, self._snapshotted)
        self.glance.ceph = self.ceph
        self.cinder.freeze_number = lambda: self.guest.agent.freeze_number

    def _snapshotted(self) -> bytes:
        """Return the root disk, as it is at this moment."""
        self.guest.remember_moment()
        return fake_disk.DiskFile('raw', DISK_BYTES, clusters=dict(
            self.guest.content())).to_bytes()

    def process(self, observer: observer_module.Observer | None = None
                ) -> 'Process':
        """Start a new process of ours; the last one may be dead."""
        return Process(self, observer)

    def set(self, **options: ty.Any) -> None:
        """Set options, for the processes to come."""
        self.settings = dataclasses.replace(self.settings, **options)

    # What another client does

    def delete_guest(self) -> None:
        """Delete the instance, as Nova does: its disk goes last."""
        domain = self.libvirtd.domains.get(UUID)
        if domain is not None:
            if domain.isActive():
                domain.destroy()
            if domain.isPersistent():
                domain.saved = None
                domain.snapshots.clear()
                domain.undefineFlags(0)
        pathlib.Path(self.disks[0]).unlink(missing_ok=True)

    def power_off_guest(self) -> None:
        """Pull the plug."""
        domain = self.libvirtd.domains.get(UUID)
        if domain is not None and domain.isActive():
            domain.destroy()

    def reboot_host(self) -> None:
        """Lose every QEMU process, and what is transient with it."""
        self.libvirtd.restart()
        for domain in list(self.libvirtd.domains.values()):
            if domain.isActive():
                domain.destroy()

    def hard_reboot_guest(self) -> str:
        """Define it anew and start it, as Nova does at a hard reboot.

        :returns: its new definition, which is another one
        """
        self.power_off_guest()
        domain = self.libvirtd.domains.get(UUID)
        if domain is not None:
            domain.saved = None
            domain.snapshots.clear()
            domain.checkpoints.clear()
            domain.undefineFlags(0)
        xml = self.xml.replace('<vcpu ', '<title>rebooted</title>\n  <vcpu ')
        self.guest = self.libvirtd.define(xml)
        # It has not booted as far as that.
        self.guest.agent.channel = fake_agent.Channel.DISCONNECTED
        self.guest.create()
        return xml


class Listener(observer_module.Observer):
    """Writes down what it hears."""

    def __init__(self, said: list[tuple[str, int, int]]) -> None:
        self._said = said
        self._phase = ''

    def begins(self, phase: phase_model.Phase) -> None:
        self._phase = phase
        self._said.append((phase, 0, 0))

    def advances(self, done: int, total: int) -> None:
        self._said.append((self._phase, done, total))

    def before_upload(self, image_formats: cabc.Sequence[str]) -> None:
        self._said.append(('before upload', 0, 0))

    def before_commit(self) -> None:
        self._said.append(('before commit', 0, 0))


class Process:
    """One process of ours on a node.

    :ivar calls: what it does to the outside
    """

    def __init__(self, fake: FakeNode,
                 observer: observer_module.Observer | None = None) -> None:
        self.fake = fake
        self.calls = fake_calls.Calls(before_each=fake.libvirtd.live_on)
        self.store = fake_files.FakeStore(fake.settings.journal_dir,
                                            self.calls)
        self.store.prepare()
        pathlib.Path(fake.settings.journal_dir, store_module.MACHINE_ID
                     ).write_text(f'{fake.machine_id}\n')
        qemu_img = fake_qemu_img.FakeQemuImg(fake.libvirtd, self.calls,
                                             fake.block_devices)
        self.world = world_module.World(
            settings=fake.settings,
            host=fake_libvirtd.FakeHost(fake.libvirtd, self.calls),
            qemu_img=qemu_img,
            exports=fake_export.FakeExports(qemu_img, self.calls),
            files=fake_files.FakeFiles(self.calls, fake.free,
                                         fake.block_devices,
                                         fake.libvirtd.held_files,
                                         has_clones=fake.has_clones),
            images=fake_images.FakeImages(fake.glance, self.calls),
            volumes=fake_volumes.FakeVolumes(fake.cinder, self.calls),
            clock=fake.clock, ceph=self._ceph,
            checkpoints=fake_files.FakeCheckpoints(
                fake.settings.journal_dir, self.calls),
            observer=observer or Listener(fake.said))
        self.node = world_module.Node(
            world=self.world, store=self.store,
            locks=locks_module.Locks(fake.settings.journal_dir,
                                     clock=fake.clock),
            boot_id=BOOT_ID,
            nova_compute_runs=lambda: fake.nova_compute_runs,
            why_away=fake.why_away)

    def _ceph(self, client: layer_model.CephClient) -> fake_rbd.FakeCeph:
        if not self.fake.ceph.has_bindings:
            raise errors.ConfigError(option='[libvirt]images_type',
                                     reason='no bindings')
        return fake_rbd.FakeCeph(self.fake.ceph, self.calls)


def guest_xml(spec: GuestSpec, *disks: str) -> str:
    """Write a domain's definition."""
    agent = ''
    if spec.agent != fake_agent.Channel.ABSENT:
        agent = ("<channel type='unix'><target type='virtio' "
                 "name='org.qemu.guest_agent.0'/></channel>")
    properties = ''.join(
        f'<nova:property name="{name}">{value}</nova:property>'
        for name, value in spec.properties.items())
    metadata = ''
    if spec.nova:
        metadata = _fill('nova.xml', properties=properties,
                         image='' if spec.volumes else BASE_IMAGE)
    return _fill('guest.xml', name=NAME, uuid=UUID,
                 disks=_disks_xml(spec, disks), agent=agent,
                 metadata=metadata, tpm=spec.tpm, nvram=spec.nvram,
                 hostdev=spec.hostdev, password=PASSWORD,
                 launch_security=spec.launch_security)


def volume_id(number: int) -> str:
    """Return the id of a volume of the guest's; the root disk is 0."""
    return f'70000000-0000-4000-8000-{number:012}'


def _disks_xml(spec: GuestSpec, disks: tuple[str, ...]) -> str:
    """Write the disks; the root disk alone has layers, unless of volumes."""
    if not spec.volumes:
        second = (_disk_xml(disks[-1], 'vdb', 'raw', 'file', '')
                  if spec.second else '')
        if spec.in_ceph:
            return _ceph_disk_xml(disks[0]) + second
        return _disk_xml(disks[0], 'vda', spec.driver_format, 'file',
                         '') + second
    return ''.join(
        _disk_xml(path, f'vd{string.ascii_lowercase[number]}', 'raw',
                  spec.volume_type, f'<serial>{volume_id(number)}</serial>')
        for number, path in enumerate(disks))


def _disk_xml(path: str, target: str, driver_format: str, source_type: str,
              serial: str) -> str:
    attribute = {'file': 'file', 'block': 'dev'}[source_type]
    return (f"<disk type='{source_type}' device='disk'>"
            f"<driver name='qemu' type='{driver_format}' cache='none'/>"
            f"<source {attribute}='{path}'/>"
            f"<target dev='{target}' bus='virtio'/>{serial}</disk>")


def _ceph_disk_xml(path: str) -> str:
    """Write a disk as Nova does: the user comes after the source."""
    image = pathlib.Path(path)
    name = f'{image.parent.name}/{image.name}'
    conf = image.parent.parent / pathlib.Path(fake_disk_in_ceph.CONF).name
    return ("<disk type='network' device='disk'>"
            "<driver name='qemu' type='raw' cache='writeback'/>"
            f"<source protocol='rbd' name='{name}'>"
            "<host name='192.0.2.10' port='6789'/>"
            f"<config file='{conf}'/></source>"
            f"<auth username='{fake_disk_in_ceph.USER}'>"
            f"<secret type='ceph' uuid='{UUID}'/></auth>"
            "<target dev='vda' bus='virtio'/></disk>")


def _make_volumes(folder: pathlib.Path, spec: GuestSpec,
                  cinder: fake_volumes.FakeCinder) -> list[str]:
    """Make the volumes of a guest, in Cinder and on the node."""
    paths = []
    cinder.project_id = PROJECT
    for number in range(spec.volumes):
        path = folder / f'volume-{number}'
        fake_disk.DiskFile('raw', DISK_BYTES).save(str(path))
        paths.append(str(path))
        volume = volumes_model.Volume(
            volume_id=volume_id(number), name=f'volume {number}',
            description='of the guest', status='in-use',
            size_gib=number + 1, project_id=PROJECT,
            attachments={UUID: f'/dev/vd{string.ascii_lowercase[number]}'},
            image_metadata={'os_distro': 'debian', 'image_id': BASE_IMAGE}
            if number == 0 else {})
        cinder.volumes[volume.volume_id] = volume
    return paths


def _fill(template: str, /, **values: str) -> str:
    return string.Template((HERE / template).read_text()).substitute(values)


def _make_disks(folder: pathlib.Path, spec: GuestSpec) -> list[str]:
    """Make a root disk of layers; the active one comes first.

    A second disk comes last.
    """
    paths = [_root_of(folder, spec), *(folder / f'base{number}'
                                for number in range(1, spec.layers))]
    for number in reversed(range(spec.layers)):
        below = paths[number + 1] if number + 1 < spec.layers else None
        file_format = 'qcow2'
        if number == 0:
            file_format = spec.driver_format
        elif below is None:
            file_format = 'raw'
        fake_disk.DiskFile(
            file_format, DISK_BYTES,
            backing=None if below is None else str(below),
            backing_format=_format_below(number, spec),
            # One cluster is of this layer alone.
            clusters={f'layer {number}': 'there', 'top': f'{number}'},
        ).save(str(paths[number]))
    if spec.second:
        paths.append(folder / 'second')
        fake_disk.DiskFile('raw', 2 * DISK_BYTES, clusters={
            'second': 'there'}).save(str(paths[-1]))
    return [str(path) for path in paths]


def _root_of(folder: pathlib.Path, spec: GuestSpec) -> pathlib.Path:
    if not spec.in_ceph:
        return folder / 'disk'
    conf = folder / fake_disk_in_ceph.CONF
    pool = conf.parent / fake_disk_in_ceph.POOL
    pool.mkdir(parents=True)
    conf.touch()
    return pool / f'{UUID}_disk'


def _format_below(number: int, spec: GuestSpec) -> str | None:
    if number + 1 == spec.layers:
        return None
    return 'raw' if number + 2 == spec.layers else 'qcow2'


def _settings(folder: pathlib.Path) -> settings_model.Settings:
    return settings_model.Settings(
        host=HOST, state_path=str(folder),
        instances_path=str(folder / 'instances'),
        image_cache=str(folder / 'instances' / '_base'), compute_driver=None,
        virt_type='qemu',
        connection_uri=fake_libvirtd.URI,
        snapshots_directory=str(folder / 'snapshots'),
        snapshots_directory_is_default=False, snapshot_image_format=None,
        snapshot_compression=False, images_cpu_time_limit=30,
        images_address_space_limit=units.GiB,
        rbd_user='',
        images_rbd_ceph_conf='',
        rbd_connect_timeout=5, images_rbd_glance_store_name='',
        rbd_glance_pool=None, location_hash='auto',
        rbd_flatten='auto',
        disable_libvirt_livesnapshot=False,
        ephemeral_storage_encryption=False,
        non_inheritable_image_properties=frozenset(),
        glance_num_retries=3, cinder_http_retries=3,
        volume_snapshot_timeout=60, journal_dir=str(folder / 'journal'),
        live_method='rebase', upload='file', deliver='glance',
        incremental='none',
        compression_type='zlib', ready_timeout=30,
        stall_timeout=10, freeze_timeout=10, quiesce_limit=30,
        detach_timeout=20, save_timeout=60, lock_timeout=10, bandwidth=0,
        verify_upload=True, space_reserve=units.MiB)
