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

"""The data of an image, on their way to Glance and whole in the end.

An image whose upload ended may stay in the hands of a worker of Glance that
is dead, for ever. Where its record is ours, it goes, and the data are sent to
another one: what they are read from is still there. Nova waits for the image
that it has made, and for no other.
"""

import uuid as uuid_module

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.journal import record as record_model
from nova_snap.model import image as image_model
from nova_snap.model import phase as phase_model
from nova_snap.model import stream
from nova_snap.steps import image as image_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# Images that are tried after the first one. A worker that dies of an upload,
# for want of memory say, dies of the next one, too.
MORE_IMAGES = 2


def upload(txn: world_module.Transaction, image_id: str,
           source: stream.Source, consistency: str) -> image_model.Image:
    """Upload the data of one image and prove it whole in Glance.

    In a turn at the disk, which the caller has.

    :param consistency: what an image that takes its place says
    :returns: the image, which may have another id
    :raises ImageServiceError: when Glance has not got it all
    :raises JournalError: when a change of the id cannot be written
    """
    for _ in range(MORE_IMAGES):
        try:
            return _send(txn, image_id, source)
        except errors.ImageStuck as exc:
            image_id = _replaced(txn, image_id, consistency, exc)
    return _send(txn, image_id, source)


def _send(txn: world_module.Transaction, image_id: str,
          source: stream.Source) -> image_model.Image:
    world = txn.world
    world.observer.begins(phase_model.Phase.UPLOAD)
    try:
        return world.images.upload(
            image_id, source, progress=world.observer.advances,
            is_replaceable=made(txn, image_id) is not None,
            disk_work=world.disk_work)
    except errors.ImageCorrupt:
        # It is active. Nova deletes the image of a snapshot that failed, but
        # not that of a shelved instance, which it would be unshelved from.
        # :source: nova/compute/manager.py delete_image_on_error,
        #     _shelve_instance
        discard(txn, image_id)
        raise


def _replaced(txn: world_module.Transaction, image_id: str,
              consistency: str, stuck: errors.ImageStuck) -> str:
    """Delete an image that is of no use, make another, and return its id.

    :raises ImageStuck: when the image is not ours, or cannot be deleted
    """
    ours = made(txn, image_id)
    if ours is None or not txn.undo(ours[0]):
        raise stuck
    new_id = str(uuid_module.uuid4())
    LOG.warning('%s. It is deleted, and its data are sent again as image %s',
                stuck, new_id)
    txn.record.images = [
        record_model.Image(new_id, image.name) if image.id == image_id
        else image for image in txn.record.images]
    txn.artifact(ours[1].again(new_id, consistency))
    return new_id


def made(txn: world_module.Transaction, image_id: str) -> (
        tuple[world_module.Held, image_step.CreateImage] | None):
    """Return the record of an image where we made it."""
    for held in txn.artifacts():
        step = held.step
        if (isinstance(step, image_step.CreateImage)
                and step.spec['image_id'] == image_id):
            return held, step
    return None


def discard(txn: world_module.Transaction, image_id: str) -> None:
    """Delete an image that is active and must not be used.

    Where that fails now, the record stays until it is done.

    :raises JournalError: when that cannot be written
    """
    ours = made(txn, image_id)
    held = ours[0] if ours is not None else txn.artifact(
        image_step.DiscardImage(image_id, _owner(txn, image_id)))
    if not txn.undo(held):
        LOG.error('Image %s must not be used and could not be deleted: %s. '
                  'It is tried again; to delete it at once: "openstack image '
                  'delete %s"', image_id, held.failure, image_id)


def _owner(txn: world_module.Transaction, image_id: str) -> str | None:
    """Return the project whose image it is, where that is known."""
    for held in txn.artifacts():
        step = held.step
        if (isinstance(step, image_step.AdoptImage)
                and step.image_id == image_id):
            return step.owner
    return None


def commit(txn: world_module.Transaction) -> None:
    """Say that all images stay: from here on nothing is taken back.

    :raises JournalError: when that cannot be written; not committed
    """
    txn.world.observer.before_commit()
    txn.commit()
