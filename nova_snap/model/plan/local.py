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

"""Decide how an instance is snapshotted on its own node, or refuse."""

import collections.abc as cabc
import functools

from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import all_disks
from nova_snap.model.plan import backup as backup_plan
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import freeze as freeze_plan
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import room as room_plan
from nova_snap.model import remedy
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model

# Said of a guest of Nova's while a nova-compute runs.
UNSEEN = 'this instance belongs to Nova, which does not see this operation'


def make_plan(request: request_model.Request,
              settings: settings_model.Settings,
              facts: plan_model.Facts,
              in_ceph: plan_model.InCeph | None = None) -> plan_model.Plan:
    """Decide how the snapshot is taken.

    :param in_ceph: what Ceph can do, where it can
    :raises Refused: when an image cannot have its name
    :raises Unsupported: when this guest or disk cannot be snapshotted
    :raises InstanceBusy: when something else is at work on the guest
    :raises NotEnoughSpace: when what is surely written does not fit
    """
    request = all_disks.spelled_out(request, facts)
    plan_model.refuse_names(request)
    disks = disk_plan.planned(request, settings, facts)
    plan_model.refuse_if_busy(facts)
    method = _method(request, settings, facts, disks, in_ceph)
    _refuse_for(method, request, facts)
    wants, requires = freeze_plan.freeze(request, facts, method)
    is_held = _is_held(settings, facts, method, disks)
    images, format_remarks = _images(
        request, settings, facts, method, disks, is_held=is_held)
    undefine, remarks = _undefine(settings, facts, method)
    if facts.domain.nova and facts.nova_compute_runs:
        remarks += (UNSEEN,)
    remarks += (format_plan.remarks_on_headers(facts) + format_remarks
                + _remarks_on_discs(facts, method)
                + all_disks.remarks(request, facts.domain)
                + backup_plan.remarks(facts, method)
                + _remarks_on_method(request, settings, facts, method, disks))
    need = room_plan.need(images, method, is_held=is_held)
    remarks += room_plan.refuse_without(settings, facts.room, need)
    memory = (facts.domain.memory if method == plan_model.Method.COLD else 0)
    room_plan.refuse_to_save(settings, facts.save_room, memory)
    return plan_model.Plan(
        instance_uuid=facts.domain.uuid, instance_name=facts.domain.name,
        method=method, state=facts.state, qemu_id=facts.qemu_id,
        nova=facts.domain.nova, images=images,
        undefine=undefine, wants_freeze=wants, requires_freeze=requires,
        has_managed_save=facts.has_managed_save,
        has_agent=facts.domain.agent == 'connected',
        hostdevs=(facts.domain.hostdevs
                  if method == plan_model.Method.COLD else ()),
        need=need, memory=memory,
        save_directory=facts.save_room.path if facts.save_room else '',
        remarks=remarks, qemu_user=facts.domain.qemu_user,
        is_held=is_held, in_ceph=in_ceph)


def _method(request: request_model.Request,
            settings: settings_model.Settings, facts: plan_model.Facts,
            disks: tuple[plan_model.PlannedDisk, ...],
            in_ceph: plan_model.InCeph | None) -> plan_model.Method:
    """Apply Nova's rule for live or cold, but for disks that Nova cannot.

    :raises Unsupported: when it must be by a backup job, and cannot
    :source: nova/virt/libvirt/driver.py LibvirtDriver.snapshot
    """
    if in_ceph is not None:
        return plan_model.Method.DIRECT
    if facts.state == domain_model.State.SHUTOFF:
        return plan_model.Method.STOPPED
    if _is_cold_wanted(request, settings):
        return plan_model.Method.COLD
    on_files = all(disk.active_layer.storage == layer_model.Storage.FILE
                   for disk in disks)
    is_better_mirrored = (
        settings.live_method == 'auto' and request.set_id is None
        and on_files and backup_plan.slows_the_guest(facts))
    if (request.set_id is not None or backup_plan.is_wanted(settings)
            or _in_ceph(disks)):
        why = backup_plan.why_not(settings, facts, disks)
        if why is None and not is_better_mirrored:
            return plan_model.Method.BACKUP
        if request.set_id is not None:
            raise plan_model.unsupported(
                facts, 'the disks of a running guest are taken at one moment '
                       f'by a backup job, but {why}. Take it with --cold, or '
                       'stop the guest first')
        if settings.live_method == 'backup':
            raise plan_model.unsupported(
                facts, f'[nova_snap]live_method is backup, but {why}. With '
                       '"auto" such a guest is taken another way')
    return plan_model.Method.LIVE if on_files else plan_model.Method.COLD


