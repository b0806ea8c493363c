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

"""Which format the images are sent in, once their disks are at rest.

The plan has seen how the disk began, where it could see that: a guest that
ran may have written another beginning since.
"""

import collections.abc as cabc
import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import upload as upload_flow
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

Chain = cabc.Sequence[layer_model.Layer]


def settled(world: world_module.World, plan: plan_model.Plan,
            chains: cabc.Sequence[Chain] | None = None) -> plan_model.Plan:
    """Return the plan with the formats that Glance takes, and say which.

    :param chains: layers that nothing writes to, of each image; by default
        those of the disk itself
    """
    chains = chains or [image.disk.chain for image in plan.images]
    images, remarks = [], list(plan.remarks)
    for image, chain in zip(plan.images, chains, strict=True):
        image_format, said = format_plan.that_glance_takes(
            plan.instance_name, image, _first_bytes(world, image, chain))
        for remark in said:
            if remark not in remarks:
                remarks.append(remark)
                LOG.warning('Instance %s: %s', plan.instance_name, remark)
        images.append(_in_format(world, image, image_format))
    return dataclasses.replace(plan, images=tuple(images),
                               remarks=tuple(remarks))


def record(txn: world_module.Transaction,
           image: plan_model.PlannedImage) -> None:
    """Have the record name the format of what is sent, unless Nova does.

    :raises ImageServiceError: when Glance does not take that
    :source: glance/domain/__init__.py Image.disk_format: while it is queued
    """
    ours = upload_flow.made(txn, image.image_id)
    if image.recorded_as is None or ours is None:
        return
    of_format = {'disk_format': image.image_format}
    txn.world.images.set_properties(image.image_id, of_format)
    # Another one may have to take its place.
    ours[1].spec.update(of_format)


def _first_bytes(world: world_module.World, image: plan_model.PlannedImage,
                 chain: Chain) -> bytes | None:
    if image.image_format != format_plan.RAW:
        return None
    try:
        return world.qemu_img.first_bytes(chain, image.disk.virtual_size)
    except errors.StorageError as exc:
        LOG.warning('It is not known whether Glance takes a raw image of %s: '
                    '%s', chain[0].path, exc)
        return None


def _in_format(world: world_module.World, image: plan_model.PlannedImage,
               image_format: str) -> plan_model.PlannedImage:
    if image_format == image.image_format:
        return image
    return dataclasses.replace(
        image, image_format=image_format, recorded_as=image.image_format,
        compress=(world.settings.snapshot_compression
                  and not image.is_streamed))
