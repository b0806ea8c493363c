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

"""The snapshot of a disk in Ceph, which Ceph itself makes.

::

    guest   writes ......................................................>
    agent     freeze | thaw
    disk           snapshot ======================================| removed
    Ceph                 clone | flatten ===== | snapshot of Glance's
    image                                        location ======== | commit

The moment of the snapshot is the point in time, and the guest does not feel
the rest. Nothing is uploaded: a manager of Ceph's flattens the clone, or,
where none does, Ceph's client on this host reads each object and sends it
back. Where Glance takes no locations from us, or keeps its images elsewhere,
the snapshot of the disk is read and sent: the guest runs on then, too.

:source: nova/virt/libvirt/imagebackend.py Rbd.direct_snapshot; Ceph
    src/librbd/io/CopyupRequest.cc read_from_parent
"""

import contextlib
import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import flatten as flatten_flow
from nova_snap.flows import frozen as frozen_module
from nova_snap.flows import image as image_flow
from nova_snap.flows import image_format as format_flow
from nova_snap.flows import in_ceph as in_ceph_flow
from nova_snap.flows import upload as upload_flow
from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap.model import image as image_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import direct as direct_plan
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import result as result_model
from nova_snap.steps import ceph as ceph_step
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


def look(world: world_module.World, request: request_model.Request,
         facts: plan_model.Facts) -> tuple[plan_model.InCeph | None, str]:
    """Ask what Ceph can do for a snapshot; nothing is changed.

    :returns: None and why, where it can do nothing; '' where no disk of it
        is in Ceph
    :raises Unavailable: when Ceph is silent
    :raises ImageServiceError: when Glance does not answer
    :raises ConfigError: when an option names a pool or a store that is none
    """
    settings = world.settings
    why = direct_plan.why_not(request, settings, facts.disks)
    if why is not None:
        return None, why
    layer = facts.disks[0].disk.active_layer
    client = layer.ceph or layer_model.CephClient()
    disk = ceph_model.Name(layer.pool, layer.image)
    try:
        ceph = world.ceph(client)
        found = ceph.find(disk)
        if found is None:
            return None, f'Ceph has no {disk} for {ceph.client}'
        ceph.check_writable(disk.pool)
        fsid = ceph.fsid()
    except ceph_model.Unavailable:
        raise
    except (errors.ConfigError, ceph_model.CephError) as exc:
        # The guest's QEMU has another key than this host.
        return None, str(exc)
    pool, why = in_ceph_flow.pool_of_images(
        world, ceph, facts, fsid,
        None if found.parent is None else found.parent.pool)
    return direct_plan.target(client, disk, fsid, pool, why, request,
                              settings), why


def run(txn: world_module.Transaction, plan: plan_model.Plan,
        scratch: str) -> result_model.Result:
    """Take the snapshot.

    :raises SnapError: with the guest as it was, and nothing left
    """
    assert plan.in_ceph is not None
    world, target = txn.world, plan.in_ceph
    (image,) = plan.images
    way, owner = _way(world, target, image)
    snapshot = ceph_step.SnapshotDisk(
        conf=target.client.conf, user=target.client.user,
        pool=target.disk.pool, disk=target.disk.image,
        snapshot=ceph_step.PREFIX + image.image_id,
        clone=[target.pool, image.image_id] if target.pool and way else [])
    with txn.hold(snapshot, start=False) as held:
        # Each operation of Ceph's has a bound, and there are several.
        watchdog = frozen_module.Watchdog(
            world, plan, rbd_module.SNAPSHOT_SECONDS,
            why='Ceph has not made its snapshot')
        with frozen_module.frozen(txn, plan) as freeze, \
                freeze.bounded(watchdog):
            held.start()
        consistency = freeze.consistency()
        image_flow.refuse_other_chains(world, plan)
        result = _deliver(txn, plan, snapshot, scratch, consistency,
                          way, owner)
    return dataclasses.replace(result, frozen_seconds=freeze.seconds)


