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

"""The data of an image, written to where Glance keeps its images in Ceph.

::

    disk    read ================|
    Ceph    image of zeros | written ===== | snapshot of Glance's
    image                                  location ======== | commit

Of the disk the data alone cross the network, several writes at a time, and
Glance handles none of it. Where that cannot be, the image is uploaded.

:source: glance_store/_drivers/rbd.py Store.add
"""

import collections.abc as cabc
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import flatten as flatten_flow
from nova_snap.flows import in_ceph as in_ceph_flow
from nova_snap.host import rbd as rbd_module
from nova_snap.host import rbd_opened
from nova_snap.model import ceph as ceph_model
from nova_snap.model import image as image_model
from nova_snap.model import layer as layer_model
from nova_snap.model import phase as phase_model
from nova_snap.model.plan import incremental as incremental_plan
from nova_snap.model.plan import into_ceph as into_ceph_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import stream
from nova_snap.steps import ceph as ceph_step
from nova_snap.steps import world as world_module
from nova_snap.transfer import copy as copy_module
from nova_snap.transfer import disk as disk_module

LOG = logging.getLogger(__name__)


def look(world: world_module.World, request: request_model.Request,
         facts: plan_model.Facts) -> tuple[plan_model.IntoCeph | None, str]:
    """Ask where in Ceph images can be written; nothing is changed.

    :returns: None and why, where they are uploaded; '' where an upload was
        asked for
    :raises ConfigError: when an option names a pool or a store that is none
    :raises ImageServiceError: when Glance does not answer
    :raises Unavailable: when Ceph falls silent
    """
    why = into_ceph_plan.why_not(request, world.settings)
    if why is not None:
        return None, why
    return find(world, facts)


def find(world: world_module.World, facts: plan_model.Facts | None = None) -> (
        tuple[plan_model.IntoCeph | None, str]):
    """Find where this host can write images; see :func:`look`.

    :param facts: of the instance; None where none is meant
    """
    settings = world.settings
    client = layer_model.CephClient(settings.rbd_user,
                                    settings.images_rbd_ceph_conf)
    try:
        ceph = world.ceph(client)
        fsid = ceph.fsid()
    except (errors.ConfigError, ceph_model.CephError) as exc:
        return None, str(exc)
    pool, why = in_ceph_flow.pool_of_images(world, ceph, facts, fsid)
    if pool is None:
        return None, why
    return plan_model.IntoCeph(client, fsid, pool, why), why


def write(txn: world_module.Transaction, target: plan_model.IntoCeph,
          image_id: str, source: stream.Source,
          end_turn: cabc.Callable[[], None]) -> image_model.Image | None:
    """Write one image, and have Glance find it.

    In a turn at the disk, which the caller has.

    :param source: of a raw image
    :param end_turn: called when all is written: Glance may hash it next
    :returns: None where Glance or Ceph does not let us, with nothing left
    :raises CephError: when Ceph fails
    :raises ImageServiceError: when Glance does
    :raises StorageError: when the disk cannot be read
    """
    world = txn.world
    record = world.images.get(image_id)
    way = world.images.location_way(image_id)
    if way is None:
        LOG.warning('Image %s is uploaded: %s', image_id,
                    world.images.why_no_location())
        return None
    facts: dict[str, ty.Any] = {
        'conf': target.client.conf, 'user': target.client.user,
        'pool': target.pool, 'image_id': image_id,
        'owner': record.owner if record else None,
        'size': source.size_bytes}
    try:
        if (target.base is not None
                and isinstance(source, disk_module.DiskSource)
                and source.changed is not None):
            try:
                return _made(txn, target, way, ceph_step.CloneData(
                    **facts, base=target.base.image_id), source, end_turn)
            except ceph_model.Gone as exc:
                LOG.warning('All of image %s is written: %s', image_id, exc)
                source.changed = None
        return _made(txn, target, way, ceph_step.MakeData(**facts), source,
                     end_turn)
    except in_ceph_flow.NOT_LET as exc:
        LOG.warning('Image %s is uploaded, for it could not be written to '
                    'Ceph: %s', image_id, exc)
        return None


def _made(txn: world_module.Transaction, target: plan_model.IntoCeph,
          way: image_model.LocationWay, step: ceph_step.MakeData,
          source: stream.Source,
          end_turn: cabc.Callable[[], None]) -> image_model.Image:
    """Write the data of an image, and have Glance find them."""
    world = txn.world
    ceph = world.ceph(step.client)
    is_hashed = in_ceph_flow.is_hashed_here(world, way)
    with in_ceph_flow.undone_if_it_fails(txn):
        txn.artifact(step)
        world.observer.begins(phase_model.Phase.UPLOAD)
        sha512 = None
        if isinstance(step, ceph_step.CloneData):
            assert isinstance(source, disk_module.DiskSource)
            _change(world, ceph, step, source)
        else:
            sha512 = _fill(world, ceph, step, source, is_hashed=is_hashed)
        in_ceph_flow.make_glances_snapshot(ceph, step.name)
        if is_hashed and sha512 is None:
            # Not all of it was read on its way.
            sha512 = world.disk_work(in_ceph_flow.sha512, world, ceph,
                                     step.name)
        end_turn()
        return in_ceph_flow.locate(txn, target.fsid, step.name, way,
                                   size=step.size, sha512=sha512)


def _change(world: world_module.World, ceph: rbd_module.Ceph,
            step: ceph_step.CloneData,
            source: disk_module.DiskSource) -> None:
    """Write what has changed since the image that this one began as."""
    def change(opened: rbd_opened.Opened) -> None:
        zeros = [(extent.offset, extent.length)
                 for extent in source.changed or () if extent.is_zero]
        with source.changes(progress=world.observer.advances) as data:
            copy_module.copy_changes(data, zeros, opened)

    ceph.fill(step.name, change)
    if world.settings.incremental == incremental_plan.FLAT:
        flatten_flow.flatten(world, ceph, step.name, step.size)


def _fill(world: world_module.World, ceph: rbd_module.Ceph,
          step: ceph_step.MakeData, source: stream.Source, *,
          is_hashed: bool) -> str | None:
    """Write the data of an image.

    :returns: its SHA-512, where that is wanted
    """
    def fill(opened: rbd_opened.Opened) -> str | None:
        if not is_hashed and isinstance(source, disk_module.DiskSource):
            with source.data(progress=world.observer.advances) as data:
                copy_module.copy_data(data, opened)
            return None
        with source.open(progress=world.observer.advances) as reader:
            copy_module.copy(reader, opened)
            return reader.sha512() if is_hashed else None

    return ceph.fill(step.name, fill)
