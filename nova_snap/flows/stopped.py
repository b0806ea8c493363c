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

"""The snapshot of a guest that has no QEMU process.

Its disk is read as it lies there, and nothing is started: not a guest that
is off, and not one that Nova suspended, whose managed-save image stays.
"""

import contextlib

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import image as image_flow
from nova_snap.model import consistency as consistency_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import remedy
from nova_snap.model import result as result_model
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


def refuse_cut_short(world: world_module.World,
                     plan: plan_model.Plan) -> None:
    """Refuse a disk that has lost its end: the image would have zeros there.

    :raises Unsupported: naming the file
    """
    for disk in plan.disks:
        layer = disk.active_layer
        if layer.format != 'qcow2':
            continue
        try:
            is_cut_short = world.qemu_img.is_cut_short(layer.path)
        except errors.StorageError as exc:
            LOG.warning('It is not known whether the disk of %s is whole: %s',
                        plan.instance_name, exc)
            continue
        if is_cut_short:
            raise errors.Unsupported(
                instance=plan.instance_name,
                reason=f'{layer.path} ends before data that its tables name; '
                       'see ' + remedy.command('qemu-img', 'check', '-f',
                                               'qcow2', layer.path)
                       + ', and restore it from a backup')


def run(txn: world_module.Transaction, plan: plan_model.Plan,
        scratch: str) -> result_model.Result:
    """Take the snapshot; a guest that is started in between makes it fail.

    :raises StorageError: also when the disk is in use: qemu-img's own lock
        on it is refused
    :raises SnapError: with the guest as it was, and nothing left
    """
    with txn.hold(scratch_step.MakeScratch(scratch)), \
            contextlib.ExitStack() as opened:
        with txn.world.disk_turn():
            images = opened.enter_context(image_flow.at_rest(
                txn.world, plan, scratch,
                image_flow.AtRest(txn.world, plan)))
        return image_flow.deliver(
            txn, images.plan, images.sources, consistency_model.NOT_FROZEN,
            check=images.check if images.plan.is_streamed else None)
