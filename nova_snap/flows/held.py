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

"""Disks that a backup job holds at one moment, read while the guest runs on.

::

    guest   writes ......................................................>
    job       begins ============ disks as they were, over NBD ====| ends
    scratch   what the guest overwrites, before it does ========== |
    image              read ====== sent ====== proven whole ====== | commit

:source: libvirt docs/kbase/live_full_disk_backup.rst; docs/formatbackup.rst
"""

import collections.abc as cabc
import contextlib
import dataclasses
import os
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import image as image_flow
from nova_snap.flows import image_format as format_flow
from nova_snap.flows import incremental
from nova_snap.flows import room as room_flow
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import backup as backup_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import result as result_model
from nova_snap.steps import backup as backup_step
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import world as world_module
from nova_snap import units

LOG = logging.getLogger(__name__)

# With the target of the disk. It ends as that of a delta does.
SCRATCH_NAME = 'scratch-{}.qcow2'
# Between two looks at the guest and at the free space: a guest that stands
# paused goes on within a second, also on a busy host.
LOOK_SECONDS = 0.25


class Job(ty.NamedTuple):
    """A backup job that runs.

    :ivar held: what lets go of it
    :ivar step: what began it
    :ivar scratch: the directory of the snapshot
    """

    held: world_module.Held
    step: backup_step.StartBackup
    scratch: str


def step(plan: plan_model.Plan, scratch: str) -> backup_step.StartBackup:
    """Return the job that holds the disks of a plan.

    :param scratch: the directory of the snapshot
    """
    directory = os.path.join(scratch, backup_plan.DIRECTORY)
    return backup_step.StartBackup(
        uuid=plan.instance_uuid, qemu_id=plan.qemu_id,
        socket=os.path.join(directory, backup_plan.SOCKET),
        scratches=[[disk.target_dev, os.path.join(
            scratch, SCRATCH_NAME.format(disk.target_dev))]
            for disk in plan.disks],
        was_running=plan.state == domain_model.State.RUNNING)


@contextlib.contextmanager
def prepared(txn: world_module.Transaction, plan: plan_model.Plan,
             backup: backup_step.StartBackup) -> cabc.Iterator[None]:
    """Have ready for the block what the job needs, in a scratch directory.

    It is made before the guest is frozen, or waits to go on.

    :raises StorageError: when it cannot be made
    """
    world = txn.world
    uid = plan.qemu_user[0] if plan.qemu_user else None
    for disk, (_, path) in zip(plan.disks, backup.scratches, strict=True):
        world.qemu_img.create_overlay(path, disk.virtual_size, None)
        if uid is not None:
            world.files.lend(path, uid)
    with txn.hold(scratch_step.LendDirectory(
            os.path.dirname(backup.socket), uid)):
        yield


def deliver(txn: world_module.Transaction, plan: plan_model.Plan,
            job: Job, consistency: str, *,
            end_turn: cabc.Callable[[], None],
            tracking: incremental.Tracking | None = None
            ) -> result_model.Result:
    """Leave images of the disks in Glance, and end the job.

    In a turn at the disk, which the caller has since before the job began.

    :param end_turn: see :func:`nova_snap.flows.image.deliver`
    :param tracking: what is known of the changes of a disk, if that is asked
    :raises SpaceReserveReached: when the job was ended for the room
    :raises BackupFailed: when it is not there any more
    :raises SnapError: as :func:`nova_snap.flows.image.deliver`
    """
    world, backup = txn.world, job.step
    guard, used = _Guard(world, plan, backup), list[int]()
    with guard.watching(), contextlib.ExitStack() as opened:
        image_flow.refuse_other_chains(world, plan)
        plan = format_flow.settled(
            world, plan, [_chain(backup, disk) for disk in plan.disks])
        sources = [opened.enter_context(image_flow.source(
            world, image, _chain(backup, image.disk), job.scratch,
            bitmap=tracking.bitmap if tracking is not None else ''))
            for image in plan.images]

        def check() -> None:
            _end(world, job, used)
            if tracking is not None:
                tracking.keep()

        result = image_flow.deliver(txn, plan, sources, consistency,
                                    check=check, end_turn=end_turn)
        written = tracking.said(sources) if tracking is not None else None
        if written is not None:
            LOG.info('Written for %s: %s', plan.instance_name, written)
    return dataclasses.replace(result, scratch_bytes=sum(used),
                               written=written)


def _end(world: world_module.World, job: Job, used: list[int]) -> None:
    """End the job, and note what its scratch files have taken."""
    used.append(sum(world.files.written_bytes(path)
                    for _, path in job.step.scratches))
    LOG.info('The scratch files of %s have taken %s', job.step.uuid,
             units.format_bytes(used[-1]))
    job.held.release_early()


def _chain(backup: backup_step.StartBackup,
           disk: plan_model.PlannedDisk) -> image_flow.Chain:
    """Return a disk as the job exports it: whole, in one layer."""
    return (layer_model.Layer.exported(backup.socket, disk.target_dev),)


class _Guard:
    """Ends the job rather than let the guest pay for it.

    It looks while the disks are read: an upload may hang, and the guest
    writes on. It writes nothing into the journal; the flow lets the job go.
    """

    def __init__(self, world: world_module.World, plan: plan_model.Plan,
                 backup: backup_step.StartBackup) -> None:
        self._world = world
        self._name = plan.instance_name
        self._backup = backup
        self._failure: errors.SnapError | None = None

    @contextlib.contextmanager
    def watching(self) -> cabc.Iterator[None]:
        """Look after the guest for the block, and say why that failed.

        :raises SpaceReserveReached: when the job was ended for the room
        :raises BackupFailed: when it is not there any more
        """
        try:
            with self._world.clock.every(LOOK_SECONDS, self._look):
                yield
        except errors.StorageError as exc:
            raise self._why(exc) from exc

    def _why(self, exc: errors.SnapError) -> errors.SnapError:
        if self._failure is not None:
            return self._failure
        try:
            lost = self._backup.why_lost(self._world)
        except errors.HypervisorError as unknown:
            LOG.debug('It is not known whether %s has its job: %s',
                      self._name, unknown)
            return exc
        return exc if lost is None else self._backup.failed(lost)

    def _look(self) -> None:
        """End the job when the guest waits, or room is short."""
        world = self._world
        try:
            self._failure = self._failure or self._reason()
            if self._failure is not None:
                # Again at the next look, should it fail.
                self._backup.undo(world)
        except errors.SnapError as exc:
            LOG.warning('The backup job of %s is not looked after: %s',
                        self._name, exc)

    def _reason(self) -> errors.SnapError | None:
        world = self._world
        try:
            room_flow.refuse_to_fill(world)
        except errors.SpaceReserveReached as exc:
            return exc
        if (self._backup.was_running
                and world.host.domain(self._backup.uuid).has_io_error()):
            return self._backup.failed(
                'the guest could not write: is the file system of '
                f'{os.path.dirname(self._backup.socket)} full?')
        return None
