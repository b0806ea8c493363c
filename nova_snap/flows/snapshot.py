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

"""One snapshot, from the request to the active images."""

import collections.abc as cabc
import contextlib
import dataclasses
import functools
import os

from oslo_log import log as logging

from nova_snap.flows import backup
from nova_snap.flows import cold
from nova_snap.flows import direct
from nova_snap.flows import facts as facts_module
from nova_snap.flows import incremental
from nova_snap.flows import into_ceph as into_ceph_flow
from nova_snap.flows import live
from nova_snap.flows import operation
from nova_snap.flows import room as room_flow
from nova_snap.flows import stopped
from nova_snap.flows import volume_backed
from nova_snap.host import files as files_module
from nova_snap.journal import record as record_model
from nova_snap.model import image as image_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import freeze as freeze_plan
from nova_snap.model.plan import into_ceph as into_ceph_plan
from nova_snap.model.plan import local as local_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import room as room_plan
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.steps import image as image_step
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

Flow = cabc.Callable[
    [world_module.Transaction, plan_model.Plan, str], result_model.Result]

FLOWS: dict[plan_model.Method, Flow] = {
    plan_model.Method.LIVE: live.run,
    plan_model.Method.BACKUP: backup.run,
    plan_model.Method.DIRECT: direct.run,
    plan_model.Method.COLD: cold.run,
    plan_model.Method.STOPPED: stopped.run,
}

# A guest that does not thaw can be saved, or stopped, all the same.
ASK_AGENT = frozenset(freeze_plan.FREEZES)


def plan(node: world_module.Node, request: request_model.Request) -> (
        plan_model.Plan | volumes_plan.VolumePlan):
    """Say what would be done, and do nothing.

    :raises Refused: when it would not be done
    :raises ConfigError: when an option names a pool or a store that is none
    :raises VolumeServiceError: when Cinder has to be asked and cannot be
    :raises ImageServiceError: when Glance has to be asked and cannot be
    :raises StorageError: when Ceph has to be asked and cannot be, or a disk
        cannot be looked at
    """
    facts = facts_module.read(node, request)
    if disk_plan.is_volume_backed(request, facts.domain):
        return volume_backed.plan(node, request, facts)
    world, remarks = node.world, list[str]()
    in_ceph, why = direct.look(world, request, facts)
    if in_ceph is None and why:
        remarks.append(f'Ceph does not make the snapshot: {why}')
    into_ceph, why = (into_ceph_flow.look(world, request, facts)
                      if in_ceph is None else (None, ''))
    if into_ceph is None and why:
        remarks.append(f'the image is uploaded, not written into Ceph: {why}')
    settings = (world.settings if into_ceph is None
                else into_ceph_plan.as_written(world.settings))
    made = local_plan.make_plan(request, settings, facts, in_ceph)
    return incremental.look(world, dataclasses.replace(
        made, into_ceph=into_ceph, remarks=(*remarks, *made.remarks)))


def dry_run(node: world_module.Node, request: request_model.Request) -> (
        plan_model.Plan | volumes_plan.VolumePlan):
    """Say what would be done, after all looks that change nothing.

    :raises Refused: when it would not be done
    :raises SnapError: as :func:`plan`
    """
    made = plan(node, request)
    _look_closer(node.world, made)
    return made


def _look_closer(world: world_module.World,
                 made: plan_model.Plan | volumes_plan.VolumePlan) -> None:
    """Look at what takes too long for a list of all instances.

    :raises Unsupported: naming a disk of which no image is to be made
    """
    if (isinstance(made, plan_model.Plan)
            and made.method == plan_model.Method.STOPPED):
        stopped.refuse_cut_short(world, made)