def _is_cold_wanted(request: request_model.Request,
                    settings: settings_model.Settings) -> bool:
    return (request.cold or settings.ephemeral_storage_encryption
            or settings.disable_libvirt_livesnapshot)


def _is_held(settings: settings_model.Settings, facts: plan_model.Facts,
             method: plan_model.Method,
             disks: tuple[plan_model.PlannedDisk, ...]) -> bool:
    """Tell whether a backup job holds the disks while the guest runs on.

    A cold guest, too, need not stand still until its disks have been read.
    Who wants no block jobs in running guests gets none. And a channel of a
    guest that goes on is reported to libvirt, which lets that wait for the
    end of the job, gives it up after half a minute, and does not speak with
    the guest's agent from then on.

    :source: libvirt src/qemu/qemu_driver.c processSerialChangedEvent;
        src/qemu/qemu_backup.c qemuBackupBegin, whose mask of jobs lacks
        VIR_JOB_MODIFY_MIGRATION_SAFE
    """
    return method == plan_model.Method.BACKUP or (
        method == plan_model.Method.COLD and settings.upload == 'stream'
        and not settings.disable_libvirt_livesnapshot
        and not facts.domain.has_virtio_channel
        and not backup_plan.slows_the_guest(facts)
        and backup_plan.why_not(settings, facts, disks) is None)


def _in_ceph(disks: cabc.Iterable[plan_model.PlannedDisk]) -> bool:
    """Tell whether a disk is in Ceph: a mirror of it would be a whole copy."""
    return any(disk.active_layer.storage == layer_model.Storage.RBD
               for disk in disks)


def _remarks_on_method(request: request_model.Request,
                       settings: settings_model.Settings,
                       facts: plan_model.Facts, method: plan_model.Method,
                       disks: tuple[plan_model.PlannedDisk, ...]) -> (
                           tuple[str, ...]):
    """Say why the guest is taken in this way, and in no better one."""
    return (_remarks_on_ceph(request, settings, facts, method, disks)
            + _remarks_on_auto(request, settings, facts, method, disks))


def _remarks_on_ceph(request: request_model.Request,
                     settings: settings_model.Settings,
                     facts: plan_model.Facts, method: plan_model.Method,
                     disks: tuple[plan_model.PlannedDisk, ...]) -> (
                         tuple[str, ...]):
    """Say why a disk in Ceph is taken in another way than was set."""
    if (method == plan_model.Method.DIRECT
            or not _in_ceph(disks) or request.set_id is not None
            or backup_plan.is_wanted(settings)):
        return ()
    if method == plan_model.Method.BACKUP:
        return ('a disk of it is in Ceph: it is taken by a backup job, '
                f'although [nova_snap]live_method is {settings.live_method}',)
    why = backup_plan.why_not(settings, facts, disks)
    if method == plan_model.Method.COLD and why is not None:
        return ('a disk of it is in Ceph, which is read live by a backup job '
                f'alone, but {why}',)
    return ()


def _remarks_on_auto(request: request_model.Request,
                     settings: settings_model.Settings,
                     facts: plan_model.Facts, method: plan_model.Method,
                     disks: tuple[plan_model.PlannedDisk, ...]) -> (
                         tuple[str, ...]):
    """Say why a guest that runs is not taken by a backup job."""
    if (settings.live_method != 'auto' or _is_cold_wanted(request, settings)
            or method not in (plan_model.Method.LIVE,
                              plan_model.Method.COLD)):
        return ()
    why = (backup_plan.why_not(settings, facts, disks)
           or 'its scratch files would lie on a network file system '
              f'({facts.network_file_system})')
    return (f'it is not taken by a backup job: {why}',)


def _refuse_for(method: plan_model.Method, request: request_model.Request,
                facts: plan_model.Facts) -> None:
    if method == plan_model.Method.COLD:
        _refuse_cold(request, facts)
    if method in plan_model.LIVE_METHODS:
        disk_plan.refuse_live(facts)


