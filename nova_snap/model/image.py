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

"""An image as it is asked for, and as Glance has it.

What a snapshot's record must say is decided here, from values alone. Nova
splits the work: its API makes the record with what the instance inherited, its
driver adds formats and state with the upload. Both halves are written here at
once.
"""

import collections.abc as cabc
import dataclasses
import typing as ty

from nova_snap import errors
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image_set
from nova_snap.model import inheritance
from nova_snap.model import nova as nova_model
from nova_snap.model import request as request_model
from nova_snap import units

# Glance's own attributes: whatever else an image has is a property.
# :source: glance/api/v2/images.py get_base_properties
ATTRIBUTES = frozenset({
    'checksum', 'container_format', 'created_at', 'direct_url',
    'disk_format', 'file', 'id', 'locations', 'min_disk', 'min_ram', 'name',
    'os_hash_algo', 'os_hash_value', 'os_hidden', 'owner', 'protected',
    'schema', 'self', 'size', 'status', 'stores', 'tags', 'updated_at',
    'virtual_size', 'visibility',
})

# Names Glance keeps back without being attributes of an image.
# :source: glance/api/v2/images.py RequestDeserializer
RESERVED = frozenset({'deleted', 'deleted_at', 'location'})

# What a snapshot says about itself; an operator's property must not lie.
OURS = frozenset({
    'base_image_ref',
    'image_location',
    'image_state',
    'image_type',
    'instance_uuid',
    'owner_id',
}) | inheritance.SAID_OF_ONE


@dataclasses.dataclass(frozen=True)
class Image:
    """What Glance says about an image.

    :ivar status: queued, saving, active, killed, deleted, deactivated, ...
    :ivar size: bytes; None until the data is whole
    :ivar checksum: MD5, all that an old image has
    :ivar properties: whatever is not an attribute of Glance's own
    :ivar locations: where its data lie, as far as Glance tells us
    """

    image_id: str
    name: str
    status: str
    size: int | None
    checksum: str | None
    hash_algo: str | None
    hash_value: str | None
    disk_format: str | None
    container_format: str | None
    min_disk: int
    min_ram: int
    owner: str | None
    visibility: str
    properties: cabc.Mapping[str, str]
    is_protected: bool = False
    locations: tuple[str, ...] = ()

    @classmethod
    def from_glance(cls, answer: cabc.Mapping[str, ty.Any]) -> 'Image':
        """Read an answer of Glance; what it leaves out is None or 0."""
        return cls(
            image_id=answer['id'],
            name=answer.get('name') or '',
            status=answer['status'],
            size=answer.get('size'),
            checksum=answer.get('checksum'),
            hash_algo=answer.get('os_hash_algo'),
            hash_value=answer.get('os_hash_value'),
            disk_format=answer.get('disk_format'),
            container_format=answer.get('container_format'),
            min_disk=answer.get('min_disk') or 0,
            min_ram=answer.get('min_ram') or 0,
            owner=answer.get('owner'),
            visibility=answer.get('visibility') or 'private',
            properties={key: str(value) for key, value in answer.items()
                        if key not in ATTRIBUTES and value is not None},
            is_protected=bool(answer.get('protected')),
            locations=tuple(_locations(answer)))


def _locations(answer: cabc.Mapping[str, ty.Any]) -> cabc.Iterator[str]:
    """Name the addresses in an answer, as an operator lets us see them.

    :source: glance/common/config.py show_multiple_locations,
        show_image_direct_url
    """
    for location in answer.get('locations') or ():
        yield location['url']
    if answer.get('direct_url'):
        yield answer['direct_url']


@dataclasses.dataclass(frozen=True)
class LocationWay:
    """By which of its two APIs Glance takes a location.

    :ivar is_new: the one that computes the hash by itself
    """

    is_new: bool


