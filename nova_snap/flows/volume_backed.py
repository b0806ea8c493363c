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

"""The snapshot of an instance whose disks are Cinder's.

::

    agent     freeze |                                | thaw
    Cinder           | one snapshot of each volume,   |
                     | and until each is made         |
    watchdog         |---- thaws after quiesce_limit  |
    Glance                                              image, no data

All snapshots lie within one freeze, or each is consistent for itself alone;
the image says which. If one fails the others go, and there is no image.

:source: nova/compute/api.py snapshot_volume_backed
"""

import collections.abc as cabc
import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import frozen as frozen_module
from nova_snap.flows import upload as upload_flow
from nova_snap.model import block_device
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image as image_model
from nova_snap.model import phase as phase_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.model import volume_image
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.steps import image as image_step
from nova_snap.steps import volume_snapshot as volume_snapshot_step
from nova_snap.steps import world as world_module
from nova_snap.transfer import source as source_module
from nova_snap import units

LOG = logging.getLogger(__name__)

VolumePlan = volumes_plan.VolumePlan

# Characters that Cinder takes for a name; Glance takes as many for the
# image's, which the name of a snapshot contains.
# :source: cinder/api/validation/parameter_types.py name
NAME_LENGTH = 255


def plan(node: world_module.Node, request: request_model.Request,
         guest: plan_model.Facts) -> VolumePlan:
    """Say what would be done, and do nothing.

    :raises Refused: when it would not be done
    :raises VolumeServiceError: when Cinder cannot be asked
    """
    volumes_plan.refuse_early(request, guest)
    return volumes_plan.make_plan(request, _read(node.world, guest))


def spec(world: world_module.World, request: request_model.Request,
         made: VolumePlan) -> image_model.ImageSpec:
    """Say what the image's record holds, besides the mapping.

    :raises Refused: when the image cannot have a property
    :raises ImageServiceError: when Glance does not answer or would not take
        it: the guest was not touched yet
    """
    made_spec = volume_image.spec(
        request, made.image, made.nova, made.volumes[0].volume.image_metadata,
        world.settings.non_inheritable_image_properties)
    world.images.check(made.nova.project_uuid)
    return made_spec


def run(txn: world_module.Transaction, *, plan: VolumePlan,
        spec: image_model.ImageSpec) -> result_model.Result:
    """Take the snapshot.

    :raises SnapError: with the guest as it was, and nothing left
    """
    snapshots, freeze = _snapshot(txn, plan, spec.name)
    consistency = freeze.consistency()
    entries = plan.mapping(snapshots)
    txn.artifact(image_step.CreateImage(dataclasses.replace(
        spec, properties={
            **spec.properties,
            **block_device.properties(entries, plan.root_device_name),
            **consistency_model.say(spec.image_id, consistency)}).to_dict()))
    txn.world.observer.before_upload(())
    image = upload_flow.upload(txn, spec.image_id, source_module.NoData(),
                               consistency)
    upload_flow.commit(txn)
    return result_model.Result((image,), plan, consistency, snapshots,
                               frozen_seconds=freeze.seconds)


def _read(world: world_module.World,
          guest: plan_model.Facts) -> volumes_plan.VolumeFacts:
    """Ask Cinder for all that the plan is made from."""
    disks = volumes_plan.attached_disks(guest.domain)
    nova = guest.domain.nova
    volumes = _acting(world, nova.project_uuid if nova else None)
    attached = []
    for disk in disks:
        # They were chosen by it.
        assert disk.volume_id is not None
        volume = volumes.volume(disk.volume_id)
        if volume is None:
            raise errors.Unsupported(
                instance=guest.domain.name,
                reason=f'Cinder knows no volume {disk.volume_id} (disk '
                       f'{disk.target_dev}) in project '
                       f'{volumes.project_id()}; use credentials with the '
                       f'role {volumes_module.ROLE} in the project that it '
                       'belongs to')
        attached.append(volumes_plan.AttachedVolume(disk, volume))
    domain = world.host.domain(guest.domain.uuid)
    return volumes_plan.VolumeFacts(
        guest=guest, volumes=tuple(attached),
        local_sizes={disk.target_dev: domain.block_sizes(disk.target_dev)[0]
                     for disk in volumes_plan.local_disks(guest.domain)
                     if block_device.is_made_by_nova(disk)},
        limits=volumes.limits(), project_id=volumes.project_id())