def _refuse_cold(request: request_model.Request,
                 facts: plan_model.Facts) -> None:
    """Refuse a guest that cannot be saved, or not be as it was after."""
    if facts.domain.bound_devices:
        raise plan_model.unsupported(
            facts, 'a guest with such devices of the host cannot be saved ('
                   + ', '.join(facts.domain.bound_devices) + '); take it '
                   'live, or stop the guest first')
    if facts.domain.hostdevs and facts.state != domain_model.State.RUNNING:
        raise plan_model.unsupported(
            facts, f'it is {facts.state} and cannot release its '
                   'passed-through devices ('
                   + ', '.join(map(str, facts.domain.hostdevs))
                   + '); let it run, or take it live')
    if facts.domain.launch_security:
        raise plan_model.unsupported(
            facts, 'the memory of an encrypted guest (SEV) cannot be saved; '
                   'stop the guest first')
    if not facts.is_persistent:
        raise plan_model.unsupported(
            facts, 'a transient domain cannot be saved; define it, or take '
                   'it live')
    if facts.state == domain_model.State.PMSUSPENDED:
        raise plan_model.unsupported(
            facts, 'it sleeps (pmsuspended) and would not sleep after a cold '
                   'snapshot; wake it up first, or take it live')
    if (facts.domain.nova and facts.nova_compute_runs
            and not request.nova_is_stopped):
        raise plan_model.unsupported(
            facts, 'it belongs to Nova, and a nova-compute on this host '
                   'would see it stop and act on it; use '
                   + remedy.image_of_server(facts.domain.uuid)
                   + ', or say --nova-is-stopped when that is so')
    _refuse_lost(facts)


def _refuse_lost(facts: plan_model.Facts) -> None:
    """Refuse a guest that could be saved, and then not be started."""
    if facts.lost:
        raise plan_model.unsupported(
            facts, 'it could not be started again after it was saved ('
                   + ', '.join(facts.lost) + '); take it live, or stop the '
                   'guest first')


def _images(request: request_model.Request,
            settings: settings_model.Settings, facts: plan_model.Facts,
            method: plan_model.Method,
            disks: cabc.Sequence[plan_model.PlannedDisk], *,
            is_held: bool) -> (
                tuple[tuple[plan_model.PlannedImage, ...], tuple[str, ...]]):
    """Return the image of each disk, and what to say of their formats."""
    named = format_plan.named(request, settings)
    images: list[plan_model.PlannedImage] = []
    remarks: list[str] = []
    for asked, disk, found in zip(request.images, disks, facts.disks,
                                  strict=True):
        in_format = functools.partial(
            _image, settings, facts, asked, disk, is_named=named is not None,
            is_read_while_sent=is_held or _streams(settings, facts, method,
                                                   disk))
        image = in_format(named or disk.active_layer.format)
        image_format, said = format_plan.that_glance_takes(
            facts.domain.name, image, found.first)
        remarks += said
        images.append(in_format(image_format))
    return tuple(images), tuple(remarks)


def _remarks_on_discs(facts: plan_model.Facts,
                      method: plan_model.Method) -> tuple[str, ...]:
    """Say what the guest does not have any more after a cold snapshot."""
    if method != plan_model.Method.COLD:
        return ()
    return tuple(f'{what}: libvirt starts the guest without it'
                 for what in facts.left_out)


def _image(settings: settings_model.Settings, facts: plan_model.Facts,
           asked: request_model.RequestedImage,
           disk: plan_model.PlannedDisk, image_format: str, *,
           is_named: bool,
           is_read_while_sent: bool) -> plan_model.PlannedImage:
    if image_format not in plan_model.IMAGE_FORMATS:
        raise plan_model.unsupported(
            facts, f'the image format {image_format} is not one of '
                   + ', '.join(plan_model.IMAGE_FORMATS))
    compress = settings.snapshot_compression and image_format == 'qcow2'
    return plan_model.PlannedImage(
        image_id=asked.image_id, name=asked.name, made_by=asked.made_by,
        image_format=image_format, is_format_named=is_named, disk=disk,
        compress=compress, place=asked.place,
        is_streamed=is_read_while_sent and plan_model.can_be_streamed(
            image_format, compress=compress))


def _streams(settings: settings_model.Settings, facts: plan_model.Facts,
             method: plan_model.Method,
             disk: plan_model.PlannedDisk) -> bool:
    """Tell whether a disk that no job holds is read while it is sent."""
    if method == plan_model.Method.DIRECT:
        return True
    if (disk.active_layer.storage == layer_model.Storage.BLOCK
            and not facts.opens_devices):
        return False
    # Of a guest that stands still the disk is read at full speed.
    return (settings.upload == 'stream'
            and method != plan_model.Method.COLD)


def _undefine(settings: settings_model.Settings, facts: plan_model.Facts,
              method: plan_model.Method) -> tuple[bool, tuple[str, ...]]:
    if method != plan_model.Method.LIVE or not facts.is_persistent:
        return False, ()
    if settings.live_method == 'copy':
        return False, ()
    if facts.domain.tpm_is_volatile:
        return False, ('its TPM state would be lost with its definition: '
                       'the domain is copied with TRANSIENT_JOB instead',)
    return True, ()