def _deliver(txn: world_module.Transaction, plan: plan_model.Plan,
             snapshot: ceph_step.SnapshotDisk, scratch: str,
             consistency: str, way: image_model.LocationWay | None,
             owner: str | None) -> result_model.Result:
    if way is not None:
        image_flow.prepare(txn, plan, consistency)
        image = _cloned(txn, plan, snapshot, way, owner)
        if image is not None:
            upload_flow.commit(txn)
            return result_model.Result((image,), plan, consistency)
    return _read(txn, plan, snapshot, scratch, consistency,
                 is_prepared=way is not None)


def _way(world: world_module.World, target: plan_model.InCeph,
         image: plan_model.PlannedImage) -> tuple[
             image_model.LocationWay | None, str | None]:
    """Ask how Glance takes the location, and whose the image is.

    To be asked before the guest is touched.

    :returns: None where the data are read and sent
    :raises ImageServiceError: when Glance does not answer, or the image is
        gone
    """
    record = world.images.get(image.image_id)
    owner = None if record is None else record.owner
    if target.pool is None or image.image_format != format_plan.RAW:
        return None, owner
    way = world.images.location_way(image.image_id)
    if way is None:
        LOG.warning('The snapshot of %s is read and sent: %s', target.disk,
                    world.images.why_no_location())
    return way, owner


def _cloned(txn: world_module.Transaction, plan: plan_model.Plan,
            snapshot: ceph_step.SnapshotDisk,
            way: image_model.LocationWay, owner: str | None) -> (
                image_model.Image | None):
    """Have Ceph make the image, and Glance find it there.

    :returns: None when that cannot be, with nothing left of it
    """
    world, target = txn.world, plan.in_ceph
    (image,) = plan.images
    assert target is not None and target.pool is not None
    clone = ceph_step.CloneDisk(
        conf=snapshot.conf, user=snapshot.user,
        parent=[snapshot.pool, snapshot.disk, snapshot.snapshot],
        pool=target.pool, image_id=image.image_id, owner=owner)
    try:
        with in_ceph_flow.undone_if_it_fails(txn):
            txn.artifact(clone)
            _fill(world, clone, image.disk.virtual_size)
            return in_ceph_flow.locate(
                txn, target.fsid, clone.name, way,
                size=image.disk.virtual_size,
                sha512=_sha512(world, clone, way))
    except in_ceph_flow.NOT_LET as exc:
        LOG.warning('The snapshot of %s is read and sent, for Ceph or Glance '
                    'did not make its image: %s', target.disk, exc)
        return None


def _fill(world: world_module.World, clone: ceph_step.CloneDisk,
          size: int) -> None:
    """Give a clone all data of its parent, and a snapshot for Glance.

    :param size: of the clone, bytes
    :raises CephError: when Ceph does not
    :raises Cancelled: when the operation is to end
    """
    ceph = world.ceph(clone.client)
    flatten_flow.flatten(world, ceph, clone.name, size)
    in_ceph_flow.make_glances_snapshot(ceph, clone.name)


def _sha512(world: world_module.World, clone: ceph_step.CloneDisk,
            way: image_model.LocationWay) -> str | None:
    """Read the image once, where Glance is to have its hash from us.

    :raises CephError: when it cannot be read
    :raises Cancelled: when the operation is to end
    """
    if not in_ceph_flow.is_hashed_here(world, way):
        return None
    ceph = world.ceph(clone.client)
    with world.disk_turn():
        return world.disk_work(in_ceph_flow.sha512, world, ceph, clone.name)


def _read(txn: world_module.Transaction, plan: plan_model.Plan,
          snapshot: ceph_step.SnapshotDisk, scratch: str,
          consistency: str, *, is_prepared: bool) -> result_model.Result:
    """Read the snapshot of the disk while it is sent.

    :param is_prepared: the record says already what the image will be
    """
    world = txn.world
    layer = layer_model.Layer(
        str(snapshot.name), format_plan.RAW, layer_model.Storage.RBD,
        snapshot.client)
    with txn.hold(scratch_step.MakeScratch(scratch)), \
            contextlib.ExitStack() as opened:
        with world.disk_turn():
            settled = (plan if is_prepared else
                       format_flow.settled(world, plan, [(layer,)]))
            sources = [opened.enter_context(image_flow.source(
                world, image, (layer,), scratch)) for image in settled.images]
        if not is_prepared:
            image_flow.prepare(txn, settled, consistency)
        return image_flow.send(txn, settled, sources, consistency)
