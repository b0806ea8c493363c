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

"""What the record of a volume-backed image says, besides its mapping.

Nova's API makes this record alone, and says less in it than it and its
driver say in the record of any other snapshot.
"""

import collections.abc as cabc

from nova_snap import errors
from nova_snap.model import block_device
from nova_snap.model import image as image_model
from nova_snap.model import inheritance
from nova_snap.model import nova as nova_model
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model

# What Cinder keeps of an image among its properties.
# :source: nova/block_device.py VIM_IMAGE_ATTRIBUTES
_ATTRIBUTES = frozenset({
    'checksum', 'container_format', 'disk_format', 'image_id', 'image_name',
    'min_disk', 'min_ram', 'size',
})

# Nova's objects have these of an image that was volume-backed itself.
_OBJECT_NAMES = frozenset(f'img_{name}' for name in block_device.PROPERTIES)


def spec(request: request_model.Request,
         asked: request_model.RequestedImage, nova: nova_model.NovaMetadata,
         image_metadata: cabc.Mapping[str, str],
         non_inheritable: cabc.Set[str]) -> image_model.ImageSpec:
    """Say what the record holds before there are snapshots to name.

    What Nova keeps in its database alone (``boot_roles``) is not known here
    and not written. A difference is meant: Nova leaves the image with the
    project that asked for it, this gives it to the instance's project.

    :param image_metadata: what Cinder keeps of the image that the root
        volume was made from; the image itself may be gone
    :param non_inheritable: ``[DEFAULT]non_inheritable_image_properties``
    :raises Refused: when a property of the request is one that Glance keeps
        to itself or that says what this snapshot is
    :source: nova/compute/api.py snapshot_volume_backed; nova/compute/
        utils.py initialize_instance_snapshot_metadata; nova/block_device.py
        get_image_metadata_from_volume
    """
    image_model.refuse_reserved(request.properties)
    refused = sorted(block_device.PROPERTIES & request.properties.keys())
    if refused:
        raise errors.Refused(
            reason=f'The image properties {", ".join(refused)} cannot be '
                   'set: they say what this snapshot is. Leave them out')
    base = {name: value for name, value in image_metadata.items()
            if name not in _ATTRIBUTES}
    inherited = {
        name: value for name, value
        in inheritance.inherited(nova, base, non_inheritable).items()
        if name not in block_device.PROPERTIES | _OBJECT_NAMES}
    return image_model.ImageSpec(
        image_id=asked.image_id, name=asked.name,
        disk_format=volumes_plan.IMAGE_FORMAT,
        container_format=volumes_plan.CONTAINER_FORMAT,
        min_disk=max(nova.image_min_disk, nova.flavor_disk_gib),
        min_ram=nova.image_min_ram,
        owner=nova.project_uuid or None, visibility='private',
        properties={
            **inherited,
            'base_image_ref': base.get('base_image_ref', ''),
            'owner_project_name': nova.project_name,
            'owner_user_name': nova.user_name,
            **request.properties})
