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

"""Nova's libvirt driver, whose snapshots are ours."""

import collections.abc as cabc
import contextlib
import functools
import typing as ty

from nova import block_device
from nova.compute import power_state
from nova.compute import task_states
import nova.conf
from nova import context as nova_context
from nova import exception
from nova import objects
from nova.virt.libvirt import driver
from nova.virt.libvirt import utils as libvirt_utils
from oslo_log import log as logging

from nova_snap import conf as conf_module
from nova_snap.driver import bitmaps
from nova_snap.driver import features
from nova_snap.driver import images as images_module
from nova_snap.driver import progress as progress_module
from nova_snap.driver import recovery as recovery_module
from nova_snap.driver import runtime as runtime_module
from nova_snap.driver import translation
from nova_snap.flows import frozen_by_nova
from nova_snap.flows import snapshot
from nova_snap.model import domain as domain_model
from nova_snap.model import inheritance
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import backup as backup_plan
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model import request as request_model

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

PENDING = task_states.IMAGE_PENDING_UPLOAD
UPLOADING = task_states.IMAGE_UPLOADING

# Nova's word for what lies on a block device.
# :source: nova/virt/libvirt/utils.py get_disk_type_from_path
LVM = 'lvm'
RAW = 'raw'

UpdateTaskState = cabc.Callable[..., None]


