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

"""Volumes and snapshots of them, as Cinder has them."""

import collections.abc as cabc
import dataclasses
import typing as ty

from nova_snap import compat

# The key of a snapshot's metadata that says which of our records asked for
# it: an answer may be lost, and what was made is found by this.
RECORD_KEY = 'nova_snap_record'


class SnapshotStatus(compat.StrEnum):
    """What a snapshot of a volume is, as far as we care.

    :source: cinder/objects/fields.py SnapshotStatus
    """

    CREATING = 'creating'
    AVAILABLE = 'available'
    DELETING = 'deleting'
    ERROR = 'error'
    ERROR_DELETING = 'error_deleting'


# The only ones that Cinder deletes.
# :source: cinder/volume/api.py delete_snapshot
DELETABLE = frozenset({SnapshotStatus.AVAILABLE, SnapshotStatus.ERROR})


@dataclasses.dataclass(frozen=True)
class Volume:
    """What Cinder says about a volume.

    :ivar size_gib: GiB, as Cinder and Nova count it
    :ivar project_id: None where we are not allowed to know it
    :ivar attachments: the device ('/dev/vda') by the server that has it
    :ivar image_metadata: of the image that it was made from
    """

    volume_id: str
    name: str
    description: str | None
    status: str
    size_gib: int
    project_id: str | None
    attachments: cabc.Mapping[str, str]
    image_metadata: cabc.Mapping[str, str]

    @classmethod
    def from_cinder(cls, answer: cabc.Mapping[str, ty.Any]) -> 'Volume':
        """Read an answer of Cinder."""
        return cls(
            volume_id=answer['id'],
            name=answer.get('name') or '',
            description=answer.get('description'),
            status=answer['status'],
            size_gib=answer['size'],
            project_id=answer.get('os-vol-tenant-attr:tenant_id'),
            attachments={one['server_id']: one.get('device') or ''
                         for one in answer.get('attachments') or ()},
            image_metadata={
                key: str(value) for key, value
                in (answer.get('volume_image_metadata') or {}).items()})


@dataclasses.dataclass(frozen=True)
class VolumeSnapshot:
    """What Cinder says about a snapshot of a volume.

    :ivar project_id: None where we are not allowed to know it
    """

    snapshot_id: str
    volume_id: str
    name: str
    status: str
    size_gib: int
    project_id: str | None
    metadata: cabc.Mapping[str, str]

    @classmethod
    def from_cinder(cls,
                    answer: cabc.Mapping[str, ty.Any]) -> 'VolumeSnapshot':
        """Read an answer of Cinder."""
        return cls(
            snapshot_id=answer['id'],
            volume_id=answer['volume_id'],
            name=answer.get('name') or '',
            status=answer['status'],
            size_gib=answer.get('size') or 0,
            project_id=answer.get(
                'os-extended-snapshot-attributes:project_id'),
            metadata=dict(answer.get('metadata') or {}))


@dataclasses.dataclass(frozen=True)
class SnapshotSpec:
    """The snapshot to ask for.

    :ivar record_id: which of our records asks; with the volume it tells this
        snapshot from all others
    """

    volume_id: str
    name: str
    description: str | None
    record_id: str

    @property
    def metadata(self) -> dict[str, str]:
        """Return what finds it again."""
        return {RECORD_KEY: self.record_id}

    def is_of(self, snapshot: VolumeSnapshot) -> bool:
        """Tell whether a snapshot is the one that was asked for.

        Its name does not: Cinder strips spaces, and a user may rename it.

        :source: cinder/api/openstack/wsgi.py clean_name_and_description
        """
        return (snapshot.volume_id == self.volume_id
                and snapshot.metadata.get(RECORD_KEY) == self.record_id)


@dataclasses.dataclass(frozen=True)
class SnapshotLimits:
    """How many snapshots of volumes a project may have.

    :ivar maximum: -1 for no limit
    """

    used: int
    maximum: int

    def missing(self, wanted: int) -> int:
        """Return how many of those that are wanted there is no room for."""
        if self.maximum < 0:
            return 0
        return max(self.used + wanted - self.maximum, 0)
