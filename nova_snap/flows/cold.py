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

"""The cold snapshot: the guest stands still for the point in time.

::

    guest  saved |                                 | started, as it was
    disk          read ============================|
    or            cloned |
    or            held by a backup job |

Which of these it waits for, the plan says. It is back, in the state it was in
and with all its devices, before the upload begins.

:source: nova/virt/libvirt/driver.py snapshot
"""

import collections.abc as cabc
import contextlib
import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import held as held_flow
from nova_snap.flows import image as image_flow
from nova_snap.model import consistency as consistency_model
from nova_snap.model import domain as domain_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import result as result_model
from nova_snap.steps import freeze as freeze_step
from nova_snap.steps import hostdev as hostdev_step
from nova_snap.steps import memory as memory_step
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


def run(txn: world_module.Transaction, plan: plan_model.Plan,
        scratch: str) -> result_model.Result:
    """Take the snapshot.

    :raises SnapError: with the guest as it was, and nothing left
    """
    world = txn.world
    with txn.hold(scratch_step.MakeScratch(scratch)), \
            contextlib.ExitStack() as opened, \
            world_module.ending(world.disk_turn) as end_turn:
        # The guest does not stand still while it waits for its turn.
        held = None
        with _without_hostdevs(txn, plan), _saved(txn, plan):
            rest = image_flow.AtRest(world, plan)
            chains = image_flow.cloned(world, plan, scratch, rest)
            if chains is None and plan.is_held:
                held = opened.enter_context(_held(txn, plan, scratch, rest))
            elif chains is None:
                images = opened.enter_context(
                    image_flow.at_rest(world, plan, scratch, rest))
        _refuse_missing(world, plan)
        _set_clock(txn, plan)
        if held is not None:
            return held_flow.deliver(txn, plan, held,
                                     consistency_model.NOT_FROZEN,
                                     end_turn=end_turn)
        plan = dataclasses.replace(plan, is_held=False)
        if chains is not None:
            images = opened.enter_context(
                image_flow.kept(world, plan, chains, scratch))
        end_turn()
        return image_flow.deliver(txn, images.plan, images.sources,
                                  consistency_model.NOT_FROZEN)


@contextlib.contextmanager
def _without_hostdevs(txn: world_module.Transaction,
                      plan: plan_model.Plan) -> cabc.Iterator[None]:
    """Take the passed-through devices out of the guest for the block.

    :raises HostdevStuck: when the guest does not release one; it has all
    """
    world = txn.world
    domain = world.host.domain(plan.instance_uuid)
    with contextlib.ExitStack() as detached:
        for step in hostdev_step.DetachHostdev.all_of(
                domain, plan.qemu_id, plan.hostdevs,
                world.settings.detach_timeout):
            detached.enter_context(txn.hold(step))
        yield


@contextlib.contextmanager
def _saved(txn: world_module.Transaction,
           plan: plan_model.Plan) -> cabc.Iterator[None]:
    """Have the guest saved for the block, and then as it was."""
    world = txn.world
    saved = world.clock.stopwatch()
    with txn.hold(memory_step.SaveMemory(
            uuid=plan.instance_uuid, qemu_id=plan.qemu_id,
            paused=plan.state == domain_model.State.PAUSED,
            timeout=world.settings.save_timeout)):
        yield
    LOG.info('Guest %s saved for %.1f s', plan.instance_name, saved.seconds())


@contextlib.contextmanager
def _held(txn: world_module.Transaction, plan: plan_model.Plan, scratch: str,
          rest: image_flow.AtRest) -> cabc.Iterator[held_flow.Job]:
    """Have a backup job hold the disks of a guest that is saved.

    It begins before the guest goes on: at the moment of the save.

    :raises StorageError: when the guest has run since
    :raises BackupFailed: when libvirt refuses the job; the guest goes on
    """
    backup = held_flow.step(plan, scratch)
    with held_flow.prepared(txn, plan, backup), \
            contextlib.ExitStack() as begun:
        rest.check()
        started = memory_step.StartPaused(
            uuid=plan.instance_uuid,
            paused=plan.state == domain_model.State.PAUSED)
        with txn.hold(started):
            backup.qemu_id = started.qemu_id
            job = begun.enter_context(txn.hold(backup))
        yield held_flow.Job(job, backup, scratch)


def _refuse_missing(world: world_module.World,
                    plan: plan_model.Plan) -> None:
    """Refuse a guest that has not every device that it had.

    A guest that was stopped since gets them with its next start.

    :raises HostdevLost: naming those that it has not
    """
    domain = world.host.domain(plan.instance_uuid)
    if not plan.hostdevs or not domain.is_active():
        return
    missing = set(plan.hostdevs) - set(domain.model().hostdevs)
    if missing:
        raise errors.HostdevLost(
            instance=plan.instance_name,
            hostdev=', '.join(sorted(map(str, missing))),
            reason='it is not in the guest as it was')


def _set_clock(txn: world_module.Transaction, plan: plan_model.Plan) -> None:
    """Give the guest the time that passed it by, if it can take it.

    :source: nova/virt/libvirt/guest.py sync_guest_time
    """
    world = txn.world
    if plan.state != domain_model.State.RUNNING or not plan.has_agent:
        return
    try:
        with txn.hold(freeze_step.BoundAgentWaits(
                plan.instance_uuid, world.settings.freeze_timeout)):
            world.host.domain(plan.instance_uuid).set_time(
                int(world.clock.time()))
    except (errors.HypervisorError, errors.UndoFailed) as exc:
        LOG.warning('The clock of %s may be late: %s', plan.instance_name,
                    exc.reason)