class LibvirtDriver(driver.LibvirtDriver):
    """Snapshots that always put the guest back; the rest is Nova's.

    What we do not do yet is left to Nova's own code: encrypted disks, and
    containers.
    """

    def __init__(self, virtapi: ty.Any, read_only: bool = False) -> None:
        """Find at the start what would fail a snapshot at its end.

        :raises ConfigError: when an option has a value that cannot be used,
            or this Nova has not what we need
        """
        features.check()
        super().__init__(virtapi, read_only)
        conf_module.register_beside_nova(CONF)
        settings = conf_module.settings(CONF)
        self._snap = runtime_module.Runtime(
            settings, self._host, self._power_up)
        self._quiesced = frozen_by_nova.Quiesced(settings.quiesce_limit)
        self._recovery = recovery_module.Recovery(self._snap)
        # No methods: their arguments differ between the releases of Nova.
        self.resume_state_on_host_boot = functools.partial(
            self._resume, super().resume_state_on_host_boot)
        self.finish_migration = functools.partial(
            self._finish_migration, super().finish_migration)
        self._instances: dict[str, ty.Any] = {}
        self._power_up_cpus = features.power_up(self)
        # Of each instance, its mediated devices while they may be out.
        self._claims: dict[str, list[str]] = {}

    def init_host(self, host: str) -> None:
        """Start, and settle what a dead process left behind.

        :raises JournalError: when the journal cannot be kept
        """
        self._snap.check()
        super().init_host(host)
        self._recovery.at_start()

    def cleanup_host(self, host: str) -> None:
        """Let every guest go before the service ends."""
        self._recovery.stop()
        # Frozen guests first: systemd may not wait for the snapshots.
        self._quiesced.thaw_all()
        self._snap.work.stop()
        super().cleanup_host(host)

    def snapshot(self, context: ty.Any, instance: ty.Any, image_id: str,
                 update_task_state: UpdateTaskState) -> None:
        """Take a snapshot into the image that Nova has made.

        :raises InstanceNotRunning: when there is no domain
        :raises ImageNotFound: when the image is gone
        :raises NovaException: with the guest as it was
        :source: nova/virt/libvirt/driver.py snapshot
        """
        guest = self._guest(instance)
        root, why = None, _why_novas_options()
        if why is None:
            root = _root_disk(instance,
                              domain_model.parse(guest.get_xml_desc()))
            why = self._why_novas(instance, guest, root)
        if root is None or why is not None:
            LOG.info('The snapshot is taken by Nova\'s own code: %s', why,
                     instance=instance)
            self._forget_our_word(context, image_id)
            super().snapshot(context, instance, image_id, update_task_state)
            return
        image = self._image_api.get(context, image_id)
        with progress_module.InstanceProgress(context, instance) as progress:
            _try_ceph(update_task_state)

            def before_upload(image_format: str) -> None:
                update_task_state(task_state=UPLOADING, expected_state=PENDING)
                self._image_api.update(
                    context, image_id, self._create_snapshot_metadata(
                        instance.image_meta, instance, image_format,
                        image['name']), purge_props=False)

            images = images_module.request_images(context,
                                                  self._snap.settings)
            watch = progress_module.Watch(progress, self._snap.work.check,
                                          before_upload)
            domain = self._snap.domain(instance.uuid)
            with translation.in_novas_words(instance.uuid, image_id,
                                            has_domain=domain.exists), \
                    self._snap.work, self._known(instance), \
                    self._claimed(instance):
                snapshot.take(self._snap.node(images, watch),
                              _request(instance, image, root))
        LOG.info('Snapshot image upload complete', instance=instance)

    def quiesce(self, context: ty.Any, instance: ty.Any,
                image_meta: ty.Any) -> None:
        """Freeze the guest's file systems, not for ever.

        :raises InstanceQuiesceNotSupported: when this is not QEMU
        :raises QemuGuestAgentNotEnabled: when the image names no agent
        :raises InstanceQuiesceFailed: when it cannot be done; it is thawed
        """
        self._can_quiesce(instance, image_meta)
        with translation.quiesce_in_novas_words():
            self._quiesced.freeze(self._snap.local_node(), instance.uuid)

    def unquiesce(self, context: ty.Any, instance: ty.Any,
                  image_meta: ty.Any) -> None:
        """Thaw the guest's file systems.

        :raises InstanceQuiesceFailed: also when they were thawed before this
            was asked: what was snapshotted is not consistent
        """
        self._can_quiesce(instance, image_meta)
        with translation.quiesce_in_novas_words():
            if self._quiesced.thaw(instance.uuid):
                return
        LOG.error('The guest was thawed before it was asked for: the volumes '
                  'that were snapshotted are not consistent',
                  instance=instance)
        raise features.quiesce_failed('the guest was not frozen any more')

    def _why_novas(self, instance: ty.Any, guest: ty.Any,
                   root: domain_model.Disk | None) -> str | None:
        """Say why a snapshot of this guest is Nova's, if it is."""
        is_off = guest.get_power_state(self._host) == power_state.SHUTDOWN
        why = _why_novas_disk(root, is_read_by_qemu=not is_off
                              and self._takes_by_backup())
        if why is not None:
            return why
        if is_off:
            return None
        if CONF.workarounds.disable_libvirt_livesnapshot:
            return None
        if self._requires_quiesce(instance.image_meta):
            self._can_quiesce(instance, instance.image_meta)
        return None

    def _takes_by_backup(self) -> bool:
        """Tell whether guests that run are taken by backup jobs here."""
        settings = self._snap.settings
        return (backup_plan.is_wanted(settings)
                and not CONF.workarounds.disable_libvirt_livesnapshot
                and backup_plan.why_not_here(
                    settings, CONF.libvirt.virt_type,
                    self._snap.libvirt_version()) is None)

    def _resume(self, resume: cabc.Callable[..., None], context: ty.Any,
                instance: ty.Any, *args: ty.Any, **kwargs: ty.Any) -> None:
        """Let Nova start a guest that is off, but not over a saved one.

        A guest that a dead process had saved for its snapshot is started by
        the recovery. Nova would throw its memory away, so Nova's turn comes
        after that: it finds the guest running.

        :param resume: Nova's own code
        :source: nova/virt/libvirt/driver.py resume_state_on_host_boot, which
            does a hard reboot of what does not run
        """
        self._recovery.after(instance.uuid, functools.partial(
            resume, context, instance, *args, **kwargs))

    def _finish_migration(self, finish: cabc.Callable[..., None],
                          context: ty.Any, migration: ty.Any,
                          instance: ty.Any, disk_info: str, *args: ty.Any,
                          **kwargs: ty.Any) -> None:
        """Let Nova resize a guest's disks, without bitmaps of ours in them.

        :param finish: Nova's own code
        :source: nova/virt/libvirt/driver.py finish_migration;
            nova/virt/disk/api.py extend
        """
        bitmaps.remove_ours(self._snap.local_node().world.qemu_img,
                            disk_info)
        finish(context, migration, instance, disk_info, *args, **kwargs)

    def _guest(self, instance: ty.Any) -> ty.Any:
        """Return Nova's guest of an instance.

        :raises InstanceNotRunning: when there is no domain
        """
        try:
            return self._host.get_guest(instance)
        except exception.InstanceNotFound as exc:
            raise exception.InstanceNotRunning(
                instance_id=instance.uuid) from exc

    def _forget_our_word(self, context: ty.Any, image_id: str) -> None:
        """Take away what was said of another image.

        nova-api has copied it from the image of the instance, and Nova's own
        code would let it stand.
        """
        properties = self._image_api.get(context, image_id)['properties']
        kept = {name: value for name, value in properties.items()
                if name not in inheritance.SAID_OF_ONE}
        if kept == properties:
            return
        try:
            self._image_api.update(context, image_id, {'properties': kept},
                                   purge_props=True)
        except exception.NovaException as exc:
            LOG.warning('Image %s goes on saying what was said of another '
                        'one: %s', image_id, exc)

    @contextlib.contextmanager
    def _known(self, instance: ty.Any) -> cabc.Iterator[None]:
        """Have the instance at hand: no guest waits for Nova's database."""
        self._instances[instance.uuid] = instance
        try:
            yield
        finally:
            self._instances.pop(instance.uuid, None)

    @contextlib.contextmanager
    def _claimed(self, instance: ty.Any) -> cabc.Iterator[None]:
        """Have Nova give the guest's mediated devices to no other guest.

        Nova takes one for free as soon as it is in the XML of no guest, as
        it is while it is out of ours for a save.

        :source: nova/virt/libvirt/driver.py
            _get_existing_mdevs_not_assigned
        """
        self._claims[instance.uuid] = list(
            self._get_all_assigned_mediated_devices(instance))
        try:
            yield
        finally:
            self._claims.pop(instance.uuid, None)

    def _get_all_assigned_mediated_devices(
            self, instance: ty.Any = None) -> dict[str, str]:
        """Count a device that is out of its guest as assigned to it.

        Not by Nova's own claims, which it has since the release 29: they are
        for live migrations.
        """
        assigned: dict[str, str] = dict(
            super()._get_all_assigned_mediated_devices(instance))
        for uuid, mdevs in tuple(self._claims.items()):
            if instance is None or instance.uuid == uuid:
                assigned.update(dict.fromkeys(mdevs, uuid))
        return assigned

    def _power_up(self, uuid: str) -> None:
        """Power up the dedicated CPUs of a guest that is about to start."""
        # Without the option there is no such power management in this Nova.
        if not getattr(CONF.libvirt, 'cpu_power_management', False):
            return
        instance = (self._instances.get(uuid)
                    or objects.Instance.get_by_uuid(
                        nova_context.get_admin_context(), uuid))
        self._power_up_cpus(instance)


