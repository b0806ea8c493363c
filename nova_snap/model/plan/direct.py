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

"""Decide whether a snapshot is left to Ceph, and to which pool.

Ceph holds the disk at one moment whatever runs on it, and where Glance keeps
its images in the same cluster, it makes the image too.
"""

import collections.abc as cabc
import dataclasses

from nova_snap import errors
from nova_snap.model import ceph as ceph_model
from nova_snap.model import image as image_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model

OPTION = '[nova_snap]rbd_glance_pool'


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a cluster and of where Glance keeps its images.

    :ivar fsid: of the cluster with the disk
    :ivar stores: Glance's, None where it does not tell
    :ivar parent_pool: of the image that the disk is a clone of; None for one
        that is no clone
    :ivar base_locations: of the image that the instance was made from, as
        far as Glance tells
    """

    fsid: str
    stores: cabc.Sequence[image_model.Store] | None
    parent_pool: str | None
    base_locations: tuple[str, ...] = ()


def why_not(request: request_model.Request,
            settings: settings_model.Settings,
            disks: cabc.Sequence[plan_model.DiskFacts]) -> str | None:
    """Say why a snapshot is not one for Ceph.

    :returns: '' where no disk is there, or it is not read at all
    """
    if not disks or disks[0].disk.ceph is None or (
            # The plan says why not.
            disk_plan.why_not_read(disks[0].disk) is not None):
        return ''
    if request.set_id is not None:
        return 'its disks are taken at one moment by a backup job'
    if request.cold:
        return '--cold was said'
    if settings.ephemeral_storage_encryption:
        return '[ephemeral_storage_encryption]enabled is set'
    return None


def pool(settings: settings_model.Settings, facts: Facts) -> tuple[
        str | None, str]:
    """Return where Glance keeps its images in this cluster, and why.

    Glance's word comes first, then the operator's, then the image that the
    disk was made from, as in Nova.

    :returns: None where it keeps none there
    :raises ConfigError: when the operator's word is not Glance's
    :source: nova/virt/libvirt/imagebackend.py Rbd._get_parent_pool
    """
    named = settings.rbd_glance_pool
    if facts.stores is None:
        if named:
            return named, f'{OPTION} says so'
        return _of_image(facts)
    here = {store.pool: store for store in facts.stores
            if store.pool and store.fsid in (facts.fsid, None)}
    if named:
        if named not in here:
            raise errors.ConfigError(
                option=OPTION,
                reason=f'Glance keeps no images in pool {named} of cluster '
                       f'{facts.fsid}, but in '
                       + (', '.join(map(str, here)) or 'none of its pools')
                       + '. Take the option out of nova.conf, or look at '
                         'rbd_store_pool in glance-api.conf')
        return named, f'{OPTION} says so'
    return _of_stores(settings, facts, here)


def _of_stores(settings: settings_model.Settings, facts: Facts,
               here: cabc.Mapping[str, image_model.Store]) -> tuple[
                   str | None, str]:
    wanted = settings.images_rbd_glance_store_name
    if wanted:
        found = next((one for one in here.values()
                      if one.store_id == wanted), None)
        if found is None:
            raise errors.ConfigError(
                option='[libvirt]images_rbd_glance_store_name',
                reason=f'Glance has no store {wanted} in cluster '
                       f'{facts.fsid}; it has there: '
                       + (', '.join(one.store_id for one in here.values())
                          or 'none'))
        return found.pool, f'Glance has its store {wanted} there'
    of_image, why = _of_image(facts)
    if of_image in here:
        return of_image, why
    default = next((one for one in here.values() if one.is_default), None)
    if default is not None:
        return default.pool, 'Glance has its default store there'
    return None, ('Glance has no default store in cluster '
                  f'{facts.fsid}, in which the disk is')


def _of_image(facts: Facts) -> tuple[str | None, str]:
    if facts.parent_pool is not None:
        return facts.parent_pool, 'the disk is a clone of an image there'
    for url in facts.base_locations:
        found = ceph_model.of_location(url)
        if found is not None and found[0] == facts.fsid:
            return found[1].pool, 'the image of the instance is there'
    return None, ('Glance does not say in which pool it keeps its images: '
                  f'set {OPTION} in nova.conf, or give the role service to '
                  'the user in [nova_snap] or [service_user], or to the one '
                  'as whom nova-snap signs in')


def target(client: layer_model.CephClient, disk: ceph_model.Name,
           fsid: str, found: str | None, why: str,
           request: request_model.Request,
           settings: settings_model.Settings) -> plan_model.InCeph:
    """Return what Ceph does; it makes raw images alone.

    :param found: the pool of Glance's images, None for none
    :param why: it is that one
    """
    named = format_plan.named(request, settings)
    if found is not None and named not in (None, format_plan.RAW):
        found, why = None, (f'the image is to be {named}, and Ceph makes raw '
                            'ones')
    return plan_model.InCeph(client, disk, fsid, found, why)
