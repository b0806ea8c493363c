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

"""An image that begins as the last one of its guest, in Ceph.

::

    last image   ================|
    checkpoint                   made ... what the guest changes .......
    this image                             clone | changes | active

The next checkpoint is made at the moment of this image. libvirt knows the two
for as long as it takes to begin the backup job; then their bitmaps alone are
in the disk's file.
"""

import collections.abc as cabc
import contextlib
import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.model import ceph as ceph_model
from nova_snap.model import checkpoint as checkpoint_model
from nova_snap.model.plan import incremental as incremental_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import stream
from nova_snap.steps import backup as backup_step
from nova_snap.steps import checkpoint as checkpoint_step
from nova_snap.steps import world as world_module
from nova_snap.transfer import disk as disk_module
from nova_snap import units

LOG = logging.getLogger(__name__)


def look(world: world_module.World,
         plan: plan_model.Plan) -> plan_model.Plan:
    """Ask whether the last image can be the beginning of the next one.

    :returns: the plan, with the last image or why there is none in it
    :raises HypervisorError: when libvirt does not tell what it has
    :raises Unavailable: when Ceph falls silent
    """
    into = plan.into_ceph
    if into is None or not incremental_plan.is_wanted(world.settings):
        return plan
    why = incremental_plan.why_not_tracked(plan, has_metadata=(
        world.host.domain(plan.instance_uuid).checkpoints().has_others()))
    if why is not None:
        return dataclasses.replace(plan, into_ceph=dataclasses.replace(
            into, why_whole=why))
    kept = checkpoint_step.kept(world, plan.instance_uuid)
    why = incremental_plan.why_not_base(kept, plan, world.settings)
    base = None if kept is None or why is not None else kept.base
    if base is not None:
        why = incremental_plan.why_other(
            base, world.ceph(into.client).find(base.snapshot.at('')))
    return dataclasses.replace(plan, into_ceph=dataclasses.replace(
        into, is_tracked=True, base=None if why else base,
        why_whole=why or ''))


class Tracking:
    """What is known of the changes of one disk, while it is read.

    :ivar why_whole: why the whole disk is written, if it is
    """

    def __init__(self, txn: world_module.Transaction, plan: plan_model.Plan,
                 backup: backup_step.StartBackup,
                 held: world_module.Held | None) -> None:
        self._txn = txn
        self._plan = plan
        self._backup = backup
        self._held = held
        into = plan.into_ceph
        self._base = into.base if into is not None else None
        self.why_whole = into.why_whole if into is not None else ''

    @property
    def bitmap(self) -> str:
        """Return by which name the job serves what has changed; '' if not."""
        return checkpoint_model.EXPORT if self._backup.since else ''

    def show(self) -> None:
        """Let the job know from which checkpoint to which.

        Where libvirt finds the bitmap of the last image missing or broken,
        the job begins anew.
        """
        step = self._step()
        if self._held is None or step is None:
            return
        self._backup.checkpoint = step.checkpoint
        try:
            self._held.start()
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            self._not_since(exc.reason)
            return
        self._backup.since = step.base

    def hide(self) -> None:
        """Let libvirt forget them: the job runs.

        :raises HypervisorError: when it does not
        """
        step = self._step()
        if step is not None:
            step.hide(self._txn.world)
        if self._backup.why_untracked:
            self._not_since(self._backup.why_untracked)

    def keep(self) -> None:
        """Remember the image that was written, if it lies in Ceph.

        :raises CephError: when that cannot be asked
        :raises JournalError: when it cannot be written
        """
        into = self._plan.into_ceph
        if into is None or not self._backup.checkpoint:
            return
        (image,) = self._plan.images
        world, uuid = self._txn.world, self._plan.instance_uuid
        found = world.ceph(into.client).find(
            ceph_model.Name(into.pool, image.image_id))
        identity = (None if found is None
                    else found.identity(ceph_model.GLANCE_SNAPSHOT))
        if found is None or identity is None:
            self._not_since('the image was uploaded')
            return
        depth = 0
        if found.parent is not None and self._base is not None:
            depth = self._base.depth + 1
        before = world.checkpoints.read(uuid)
        self._txn.artifact(checkpoint_step.KeepBase(
            uuid=uuid, before=before, kept=checkpoint_model.Kept(
                image.disk.target_dev, checkpoint_model.Base(
                    fsid=into.fsid, pool=into.pool, image_id=image.image_id,
                    identity=identity, size=image.disk.virtual_size,
                    depth=depth)).to_dict()))

    def take_back(self) -> None:
        """Remember what was before, where there is no image in the end.

        Before the bitmaps are let go: the one that is kept for no image goes.
        """
        if self._txn.record.committed:
            return
        for held in self._txn.artifacts():
            if isinstance(held.step, checkpoint_step.KeepBase):
                self._txn.undo(held)

    def said(self, sources: cabc.Iterable[stream.Source]) -> str | None:
        """Say what was written; None where it was not to be less than all."""
        into = self._plan.into_ceph
        if into is None or not (into.is_tracked or self.why_whole):
            return None
        for source in sources:
            if (isinstance(source, disk_module.DiskSource)
                    and source.changed is not None
                    and self._base is not None and not self.why_whole):
                size = units.format_bytes(sum(
                    extent.length for extent in source.changed))
                return (f'{size} that have changed since image '
                        f'{self._base.image_id}')
        return 'the whole disk: ' + (
            self.why_whole or 'the last image is not there any more')

    def _step(self) -> checkpoint_step.TrackChanges | None:
        step = self._held.step if self._held is not None else None
        return step if isinstance(step,
                                  checkpoint_step.TrackChanges) else None

    def _not_since(self, why: str) -> None:
        self.why_whole = why
        LOG.warning('All of the disk of %s is written, not what has changed '
                    'alone: %s', self._plan.instance_name, why)


@contextlib.contextmanager
def tracking(txn: world_module.Transaction, plan: plan_model.Plan,
             backup: backup_step.StartBackup) -> cabc.Iterator[Tracking]:
    """Have the changes of a disk known, for the block and after it.

    :param backup: that is to be started in the block
    :raises UndoFailed: when libvirt knows a checkpoint of ours after it
    """
    into = plan.into_ceph
    if into is None or not into.is_tracked:
        yield Tracking(txn, plan, backup, None)
        return
    (image,) = plan.images
    kept = checkpoint_step.kept(txn.world, plan.instance_uuid)
    # The bitmap of an image that is gone goes, too.
    old = ([kept.base.checkpoint] if kept and kept.base and not into.base
           else [])
    with txn.hold(checkpoint_step.TrackChanges(
            uuid=plan.instance_uuid, target_dev=image.disk.target_dev,
            checkpoint=checkpoint_model.name(image.image_id),
            base=into.base.checkpoint if into.base else '',
            stale=[*old, *(kept.stale if kept else ())]),
            start=False) as held:
        tracked = Tracking(txn, plan, backup, held)
        try:
            yield tracked
        except BaseException:
            tracked.take_back()
            raise