def _acting(world: world_module.World,
            project_id: str | None) -> volumes_module.Volumes:
    """Act in the project of the instance, whose volumes they are.

    :raises Refused: when the credentials cannot, naming the missing role
    """
    try:
        return world.volumes.acting_in(project_id)
    except errors.VolumeServiceRefused as exc:
        raise errors.Refused(reason=str(exc)) from exc


def _snapshot(txn: world_module.Transaction, plan: VolumePlan,
              image_name: str) -> tuple[tuple[str, ...],
                                        frozen_module.Freeze]:
    """Make a snapshot of each volume within one freeze.

    :returns: their ids, in the order of the volumes, and the freeze
    """
    world = txn.world
    watchdog = frozen_module.Watchdog(world, plan,
                                      world.settings.quiesce_limit)
    with frozen_module.frozen(txn, plan, watchdog) as freeze:
        check = (watchdog.check if freeze.step and plan.requires_freeze
                 else _go_on)
        _refuse_other_volumes(world, plan)
        made = []
        for attached in plan.volumes:
            check()
            made.append(_request(txn, plan, attached, image_name))
        _wait(world, plan, made, check)
    ids = tuple(one.snapshot_id for one in made if one.snapshot_id)
    return ids, freeze


def _go_on() -> None:
    """Let a guest that need not be frozen be as it is."""


def _refuse_other_volumes(world: world_module.World,
                          plan: VolumePlan) -> None:
    """Refuse a guest that has other volumes than the plan was made for.

    :raises StorageError: when one was attached or detached since
    """
    found = volumes_plan.attached_disks(
        world.host.domain(plan.instance_uuid).model())
    if ([disk.volume_id for disk in found]
            != [one.volume.volume_id for one in plan.volumes]):
        raise errors.StorageError(
            reason=f'The volumes of {plan.instance_name} were changed while '
                   'the snapshot was prepared; take it again')


def _request(txn: world_module.Transaction, plan: VolumePlan,
             attached: volumes_plan.AttachedVolume, image_name: str) -> (
                 volume_snapshot_step.CreateVolumeSnapshot):
    world = txn.world
    step = volume_snapshot_step.CreateVolumeSnapshot(
        volume_id=attached.volume.volume_id,
        name=f'snapshot for {image_name}'[:NAME_LENGTH],
        description=attached.volume.description, record_id=txn.record.id,
        project_id=plan.project_id,
        timeout=world.settings.volume_snapshot_timeout)
    txn.artifact(step)
    LOG.info('Snapshot %s of volume %s is being made', step.snapshot_id,
             step.volume_id)
    return step


def _wait(world: world_module.World, plan: VolumePlan,
          made: cabc.Sequence[volume_snapshot_step.CreateVolumeSnapshot],
          check: cabc.Callable[[], None]) -> None:
    """Wait until all of them are made; Cinder is at them at once."""
    volumes = world.volumes.acting_in(plan.project_id)
    world.observer.begins(phase_model.Phase.VOLUMES)
    waited = world.clock.stopwatch()
    done = 0
    for step, attached in zip(made, plan.volumes, strict=True):
        world.observer.advances(done, plan.size_bytes)
        volume_snapshot_step.wait_created(
            world, volumes, step,
            world.settings.volume_snapshot_timeout - waited.seconds(),
            check=check)
        done += attached.volume.size_gib * units.GiB
    world.observer.advances(done, plan.size_bytes)
