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

"""Decide which disks make a set of images, all of one moment."""

import collections.abc as cabc
import dataclasses
import uuid as uuid_module

from nova_snap.model import block_device
from nova_snap.model import domain as domain_model
from nova_snap.model import image_set
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model


def local(domain: domain_model.Domain) -> tuple[domain_model.Disk, ...]:
    """Return the disks that are wanted, the root disk first.

    Whether each can be read is another question.
    """
    return tuple(sorted(
        (disk for disk in domain.disks if _why_left_out(domain, disk) is None),
        key=lambda disk: disk != domain.root_disk))


def _why_left_out(domain: domain_model.Domain,
                  disk: domain_model.Disk) -> str | None:
    if disk.device not in domain_model.DISKS:
        return f'a {disk.device}'
    if domain.nova is None:
        return None
    if disk.volume_id is not None:
        return 'a Cinder volume'
    if block_device.is_config_drive(disk):
        # Nova makes another one for each server.
        return 'a config drive'
    return None


def remarks(request: request_model.Request,
            domain: domain_model.Domain) -> tuple[str, ...]:
    """Say which drives of a guest are not in its set."""
    if request.set_id is None:
        return ()
    left_out = [f'{disk.target_dev} ({why})' for disk in domain.drives
                if (why := _why_left_out(domain, disk)) is not None]
    return (f'left out: {", ".join(left_out)}',) if left_out else ()


def spelled_out(request: request_model.Request,
                facts: plan_model.Facts) -> request_model.Request:
    """Return a request with an image for each disk of the set, if it is one.

    The root disk has the image that was asked for. The id of another one
    follows from the id of the set and its disk.
    """
    if request.set_id is None:
        return request
    (asked,) = request.images
    return dataclasses.replace(request, images=tuple(_images(
        asked, request.set_id, facts.domain.root_disk,
        tuple(found.disk for found in facts.disks))))


def _images(asked: request_model.RequestedImage, set_id: str,
            root: domain_model.Disk | None,
            disks: tuple[domain_model.Disk, ...]) -> (
                cabc.Iterator[request_model.RequestedImage]):
    targets = tuple(disk.target_dev for disk in disks)
    for disk in disks:
        target = disk.target_dev
        image = dataclasses.replace(
            asked, place=image_set.Place(set_id, target, targets))
        if disk != root:
            image = dataclasses.replace(
                image, name=f'{asked.name}-{target}', image_id=str(
                    uuid_module.uuid5(uuid_module.UUID(set_id), target)))
        yield image