def _try_ceph(update_task_state: UpdateTaskState) -> None:
    """Go through the states that Nova goes through, in Nova's order.

    In the second one Nova tries to leave the copy to Ceph, and it comes back
    to the first: other services see these states.
    """
    update_task_state(task_state=PENDING)
    update_task_state(task_state=UPLOADING, expected_state=PENDING)
    update_task_state(task_state=PENDING, expected_state=UPLOADING)


def _root_disk(instance: ty.Any,
               domain: domain_model.Domain) -> domain_model.Disk | None:
    """Return the disk that Nova calls the instance's root disk.

    By the name that Nova has given it: libvirt sorts the disks of a bus by
    their targets, and so an ephemeral disk can come before it. Where Nova
    names none that is there, it is the first one, as for Nova.

    :source: nova/virt/libvirt/blockinfo.py get_root_info; libvirt
        src/conf/domain_conf.c virDomainDiskInsert
    """
    # Nova's database has a name for each; an object need not have it loaded.
    name = (block_device.strip_dev(instance.root_device_name)
            if 'root_device_name' in instance else None)
    return next((disk for disk in domain.drives if disk.target_dev == name),
                domain.drives[0] if domain.drives else None)


def _why_novas_options() -> str | None:
    """Say why every snapshot on this host is Nova's, if it is."""
    if CONF.libvirt.virt_type not in ('kvm', 'qemu'):
        return f'virt_type is {CONF.libvirt.virt_type}'
    if CONF.ephemeral_storage_encryption.enabled:
        return 'its disks may be encrypted'
    return None


def _why_novas_disk(root: domain_model.Disk | None, *,
                    is_read_by_qemu: bool) -> str | None:
    """Say why a snapshot of this root disk is Nova's, if it is.

    :param is_read_by_qemu: the guest's, in a backup job: on a block device
        we read raw ones alone, which are all that Nova makes there
    """
    if root is None:
        return 'it has no disk'
    if root.device not in domain_model.DISKS:
        return f'its root disk {root.target_dev} is a {root.device}'
    if root.storage == layer_model.Storage.RBD:
        why = disk_plan.why_not_read(root)
        return None if why is None else f'its root disk {why}'
    if not root.storage.is_local:
        return f'its root disk is of type {root.storage}'
    # Nova's word for where a disk lies, such as 'lvm', or for its format.
    source_type = (
        libvirt_utils.get_disk_type_from_path(root.source_path or '')
        or root.driver_format)
    if source_type == LVM and (is_read_by_qemu
                               or root.driver_format == RAW):
        source_type = root.driver_format
    if source_type not in disk_plan.SOURCE_FORMATS:
        return f'its root disk is of type {source_type}'
    return 'its root disk is encrypted' if root.encrypted else None


def _request(instance: ty.Any, image: ty.Any,
             root: domain_model.Disk) -> request_model.Request:
    properties = instance.image_meta.properties
    return request_model.Request(
        instance_uuid=instance.uuid,
        images=(request_model.RequestedImage(
            image['id'], image['name'], made_by=request_model.Party.NOVA,
            owner=image.get('owner')),),
        disk=root.target_dev,
        image_properties={
            key: str(properties.get(key, False))
            for key in ('hw_qemu_guest_agent', 'os_require_quiesce')})
