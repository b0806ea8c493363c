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

"""The live snapshot of a guest that is never undefined: a backup job.

::

    guest   writes ......................................................>
    agent     freeze | thaw
    job              begins ====== disks as they were, over NBD ====| ends
    image                  read ====== sent ====== proven whole ===== | commit

The moment at which the job begins is the point in time of all its disks.
There is no delta, and no flat image but where the format needs one.

:source: libvirt docs/kbase/live_full_disk_backup.rst; docs/formatbackup.rst
"""

import dataclasses

from nova_snap import errors
from nova_snap.flows import frozen as frozen_module
from nova_snap.flows import held as held_flow
from nova_snap.flows import incremental
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import result as result_model
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import world as world_module


def run(txn: world_module.Transaction, plan: plan_model.Plan,
        scratch: str) -> result_model.Result:
    """Take the snapshot.

    :raises SnapError: with the guest as it was, and nothing left
    """
    world = txn.world
    backup = held_flow.step(plan, scratch)
    # Its turn comes first: what waits for that must not hold the guest, nor
    # let what it overwrites pile up.
    with world_module.ending(world.disk_turn) as end_turn, \
            txn.hold(scratch_step.MakeScratch(scratch)), \
            held_flow.prepared(txn, plan, backup), \
            incremental.tracking(txn, plan, backup) as tracking, \
            txn.hold(backup, start=False) as job:
        _refuse_busy(world, plan)
        tracking.show()
        with frozen_module.frozen(txn, plan) as freeze:
            job.start()
        tracking.hide()
        result = held_flow.deliver(
            txn, plan, held_flow.Job(job, backup, scratch),
            freeze.consistency(), end_turn=end_turn, tracking=tracking)
    return dataclasses.replace(result, frozen_seconds=freeze.seconds)


def _refuse_busy(world: world_module.World, plan: plan_model.Plan) -> None:
    """Refuse a guest that a job of libvirt's has begun on since the plan.

    Ours would wait half a minute for its end, with the guest frozen.

    :raises InstanceBusy: then
    :source: libvirt src/qemu/qemu_domainjob.c, QEMU_JOB_WAIT_TIME
    """
    job = world.host.domain(plan.instance_uuid).job()
    if job is not None:
        raise errors.InstanceBusy(
            instance=plan.instance_name,
            reason=f'a {job} of it is under way; wait for its end')