def take(node: world_module.Node,
         request: request_model.Request) -> result_model.Result:
    """Take the snapshot and leave active images in Glance.

    :raises Refused: before anything was touched
    :raises RollbackIncomplete: when something could not be put back; the
        record stays and "nova-snap recover" tries again
    :raises SnapError: otherwise, with the guest as it was, nothing left
    """
    with operation.begun(node, request.instance_uuid,
                         nova_is_stopped=request.nova_is_stopped) as begun:
        made = plan(node, request)
        for remark in made.remarks:
            LOG.warning('Instance %s: %s', made.instance_name, remark)
        scratch = os.path.join(
            node.world.settings.snapshots_directory,
            files_module.SCRATCH_PREFIX + begun.record_id)
        run = _prepare(node.world, request, made, scratch)
        images = _images(request, made)
        ids = ', '.join(image.id for image in images)
        with contextlib.ExitStack() as stack:
            with node.locks.room():
                # As it is when no other operation can reserve any more.
                reservations = _reservations(node, made, scratch)
                txn = stack.enter_context(begun.transaction(
                    made.method, made.instance_name, images, reservations,
                    asks_agent=made.method in ASK_AGENT))
            watch = node.world.clock.stopwatch()
            LOG.info('Snapshot %s of %s starts (%s)', ids,
                     made.instance_name, made.method)
            result = run(txn)
        # Another one may have taken the place of an image.
        ids = ', '.join(image.image_id for image in result.images)
        LOG.info('Snapshot %s of %s done in %.1f s', ids,
                 made.instance_name, watch.seconds())
    return result


def _images(request: request_model.Request,
            made: plan_model.Plan | volumes_plan.VolumePlan) -> (
                list[record_model.Image]):
    images = (request.images if isinstance(made, volumes_plan.VolumePlan)
              else made.images)
    return [record_model.Image(image.image_id, image.name)
            for image in images]


def _reservations(node: world_module.Node,
                  made: plan_model.Plan | volumes_plan.VolumePlan,
                  scratch: str) -> tuple[record_model.Reservation, ...]:
    """Return what a snapshot will write on this host, if there is room.

    :raises NotEnoughSpace: when other operations have reserved it since
    """
    if isinstance(made, volumes_plan.VolumePlan):
        return ()
    room_plan.refuse_without(node.world.settings,
                             room_flow.of_snapshots(node), made.need)
    reservations = [record_model.Reservation(scratch, made.need.likely)]
    if made.memory:
        room_plan.refuse_to_save(node.world.settings,
                                 room_flow.of_saves(node), made.memory)
    if made.memory and made.save_directory:
        # :source: libvirt src/qemu/qemu_driver.c qemuDomainManagedSavePath
        reservations.append(record_model.Reservation(
            os.path.join(made.save_directory, f'{made.instance_name}.save'),
            made.memory))
    return tuple(reservations)


def _prepare(world: world_module.World, request: request_model.Request,
             made: plan_model.Plan | volumes_plan.VolumePlan,
             scratch: str) -> cabc.Callable[[world_module.Transaction],
                                            result_model.Result]:
    """Return the flow with all that can be found out before it starts.

    :raises ImageServiceError: when Glance does not answer or would not take
        an image: the guest was not touched yet
    """
    if isinstance(made, volumes_plan.VolumePlan):
        return functools.partial(
            volume_backed.run, plan=made,
            spec=volume_backed.spec(world, request, made))
    _look_closer(world, made)
    records = _records(world, request, made)

    def run(txn: world_module.Transaction) -> result_model.Result:
        for record in records:
            txn.artifact(record)
        return FLOWS[made.method](txn, made, scratch)

    return run


def _records(world: world_module.World, request: request_model.Request,
             made: plan_model.Plan) -> list[step_module.Step]:
    """Return the step that makes the record of each image, or has it.

    :raises ImageServiceError: when Glance does not answer or would not take
        one: the guest was not touched yet
    """
    if all(image.made_by == request_model.Party.NOVA
           for image in request.images):
        return [image_step.AdoptImage.of_nova(image)
                for image in request.images]
    nova, base = made.nova, None
    world.images.check(nova.project_uuid if nova else None)
    if nova is not None and nova.image_uuid:
        base = world.images.get(nova.image_uuid)
    return [image_step.CreateImage(image_model.snapshot_spec(
        request, request_model.RequestedImage(
            planned.image_id, planned.name, place=planned.place),
        image_model.Origin(planned.disk.virtual_size, nova, base,
                           planned.disk.is_root),
        disk_format=planned.image_format,
        non_inheritable=world.settings.non_inheritable_image_properties
    ).to_dict()) for planned in made.images]
