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

"""The live snapshot: the guest runs on.

::

    guest   writes ......................................................>
    domain  defined |un-| defined ........................................
    mirror          start ======= copying ======= ready === abort
    agent                                            freeze | thaw
    delta                                                   ^ this moment
    flat                                                      convert, upload

The mirror copies the active layer of the root disk into a delta over the
same backing file. Told to abort it writes what is left, and then the delta
stops: delta and backing file together are the disk at that moment.

:source: nova/virt/libvirt/driver.py _live_snapshot
"""

import contextlib
import dataclasses
import os

from oslo_log import log as logging

from nova_snap.flows import frozen as frozen_module
from nova_snap.flows import image as image_flow
from nova_snap.flows import image_format as format_flow
from nova_snap.flows import room as room_flow
from nova_snap.hypervisor import blockjob
from nova_snap.hypervisor import events as events_module
from nova_snap.model import layer as layer_model
from nova_snap.model import phase as phase_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import result as result_model
from nova_snap.steps import mirror as mirror_step
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import undefine as undefine_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# libvirt's helper for AppArmor may read files that end so, wherever they lie.
# :source: libvirt src/security/apparmor/usr.lib.libvirt.virt-aa-helper.in
DELTA_NAME = 'delta.qcow2'


def run(txn: world_module.Transaction, plan: plan_model.Plan,
        scratch: str) -> result_model.Result:
    """Take the snapshot.

    :raises SnapError: with the guest as it was, and nothing left
    """
    world = txn.world
    # Mirrors of several disks end one after another: not at one moment.
    (image,) = plan.images
    with txn.hold(scratch_step.MakeScratch(scratch)):
        delta = layer_model.Layer(os.path.join(scratch, DELTA_NAME),
                                  mirror_step.DELTA_FORMAT)
        backing = image.disk.chain[1:]
        world.qemu_img.create_overlay(delta.path, image.disk.virtual_size,
                                      backing[0] if backing else None)
        freeze = _copy(txn, plan, image.disk, delta.path)
        consistency = freeze.consistency()
        world.files.own(delta.path)
        with contextlib.ExitStack() as opened:
            with world.disk_turn():
                plan = format_flow.settled(world, plan, [(delta, *backing)])
                (image,) = plan.images
                source = opened.enter_context(image_flow.source(
                    world, image, (delta, *backing), scratch))
            # Its room is given back before the upload, which may take long,
            # or with the last program that reads it.
            world.files.remove(delta.path)
            result = image_flow.deliver(txn, plan, [source], consistency)
    return dataclasses.replace(result, frozen_seconds=freeze.seconds)


def _copy(txn: world_module.Transaction, plan: plan_model.Plan,
          disk: plan_model.PlannedDisk,
          delta: str) -> frozen_module.Freeze:
    """Make the delta the disk at one moment; return how it was held."""
    world = txn.world
    domain = world.host.domain(plan.instance_uuid)
    mirror = mirror_step.StartMirror(
        uuid=plan.instance_uuid, qemu_id=plan.qemu_id,
        target_dev=disk.target_dev, path=delta,
        bandwidth=world.settings.bandwidth,
        transient_job=not plan.undefine and domain.is_persistent())
    with world.host.block_job_events(plan.instance_uuid) as events, \
            txn.hold(mirror, start=False) as mirroring, \
            contextlib.ExitStack() as transient:
        if plan.undefine:
            undefined = transient.enter_context(txn.hold(
                undefine_step.UndefineDomain.of(domain, plan.qemu_id,
                                           disk.active_layer)))
            mirroring.start()
            # At once; where libvirt refuses it while a job runs, then when
            # this block ends, after the thaw, as Nova does.
            undefined.release_early()
        else:
            mirroring.start()
        image_flow.refuse_other_chains(world, plan)
        world.observer.begins(phase_model.Phase.MIRROR)
        device = domain.block_device(disk.target_dev)
        device.wait_ready(
            delta, blockjob.Deadlines(ready=world.settings.ready_timeout,
                                      stall=world.settings.stall_timeout),
            wait=room_flow.watched_wait(world, events.wait),
            progress=world.observer.advances)
        with frozen_module.frozen(txn, plan) as freeze:
            mirror.finish(
                world, wait=events.wait, timeout=blockjob.ABORT_SECONDS
                if freeze.step else world.settings.stall_timeout)
        # The guest need not wait for this.
        _check_end(device, events.ending(disk.target_dev))
    return freeze


def _check_end(device: blockjob.BlockDevice,
               end: events_module.JobEnd) -> None:
    """Go on with a mirror that is gone if it is known to have ended well.

    :raises BlockJobLost: when it failed after it was told to end, or may
        have: then the copy is not the disk
    """
    if end.ending is events_module.Ending.FAILED:
        raise device.lost(f'its end went wrong: {end.reason}')
    if end.ending is events_module.Ending.UNKNOWN:
        raise device.lost('no event told how it ended, so its copy may not '
                          'be whole. Was libvirtd restarted? Take the '
                          'snapshot again')
