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

from nova_snap import errors
from nova_snap.model import domain as domain_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import freeze as freeze_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import room as room_plan
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model


def make_plan(
    request: request_model.Request,
    settings: settings_model.Settings,
    facts: plan_model.Facts,
) -> plan_model.Plan:
    """Decide how the snapshot is taken.

    :raises Refused: when the image cannot have this name
    :raises Unsupported: when this guest or disk cannot be snapshotted
    :raises InstanceBusy: when something else is at work on the guest
    :raises NotEnoughSpace: when the worst case does not fit
    """
    if not request.image_exists:
        plan_model.refuse_name(request.name)
    disk = disk_plan.supported(settings, facts)
    plan_model.refuse_if_busy(facts)
    method = _method(request, settings, facts)
    if method == plan_model.Method.COLD:
        _refuse_cold(request, facts)
    wants, requires = freeze_plan.freeze(request, facts, method)
    image_format = _image_format(request, settings, facts)
    undefine, remarks = _undefine(settings, facts, method)
    if facts.domain.nova and facts.nova_compute_runs:
        remarks = (*remarks, 'this instance belongs to Nova, which does not '
                             'see this operation')
    plan = plan_model.Plan(
        instance_uuid=facts.domain.uuid, instance_name=facts.domain.name,
        method=method, state=facts.state, qemu_id=facts.qemu_id,
        target_dev=disk.target_dev, chain=facts.chain,
        virtual_size=facts.virtual_size, allocated=facts.allocated,
        image_format=image_format,
        compress=settings.snapshot_compression and image_format == 'qcow2',
        undefine=undefine, wants_freeze=wants, requires_freeze=requires,
        has_managed_save=facts.has_managed_save,
        has_agent=facts.domain.agent == 'connected',
        hostdevs=(facts.domain.hostdevs
                  if method == plan_model.Method.COLD else ()),
        needed=_needed(settings, facts, method), remarks=remarks)
    _refuse_without_space(settings, facts, plan)
    return plan


def _method(
    request: request_model.Request,
    settings: settings_model.Settings,
    facts: plan_model.Facts,
) -> plan_model.Method:
    """Apply Nova's rule for live or cold.

    :source: nova/virt/libvirt/driver.py LibvirtDriver.snapshot
    """
    if facts.state == domain_model.State.SHUTOFF:
        return plan_model.Method.STOPPED
    live = (not request.cold
            and not any(layer.is_block for layer in facts.chain[:1])
            and not settings.ephemeral_storage_encryption
            and not settings.disable_libvirt_livesnapshot)
    return plan_model.Method.LIVE if live else plan_model.Method.COLD


def _refuse_cold(
    request: request_model.Request, facts: plan_model.Facts
) -> None:
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
            facts,
            'the memory of an encrypted guest (SEV) '
            'cannot be saved; stop the guest first',
        )
    if not facts.is_persistent:
        raise plan_model.unsupported(
            facts,
            'a transient domain cannot be saved; define it, or take it live',
        )
    if facts.state == domain_model.State.PMSUSPENDED:
        raise plan_model.unsupported(
            facts,
            'it sleeps (pmsuspended) and would not '
            'sleep after a cold snapshot; wake it up '
            'first, or take it live',
        )
    if (facts.domain.nova and facts.nova_compute_runs
            and not request.nova_is_stopped):
        raise plan_model.unsupported(
            facts, 'it belongs to Nova, and a nova-compute on this host '
                   'would see it stop and act on it; use "openstack server '
                   'image create", or say --nova-is-stopped when that is so')


def _image_format(
    request: request_model.Request,
    settings: settings_model.Settings,
    facts: plan_model.Facts,
) -> str:
    image_format = (request.image_format or settings.snapshot_image_format
                    or facts.chain[0].format)
    if image_format not in plan_model.IMAGE_FORMATS:
        raise plan_model.unsupported(
            facts, f'the image format {image_format} is not one of '
                   + ', '.join(plan_model.IMAGE_FORMATS))
    return image_format


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


def _needed(settings: settings_model.Settings, facts: plan_model.Facts,
            method: plan_model.Method) -> int:
    if method == plan_model.Method.LIVE:
        return room_plan.live(facts.virtual_size, facts.allocated,
                          worst_case=settings.worst_case_space)
    return room_plan.flat_image(facts.virtual_size, facts.allocated,
                            worst_case=settings.worst_case_space)


def _refuse_without_space(
    settings: settings_model.Settings,
    facts: plan_model.Facts,
    plan: plan_model.Plan,
) -> None:
    if plan.needed <= facts.free:
        return
    remedy = 'Free that much, or put snapshots_directory elsewhere'
    if settings.worst_case_space:
        remedy += (', or set [nova_snap]worst_case_space to false to count '
                   'only what is allocated now')
    raise errors.NotEnoughSpace(
        path=settings.snapshots_directory, remedy=remedy,
        free_bytes=facts.free, needed_bytes=plan.needed)
