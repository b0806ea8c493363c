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

"""Delete an image with what belongs to it.

To a volume-backed image belong the snapshots that it names, to one of a set
its siblings. The image goes last: as long as anything is left the image says
what, and one who is interrupted, or stopped by a snapshot in use, runs it
again.
"""

import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.model import block_device
from nova_snap.model import image as image_model
from nova_snap.model import image_set
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.steps import volume_snapshot as volume_snapshot_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# Set on an image before the first of its snapshots goes: its readers know not
# to boot it, and a user who cannot set it cannot delete the image either.
DELETING_PROPERTY = 'nova_snap_deleting'


@dataclasses.dataclass(frozen=True)
class Deletion:
    """What will be deleted.

    :ivar snapshots: those that are there
    :ivar gone: ids that the image names and Cinder does not know
    :ivar siblings: the other images of its set
    """

    image: image_model.Image
    snapshots: tuple[volumes_model.VolumeSnapshot, ...]
    gone: tuple[str, ...]
    siblings: tuple[image_model.Image, ...] = ()

    @property
    def place(self) -> image_set.Place | None:
        """Return the place of the image in a set, None without one."""
        return _place(self.image)

    @property
    def images(self) -> tuple[image_model.Image, ...]:
        """Return the images, the one that was named last."""
        return (*self.siblings, self.image)

    @property
    def disks_gone(self) -> tuple[str, ...]:
        """Return the disks of a set whose image is not there any more."""
        if self.place is None:
            return ()
        there = {place.disk for image in self.images
                 if (place := _place(image)) is not None}
        return tuple(disk for disk in self.place.disks if disk not in there)

    def sentences(self) -> tuple[str, ...]:
        """Say, one line each, what will be deleted."""
        return (
            *(f'image {image.image_id} ({image.name})'
              + (f', of disk {place.disk}'
                 if (place := _place(image)) is not None else '')
              for image in self.images),
            *(f'the image of disk {disk} is not there any more'
              for disk in self.disks_gone),
            *(f'snapshot {one.snapshot_id} ({one.name}) of volume '
              f'{one.volume_id}, {one.size_gib} GiB, {one.status}'
              for one in self.snapshots),
            *(f'snapshot {one} is not there any more' for one in self.gone))


def plan(world: world_module.World, image_id: str) -> Deletion:
    """Say what would be deleted, and do nothing.

    :raises Refused: when it would not be deleted
    :raises ImageServiceError: when Glance cannot be asked
    :raises VolumeServiceError: when Cinder cannot be asked
    """
    image = world.images.get(image_id)
    if image is None:
        raise errors.Refused(reason=f'There is no image {image_id}')
    _refuse_protected(image)
    place = _place(image)
    if place is not None:
        return Deletion(image, (), (), _siblings(world, image, place))
    named = block_device.snapshots_named(image.properties)
    if named is None:
        raise errors.Refused(
            reason=f'Image {image_id} is not volume-backed: it names no '
                   'snapshot of a volume. Nor is it one of a set. Use '
                   f'"openstack image delete {image_id}"')
    volumes = _acting(world, image)
    found = {one: volumes.snapshot(one) for one in named}
    there = tuple(one for one in found.values() if one is not None)
    for snapshot in there:
        _refuse(image, snapshot)
    return Deletion(image, there, tuple(
        one for one, snapshot in found.items() if snapshot is None))


def _place(image: image_model.Image) -> image_set.Place | None:
    return image_set.said(image.image_id, image.properties)


def _siblings(world: world_module.World, image: image_model.Image,
              place: image_set.Place) -> tuple[image_model.Image, ...]:
    """Return the other images of a set, those of the same project alone.

    :raises Refused: when one is protected
    """
    found = tuple(
        one for one in world.images.find(
            {image_set.SET_PROPERTY: place.set_id})
        if one.image_id != image.image_id and one.owner == image.owner
        and _place(one) is not None)
    for one in found:
        _refuse_protected(one)
    return found


def _refuse_protected(image: image_model.Image) -> None:
    image_id = image.image_id
    if image.is_protected:
        raise errors.Refused(
            reason=f'Image {image_id} is protected; take that away first '
                   f'("openstack image set --unprotected {image_id}")')


def run(world: world_module.World, deletion: Deletion) -> None:
    """Delete what belongs to the image, and then the image.

    :raises VolumeSnapshotFailed: when one is in use or stays; the image
        stays too, and names what is left
    :raises VolumeServiceError: likewise, when Cinder does not do it
    :raises ImageServiceError: when Glance does not delete the image
    """
    if deletion.place is None:
        _delete_snapshots(world, deletion)
    for one in deletion.images:
        world.images.delete(one.image_id)
        LOG.info('Image %s is deleted', one.image_id)


def _delete_snapshots(world: world_module.World,
                      deletion: Deletion) -> None:
    image = deletion.image
    volumes = _acting(world, image)
    world.images.set_properties(image.image_id, {DELETING_PROPERTY: 'True'})
    for snapshot in deletion.snapshots:
        volume_snapshot_step.delete(world, volumes, snapshot.snapshot_id,
                               world.settings.volume_snapshot_timeout)
        LOG.info('Snapshot %s of volume %s is deleted', snapshot.snapshot_id,
                 snapshot.volume_id)


def _acting(world: world_module.World,
            image: image_model.Image) -> volumes_module.Volumes:
    """Act in the project that owns the image.

    :raises Refused: when the credentials cannot, naming the missing role
    """
    try:
        return world.volumes.acting_in(image.owner)
    except errors.VolumeServiceRefused as exc:
        raise errors.Refused(reason=str(exc)) from exc


def _refuse(image: image_model.Image,
            snapshot: volumes_model.VolumeSnapshot) -> None:
    """Refuse what must not, or cannot, be deleted.

    An image can be made to name anything, and an administrator may delete
    anything: a snapshot of another project than the image's is not its own.
    """
    if (image.owner and snapshot.project_id
            and snapshot.project_id != image.owner):
        raise errors.Refused(
            reason=f'Snapshot {snapshot.snapshot_id} belongs to project '
                   f'{snapshot.project_id}, and image {image.image_id} to '
                   f'{image.owner}: it is not deleted')
    if snapshot.status not in {*volumes_model.DELETABLE,
                               volumes_model.SnapshotStatus.DELETING}:
        raise errors.Refused(
            reason=f'Snapshot {snapshot.snapshot_id} is {snapshot.status}, '
                   'and Cinder does not delete it; wait until it is '
                   'available')
