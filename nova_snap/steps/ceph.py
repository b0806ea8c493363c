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

"""A disk in Ceph at one moment, and the data of images that lie there."""

import contextlib
import dataclasses

from nova_snap import errors
from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap.model import layer as layer_model
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

# How long Ceph takes a client that was killed for alive, and some more: an
# image that it had open is removed then.
# :source: ceph src/common/options osd_client_watch_timeout, 30 s
BUSY_SECONDS = 45.0
FIRST_BUSY_LOOK_SECONDS = 0.5
LONGEST_BUSY_LOOK_SECONDS = 5.0

# States of an image in Glance whose data it has not.
NO_DATA = frozenset({'queued', 'killed', 'deleted', 'pending_delete'})

# How the snapshots are called that are ours, before the id of the image.
PREFIX = 'nova_snap-'


@dataclasses.dataclass
class _InCeph(step_module.Step):
    """A step in one cluster.

    :ivar conf: the ceph.conf by which the cluster is reached
    :ivar user: as whom
    """

    conf: str
    user: str

    @property
    def client(self) -> layer_model.CephClient:
        """Return how the cluster is reached."""
        return layer_model.CephClient(self.user, self.conf)


@dataclasses.dataclass
class SnapshotDisk(_InCeph):
    """Hold: a snapshot of a disk, which is the point in time.

    :ivar pool: of the disk
    :ivar disk: its name there
    :ivar snapshot: its own name, with the id of our image in it
    :ivar clone: pool and name of the one clone that is made of it; none
        where there is to be none
    """

    pool: str
    disk: str
    snapshot: str
    clone: list[str]

    @property
    def name(self) -> ceph_model.Name:
        """Return its name in Ceph."""
        return ceph_model.Name(self.pool, self.disk, self.snapshot)

    def do(self, world: world_module.World) -> None:
        """Make it.

        :raises CephError: when Ceph does not; it may be there all the same
        """
        world.ceph(self.client).create_snapshot(self.name)

    def undo(self, world: world_module.World) -> None:
        """Remove it, with a clone that is not whole without it.

        Of the first version a snapshot with a clone cannot be removed, and
        no image in Glance is made of one that is not flattened.

        :raises CephError: when Ceph does not
        """
        ceph = world.ceph(self.client)
        if self.clone:
            clone = ceph_model.Name(*self.clone)
            if _is_child(ceph, clone, self.name):
                _remove(world, ceph, clone)
        ceph.remove_snapshot(self.name)


@dataclasses.dataclass
class CloneDisk(_InCeph):
    """Artifact: the data of an image, where Glance keeps its images.

    :ivar parent: pool, image and name of the snapshot that it is made of
    :ivar pool: of Glance's
    :ivar image_id: of the image, and its name there
    :ivar owner: the project whose image it is, where that is known
    """

    parent: list[str]
    pool: str
    image_id: str
    owner: str | None

    @property
    def name(self) -> ceph_model.Name:
        """Return its name in Ceph."""
        return ceph_model.Name(self.pool, self.image_id)

    def do(self, world: world_module.World) -> None:
        """Clone it; it has not all its data yet.

        :raises CephError: when Ceph does not; it may be there all the same
        """
        ceph, parent = world.ceph(self.client), ceph_model.Name(*self.parent)
        ceph.protect_snapshot(parent)
        ceph.clone(parent, self.name)

    def undo(self, world: world_module.World) -> None:
        """Remove it, unless Glance has an image of it.

        With that image Glance removes it. One that is no child any more may
        have become Glance's, so that is asked.

        :raises CephError: when Ceph does not
        :raises ImageServiceError: when Glance cannot be asked, or is at work
            on the image
        """
        ceph = world.ceph(self.client)
        if ceph.find(self.name) is None:
            return
        if (_is_child(ceph, self.name, ceph_model.Name(*self.parent))
                or not _is_glances(world, self.image_id, self.owner)):
            _remove(world, ceph, self.name)


@dataclasses.dataclass
class MakeData(_InCeph):
    """Artifact: the data of an image, written where Glance keeps its images.

    :ivar pool: of Glance's
    :ivar image_id: of the image, and its name there
    :ivar owner: the project whose image it is, where that is known
    :ivar size: bytes
    """

    pool: str
    image_id: str
    owner: str | None
    size: int

    @property
    def name(self) -> ceph_model.Name:
        """Return its name in Ceph."""
        return ceph_model.Name(self.pool, self.image_id)

    def do(self, world: world_module.World) -> None:
        """Make it, of zeros; its data are written next.

        :raises CephError: when Ceph does not; it may be there all the same
        """
        world.ceph(self.client).create(self.name, self.size)

    def undo(self, world: world_module.World) -> None:
        """Remove it, unless Glance has an image of it.

        With that image Glance removes it.

        :raises CephError: when Ceph does not
        :raises ImageServiceError: when Glance cannot be asked, or is at work
            on the image
        """
        ceph = world.ceph(self.client)
        if (ceph.find(self.name) is not None
                and not _is_glances(world, self.image_id, self.owner)):
            _remove(world, ceph, self.name)


@dataclasses.dataclass
class CloneData(MakeData):
    """Artifact: the data of an image that begin as those of another one.

    :ivar base: of Glance's, too, in the same pool
    """

    base: str

    def do(self, world: world_module.World) -> None:
        """Clone it; what has changed is written next.

        :raises CephError: when Ceph does not; it may be there all the same
        """
        ceph = world.ceph(self.client)
        base = ceph_model.Name(self.pool, self.base,
                               ceph_model.GLANCE_SNAPSHOT)
        ceph.protect_snapshot(base)
        ceph.clone(base, self.name)


def _is_glances(world: world_module.World, image_id: str,
                owner: str | None) -> bool:
    """Tell whether Glance has an image of data in Ceph.

    :raises ImageServiceError: when Glance cannot be asked, or is at work on
        the image
    """
    image = world.images.get(image_id, owner=owner)
    if image is not None and image.status == 'importing':
        raise errors.ImageStuck(
            call='look at the image', status=None, image_id=image_id,
            image_status=image.status, reason='Glance is at work on it')
    return image is not None and image.status not in NO_DATA


def _remove(world: world_module.World, ceph: rbd_module.Ceph,
            name: ceph_model.Name) -> None:
    """Remove an image with Glance's snapshot of it; it may be absent.

    A client that was killed has it open for a while, and a manager until the
    task to flatten it is cancelled.

    :raises CephError: when Ceph does not
    """
    failure: ceph_model.CephError | None = None
    for _ in world.clock.looks(BUSY_SECONDS,
                               first_pause=FIRST_BUSY_LOOK_SECONDS,
                               longest_pause=LONGEST_BUSY_LOOK_SECONDS):
        try:
            ceph.remove_snapshot(name.at(ceph_model.GLANCE_SNAPSHOT))
            ceph.remove(name)
            return
        except ceph_model.Busy as exc:
            failure = exc
            with contextlib.suppress(ceph_model.CephError):
                ceph.cancel_flatten(name)
    assert failure is not None
    raise failure


def _is_child(ceph: rbd_module.Ceph, clone: ceph_model.Name,
              parent: ceph_model.Name) -> bool:
    """Tell whether a clone is of this disk, and not flattened.

    The snapshot has another name where it is in Ceph's trash.
    """
    found = ceph.find(clone)
    return (found is not None and found.parent is not None
            and found.parent.at('') == parent.at(''))