@dataclasses.dataclass(frozen=True)
class Store:
    """One of Glance's stores.

    :ivar pool: in Ceph; None for a store that lies elsewhere
    :ivar fsid: of the cluster
    """

    store_id: str
    is_default: bool
    pool: str | None = None
    fsid: str | None = None

    @classmethod
    def from_glance(cls, answer: cabc.Mapping[str, ty.Any]) -> 'Store':
        """Read one of an answer's stores."""
        about = answer.get('properties') or {}
        return cls(answer['id'],
                   str(answer.get('default', '')).lower() == 'true',
                   *((about.get('pool'), about.get('fsid'))
                     if answer.get('type') == 'rbd' else ()))


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """The record to make in Glance, under an id of our own.

    :ivar min_disk: GiB, as Glance and Nova count it
    :ivar min_ram: MiB, likewise
    :ivar owner: a project, or None for the one that signs in
    """

    image_id: str
    name: str
    disk_format: str
    container_format: str
    min_disk: int
    min_ram: int
    owner: str | None
    visibility: str
    properties: cabc.Mapping[str, str]

    def to_dict(self) -> dict[str, ty.Any]:
        """Return plain values, for the journal."""
        return {**dataclasses.asdict(self),
                'properties': dict(self.properties)}

    @classmethod
    def from_dict(cls, values: cabc.Mapping[str, ty.Any]) -> 'ImageSpec':
        """Rebuild what :meth:`to_dict` wrote."""
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a snapshot is taken from.

    :ivar virtual_size: bytes of the disk as the guest sees it
    :ivar metadata: None for a guest that Nova did not make
    :ivar base: the image it was booted from as Glance has it today, or None
    :ivar is_root: the disk is the one that Nova's sizes are about
    """

    virtual_size: int
    metadata: nova_model.NovaMetadata | None = None
    base: Image | None = None
    is_root: bool = True


def snapshot_spec(request: request_model.Request,
                  asked: request_model.RequestedImage, origin: Origin, *,
                  disk_format: str,
                  non_inheritable: cabc.Set[str] = frozenset()) -> ImageSpec:
    """Say what the record of a snapshot has to hold.

    It is what Nova's API and its driver write together, in one. What Nova
    keeps in its database alone is not known here and not written:
    ``boot_roles``, and the device models it settled at the first boot
    (``hw_disk_bus`` and others) unless the image named them. A difference
    is meant: Nova leaves the image with the project that asked for it, this
    gives it to the instance's project.

    :param disk_format: the format of the bytes that will be sent
    :param non_inheritable: ``[DEFAULT]non_inheritable_image_properties``
    :raises Refused: when a property of the request is one that Glance keeps
        to itself or that says what this snapshot is
    :source: nova/compute/utils.py create_image and
        initialize_instance_snapshot_metadata; nova/utils.py
        get_system_metadata_from_image; nova/virt/libvirt/driver.py
        _create_snapshot_metadata
    """
    refuse_reserved(request.properties)
    nova = origin.metadata
    properties = {'image_type': 'snapshot',
                  'instance_uuid': request.instance_uuid,
                  # Until more is known.
                  **consistency_model.say(asked.image_id,
                                          consistency_model.NOT_FROZEN),
                  **image_set.say(asked.image_id, asked.place)}
    if nova is not None:
        base = origin.base.properties if origin.base else {}
        properties = {**inheritance.inherited(nova, base, non_inheritable),
                      **properties, **_about(nova, base)}
    return ImageSpec(
        image_id=asked.image_id,
        name=asked.name,
        disk_format=disk_format,
        container_format=(nova and nova.image_container_format) or 'bare',
        min_disk=(max(nova.image_min_disk, nova.flavor_disk_gib)
                  if nova and origin.is_root
                  else units.ceil_gib(origin.virtual_size)),
        min_ram=nova.image_min_ram if nova else 0,
        owner=(nova.project_uuid or None) if nova else None,
        visibility='private',
        properties={**properties, **request.properties})


def _about(nova: nova_model.NovaMetadata,
           base: cabc.Mapping[str, str]) -> dict[str, str]:
    """Return what a snapshot of Nova's says about itself and its owner."""
    about = {
        'image_location': 'snapshot',
        'image_state': 'available',
        'owner_id': nova.project_uuid,
        'owner_project_name': nova.project_name,
        'owner_user_name': nova.user_name,
        'user_id': nova.user_uuid,
    }
    # A snapshot of a snapshot goes on naming the first image.
    # :source: nova/compute/api.py, setdefault of image_base_image_ref
    first = base.get('base_image_ref')
    if first or nova.image_uuid:
        about['base_image_ref'] = first or nova.image_uuid or ''
    return about


def refuse_reserved(properties: cabc.Mapping[str, str]) -> None:
    """Refuse properties that are not the operator's to set.

    :raises Refused: naming them
    """
    refused = sorted(
        name for name in properties
        if name in ATTRIBUTES | RESERVED | OURS
        or inheritance.is_withheld(name))
    if refused:
        raise errors.Refused(
            reason=f'The image properties {", ".join(refused)} cannot be '
                   'set: they are Glance\'s own, or say what this snapshot '
                   'is. Leave them out')
