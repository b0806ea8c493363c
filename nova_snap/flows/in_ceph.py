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

"""What the two ways into Glance's pool in Ceph share."""

import collections.abc as cabc
import contextlib

from nova_snap import errors
from nova_snap.flows import upload as upload_flow
from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap.model import image as image_model
from nova_snap.model import phase as phase_model
from nova_snap.model.plan import direct as direct_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.steps import world as world_module

#: Ceph or Glance does not let us: the data are sent by Glance's own way.
NOT_LET = (errors.ImageServiceRefused, ceph_model.Refused, ceph_model.Exists)


def pool_of_images(world: world_module.World, ceph: rbd_module.Ceph,
                   facts: plan_model.Facts | None, fsid: str,
                   parent_pool: str | None = None) -> tuple[str | None, str]:
    """Return where in a cluster images of Glance's can be made, and why.

    :param facts: of the instance; None where none is meant
    :param parent_pool: of the image that the disk is a clone of
    :returns: None where none can be
    :raises ConfigError: when an option names a pool or a store that is none
    :raises ImageServiceError: when Glance does not answer
    :raises CephError: when Ceph does not answer
    """
    settings = world.settings
    pool, why = direct_plan.pool(settings, direct_plan.Facts(
        fsid, world.images.stores(), parent_pool, _base(world, facts)))
    if pool is None:
        return None, why
    return _writable(ceph, settings.rbd_glance_pool, pool, why)


def _writable(ceph: rbd_module.Ceph, named: str | None, pool: str,
              why: str) -> tuple[str | None, str]:
    """Return the pool if images can be made in it.

    :raises ConfigError: when it is one that the operator has named
    """
    try:
        ceph.check_writable(pool)
    except (ceph_model.Refused, ceph_model.Gone) as exc:
        if named:
            raise errors.ConfigError(option=direct_plan.OPTION,
                                     reason=str(exc)) from exc
        return None, str(exc)
    return pool, why


def _base(world: world_module.World,
          facts: plan_model.Facts | None) -> tuple[str, ...]:
    """Return where the image of the instance lies, where Glance tells."""
    nova = facts.domain.nova if facts else None
    if nova is None or not nova.image_uuid:
        return ()
    image = world.images.get(nova.image_uuid)
    return image.locations if image else ()


def is_hashed_here(world: world_module.World,
                   way: image_model.LocationWay) -> bool:
    """Tell whether Glance is to have the hash of an image from us.

    Given one, the new API reads and hashes the whole image before that is
    active; given none, after.

    :source: glance/async_/flows/location_import.py get_flow
    """
    wanted = world.settings.location_hash
    return wanted == 'host' or (wanted == 'auto' and not way.is_new)


def make_glances_snapshot(ceph: rbd_module.Ceph,
                          image: ceph_model.Name) -> None:
    """Make the snapshot of an image that Glance hands out.

    :raises CephError: when Ceph does not
    """
    snapshot = image.at(ceph_model.GLANCE_SNAPSHOT)
    ceph.create_snapshot(snapshot)
    ceph.protect_snapshot(snapshot)


def sha512(world: world_module.World, ceph: rbd_module.Ceph,
           image: ceph_model.Name) -> str:
    """Read an image once for its hash.

    :raises CephError: when it cannot be read
    :raises Cancelled: when the operation is to end
    """
    world.observer.begins(phase_model.Phase.HASH)
    return ceph.sha512(image.at(ceph_model.GLANCE_SNAPSHOT),
                       world.observer.advances)


def locate(txn: world_module.Transaction, fsid: str, image: ceph_model.Name,
           way: image_model.LocationWay, *, size: int,
           sha512: str | None) -> image_model.Image:
    """Let Glance find the data of an image, whose id is its name in Ceph.

    :param fsid: the id of the cluster
    :param size: bytes
    :param sha512: None where Glance is to compute it, or there is to be none
    :raises ImageServiceError: when it does not, or takes no location
    """
    world = txn.world
    try:
        return world.images.add_location(
            image.image, image.at(ceph_model.GLANCE_SNAPSHOT).location(fsid),
            way, size=size, sha512=sha512)
    except errors.ImageCorrupt:
        upload_flow.discard(txn, image.image)
        raise


@contextlib.contextmanager
def undone_if_it_fails(
        txn: world_module.Transaction) -> cabc.Iterator[None]:
    """Undo the artifacts of the block at once, when that fails.

    What they were made of can be let go then, or be used in another way.

    :raises UndoFailed: in the place of NOT_LET, when one is left: data that
        are sent would get its name in Ceph
    """
    before = txn.artifacts()
    try:
        yield
    except BaseException as exc:
        left = [held for held in reversed(txn.artifacts())
                if held not in before and not txn.undo(held)]
        if left and isinstance(exc, NOT_LET):
            raise errors.UndoFailed(
                step=left[0].step.kind,
                reason=str(left[0].failure)) from exc
        raise
