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


def make_plan(request: request_model.Request,
              settings: settings_model.Settings,
              facts: plan_model.Facts) -> plan_model.Plan:
    """Decide how the snapshot is taken.

    :raises Refused: when an image cannot have its name
    :raises Unsupported: when this guest or disk cannot be snapshotted
    :raises InstanceBusy: when something else is at work on the guest
    :raises NotEnoughSpace: when what is surely written does not fit
    """
    request = all_disks.spelled_out(request, facts)
    plan_model.refuse_names(request)
    disks = disk_plan.planned(request, settings, facts)
    plan_model.refuse_if_busy(facts)
    method = _method(request, settings, facts, disks)
    if method == plan_model.Method.COLD:
        _refuse_cold(request, facts)
        _refuse_lost(facts)
    wants, requires = freeze_plan.freeze(request, facts, method)
    images, format_remarks = _images(request, settings, facts, method, disks)
    undefine, remarks = _undefine(settings, facts, method)
    if facts.domain.nova and facts.nova_compute_runs:
        remarks = (*remarks, 'this instance belongs to Nova, which does not '
                             'see this operation')
    remarks += format_plan.remarks_on_headers(facts) + format_remarks
    remarks += _remarks_on_discs(facts, method)
    remarks += all_disks.remarks(request, facts.domain)
    need = room_plan.need(images, method)
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
        remarks=remarks, qemu_user=facts.domain.qemu_user)


def _method(request: request_model.Request,
            settings: settings_model.Settings, facts: plan_model.Facts,
            disks: tuple[plan_model.PlannedDisk, ...]) -> (
                plan_model.Method):
    """Apply Nova's rule for live or cold, but for disks that Nova cannot.

    :raises Unsupported: when it must be by a backup job, and cannot
    :source: nova/virt/libvirt/driver.py LibvirtDriver.snapshot
    """
    if facts.state == domain_model.State.SHUTOFF:
        return plan_model.Method.STOPPED
    if (request.cold or settings.ephemeral_storage_encryption
            or settings.disable_libvirt_livesnapshot):
        return plan_model.Method.COLD
    if request.set_id is not None or backup_plan.is_wanted(settings):
        why = backup_plan.why_not(settings, facts, disks)
        if why is None:
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
    if all(disk.active_layer.storage == layer_model.Storage.FILE
           for disk in disks):
        return plan_model.Method.LIVE
    return plan_model.Method.COLD


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
            disks: cabc.Sequence[plan_model.PlannedDisk]) -> (
                tuple[tuple[plan_model.PlannedImage, ...], tuple[str, ...]]):
    """Return the image of each disk, and what to say of their formats."""
    named = format_plan.named(request, settings)
    images: list[plan_model.PlannedImage] = []
    remarks: list[str] = []
    for asked, disk, found in zip(request.images, disks, facts.disks,
                                  strict=True):
        in_format = functools.partial(_image, settings, facts, method, asked,
                                      disk, is_named=named is not None)
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
           method: plan_model.Method, asked: request_model.RequestedImage,
           disk: plan_model.PlannedDisk, image_format: str, *,
           is_named: bool) -> plan_model.PlannedImage:
    if image_format not in plan_model.IMAGE_FORMATS:
        raise plan_model.unsupported(
            facts, f'the image format {image_format} is not one of '
                   + ', '.join(plan_model.IMAGE_FORMATS))
    compress = settings.snapshot_compression and image_format == 'qcow2'
    return plan_model.PlannedImage(
        image_id=asked.image_id, name=asked.name, made_by=asked.made_by,
        image_format=image_format, is_format_named=is_named, disk=disk,
        compress=compress, place=asked.place,
        is_streamed=(_streams(settings, method)
                     and plan_model.can_be_streamed(image_format,
                                                    compress=compress)))


def _streams(settings: settings_model.Settings,
             method: plan_model.Method) -> bool:
    """Tell whether disks are read while they are sent."""
    if method == plan_model.Method.BACKUP:
        return True
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
