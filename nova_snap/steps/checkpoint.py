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

"""The checkpoint of a disk, since which its changes are known."""

import dataclasses
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import checkpoint as checkpoint_model
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


def kept(world: world_module.World,
         uuid: str) -> checkpoint_model.Kept | None:
    """Return what is kept of a guest, if it can be read."""
    found = world.checkpoints.read(uuid)
    try:
        return None if found is None else checkpoint_model.Kept.from_dict(
            found)
    except ValueError as exc:
        LOG.warning('What is kept of the last image of %s is left alone: %s',
                    uuid, exc)
        return None


@dataclasses.dataclass
class TrackChanges(step_module.Step):
    """Hold: libvirt may know checkpoints of ours, and a disk have bitmaps.

    :ivar target_dev: of the disk
    :ivar checkpoint: of the image that is made
    :ivar base: of the last image; '' for none
    :ivar stale: that could not be removed before
    """

    uuid: str
    target_dev: str
    checkpoint: str
    base: str
    stale: list[str]

    def do(self, world: world_module.World) -> None:
        """Let libvirt know the checkpoint of the last image.

        :raises HypervisorError: when its bitmap is missing or broken, too
        """
        if self.base:
            world.host.domain(self.uuid).checkpoints().show(
                self.base, self.target_dev)

    def hide(self, world: world_module.World) -> None:
        """Let libvirt forget all of ours; their bitmaps stay.

        :raises HypervisorError: when it does not
        """
        world.host.domain(self.uuid).checkpoints().hide()

    def undo(self, world: world_module.World) -> None:
        """Hide them, and remove each bitmap that no image is kept for.

        Of a guest that is off they stay until the next snapshot. Of one that
        is gone there is nothing left to keep.

        :raises HypervisorError: when libvirt does not forget them
        :raises JournalError: when it cannot be written what is left
        """
        domain = world.host.domain(self.uuid)
        found = kept(world, self.uuid)
        keeps = found.base.checkpoint if found and found.base else ''
        try:
            left = self._drop_all(domain, keeps)
            domain.checkpoints().hide()
        except errors.DomainGone:
            world.checkpoints.write(self.uuid, None)
            return
        if left != list(found.stale if found else ()):
            before = found or checkpoint_model.Kept(self.target_dev)
            world.checkpoints.write(self.uuid, dataclasses.replace(
                before, stale=tuple(left)).to_dict())

    def _drop_all(self, domain: domain_module.Domain,
                  keeps: str) -> list[str]:
        """Remove each bitmap but one, and return which are left.

        Perhaps it was never there: what fails twice is forgotten.
        """
        names = [name for name in (self.checkpoint, self.base)
                 if name not in ('', keeps)]
        if not domain.is_active():
            return [*names, *self.stale]
        for name in self.stale:
            self._drop(domain, name)
        return [name for name in names if not self._drop(domain, name)]

    def _drop(self, domain: domain_module.Domain, name: str) -> bool:
        try:
            domain.checkpoints().drop(name, self.target_dev)
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            LOG.info('The bitmap %s on %s of %s is not removed: %s', name,
                     self.target_dev, self.uuid, exc)
            return False
        return True


@dataclasses.dataclass
class KeepBase(step_module.Step):
    """Artifact: the next image of a guest begins as this one.

    :ivar kept: what is remembered from now on
    :ivar before: what was; None for nothing
    """

    uuid: str
    kept: dict[str, ty.Any]
    before: dict[str, ty.Any] | None

    def do(self, world: world_module.World) -> None:
        """Remember it.

        :raises JournalError: when that cannot be written
        """
        world.checkpoints.write(self.uuid, self.kept)

    def undo(self, world: world_module.World) -> None:
        """Remember what was before, and the bitmap that is stale now.

        :raises JournalError: when that cannot be written
        """
        if world.checkpoints.read(self.uuid) != self.kept:
            return
        new = checkpoint_model.Kept.from_dict(self.kept)
        old = (checkpoint_model.Kept(new.target_dev) if self.before is None
               else checkpoint_model.Kept.from_dict(self.before))
        assert new.base is not None
        world.checkpoints.write(self.uuid, dataclasses.replace(
            old, stale=(*old.stale, new.base.checkpoint)).to_dict())
