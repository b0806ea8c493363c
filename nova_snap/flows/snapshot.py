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

"""One snapshot, from the request to the active image."""

import collections.abc as cabc
import functools
import os

from oslo_log import log as logging

from nova_snap.flows import cold
from nova_snap.flows import facts as facts_module
from nova_snap.flows import live
from nova_snap.flows import node as node_module
from nova_snap.flows import recovery
from nova_snap.flows import stopped
from nova_snap.flows import volume_backed
from nova_snap.host import files as files_module
from nova_snap.journal import transaction
from nova_snap.model import image as image_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import local as local_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.steps import image as image_step
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

Flow = cabc.Callable[
    [transaction.Transaction, plan_model.Plan, str, str],
    result_model.Result]

FLOWS: dict[plan_model.Method, Flow] = {
    plan_model.Method.LIVE: live.run,
    plan_model.Method.COLD: cold.run,
    plan_model.Method.STOPPED: stopped.run,
}


def plan(node: node_module.Node, request: request_model.Request) -> (
        plan_model.Plan | volumes_plan.VolumePlan):
    """Say what would be done, and do nothing.

    :raises Refused: when it would not be done
    :raises VolumeServiceError: when Cinder has to be asked and cannot be
    """
    facts = facts_module.read(node, request.instance_uuid)
    if disk_plan.is_volume_backed(facts.domain):
        return volume_backed.plan(node, request, facts)
    return local_plan.make_plan(request, node.world.settings, facts)


def take(node: node_module.Node,
         request: request_model.Request) -> result_model.Result:
    """Take the snapshot and leave an active image in Glance.

    :raises Refused: before anything was touched
    :raises RollbackIncomplete: when something could not be put back; the
        record stays and "nova-snap recover" tries again
    :raises SnapError: otherwise, with the guest as it was, nothing left
    """
    node.store.prepare()
    with node.locks.instance(request.instance_uuid):
        recovery.settle_instance(node, request.instance_uuid,
                                 nova_is_stopped=request.nova_is_stopped)
        made = plan(node, request)
        for remark in made.remarks:
            LOG.warning('Instance %s: %s', made.instance_name, remark)
        prepared = _prepare(node, request, made)
        record = node.new_record(made.method, made.instance_uuid,
                                 made.instance_name, request.image_id,
                                 request.name)
        with transaction.Transaction(node.store, record, node.world) as txn:
            started = node.world.clock.monotonic()
            LOG.info('Snapshot %s of %s starts (%s)', request.image_id,
                     made.instance_name, made.method)
            result = prepared(txn)
        LOG.info('Snapshot %s of %s done in %.1f s', request.image_id,
                 made.instance_name,
                 node.world.clock.monotonic() - started)
    return result


def _prepare(node: node_module.Node, request: request_model.Request,
             made: plan_model.Plan | volumes_plan.VolumePlan) -> (
                 cabc.Callable[[transaction.Transaction],
                               result_model.Result]):
    """Return the flow with all that can be found out before it starts.

    :raises ImageServiceError: when Glance does not answer or would not take
        the image: the guest was not touched yet
    """
    if isinstance(made, volumes_plan.VolumePlan):
        return functools.partial(
            volume_backed.run, plan=made,
            spec=volume_backed.spec(node.world, request, made))
    image = _image(node.world, request, made)

    def run(txn: transaction.Transaction) -> result_model.Result:
        txn.artifact(image)
        scratch = os.path.join(
            node.world.settings.snapshots_directory,
            files_module.SCRATCH_PREFIX + txn.record.id)
        return FLOWS[made.method](txn, made, request.image_id, scratch)

    return run


def _image(world: world_module.World, request: request_model.Request,
           made: plan_model.Plan) -> step_module.Step:
    if request.image_exists:
        return image_step.AdoptImage(request.image_id)
    return image_step.CreateImage(_spec(world, request, made).to_dict())


def _spec(world: world_module.World, request: request_model.Request,
          made: plan_model.Plan) -> image_model.ImageSpec:
    """Say what the image's record holds.

    :raises ImageServiceError: when Glance does not answer or would not take
        it: the guest was not touched yet
    """
    metadata = world.host.domain(request.instance_uuid).model().nova
    world.images.check(metadata.project_uuid if metadata else None)
    base = None
    if metadata is not None and metadata.image_uuid:
        base = world.images.get(metadata.image_uuid)
    return image_model.snapshot_spec(
        request, image_model.Origin(made.virtual_size, metadata, base),
        disk_format=made.image_format,
        non_inheritable=world.settings.non_inheritable_image_properties)
