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

"""A Cinder: volumes, and snapshots with a life, whatever the door.

It refuses what Cinder refuses: a snapshot of a volume that it does not know,
or of one in use without force; one more than the quota; to delete one that
is being created. A snapshot is made, and removed, when time passes.
"""

import collections.abc as cabc
import dataclasses
import typing as ty

from nova_snap.model import volumes as volumes_model
from tests.fakes import http as fake_http

Status = volumes_model.SnapshotStatus

# Characters of a snapshot's name.
NAME_LIMIT = 255

# What a snapshot's project is called in the API.
PROJECT = 'os-extended-snapshot-attributes:project_id'

After = cabc.Callable[[float, cabc.Callable[[], None]], object]


class Snapshot(dict[str, ty.Any]):
    """What Cinder's API says of a snapshot of a volume."""

    @property
    def snapshot_id(self) -> str:
        """The id that Cinder chose."""
        return self['id']

    @property
    def volume_id(self) -> str:
        """Of which volume it is."""
        return self['volume_id']

    @property
    def name(self) -> str:
        """How its owner calls it."""
        return self['name']

    @property
    def status(self) -> str:
        """Where it is in its life."""
        return self['status']


@dataclasses.dataclass
class Moment:
    """When a snapshot was begun.

    :ivar freeze: the number of the freeze it lies in; None outside of any
    """

    volume_id: str
    freeze: int | None


class FakeCinder:
    """What Cinder has, for each client alike.

    :ivar after: lets something happen when so many seconds have passed
    :ivar create_seconds: until a snapshot is made; None is never
    :ivar delete_seconds: until one is gone; None is never
    :ivar fails: volumes whose snapshots end in an error
    :ivar keeps: volumes whose snapshots cannot be deleted: by what they are
        instead
    :ivar maximum: of snapshots; -1 for any number
    :ivar refuses: it answers 403 to every request
    :ivar moments: when snapshots were begun
    :ivar freeze_number: tells the freeze that the guest is in
    :ivar name_snapshot: makes the id of the n-th snapshot
    """

    def __init__(self, after: After) -> None:
        self.after = after
        self.volumes: dict[str, volumes_model.Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.maximum = 10
        self.create_seconds: float | None = 0.5
        self.delete_seconds: float | None = 0.5
        self.fails: set[str] = set()
        self.keeps: dict[str, Status] = {}
        self.refuses = False
        self.moments: dict[str, Moment] = {}
        self.freeze_number: cabc.Callable[[], int | None] = lambda: None
        self.name_snapshot: cabc.Callable[[int], str] = (
            lambda number: f'5a000000-0000-4000-8000-{number:012}')
        self._made = 0

    # What Cinder is asked for

    def find_volume(self, volume_id: str) -> volumes_model.Volume:
        """Return a volume.

        :raises Refused: when there is none
        """
        self._let()
        if volume_id not in self.volumes:
            raise fake_http.Refused(
                404, f'Volume {volume_id} could not be found.')
        return self.volumes[volume_id]

    def find(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot.

        :raises Refused: when there is none
        """
        self._let()
        if snapshot_id not in self.snapshots:
            raise fake_http.Refused(
                404, f'Snapshot {snapshot_id} could not be found.')
        return self.snapshots[snapshot_id]

    def listing(self, volume_id: str | None = None) -> list[Snapshot]:
        """Return all snapshots, or those of one volume."""
        self._let()
        return [one for one in self.snapshots.values()
                if volume_id in (None, one['volume_id'])]

    def limits(self) -> dict[str, int]:
        """Return how many snapshots there are, and may be."""
        self._let()
        return {'totalSnapshotsUsed': len(self.snapshots),
                'maxTotalSnapshots': self.maximum}

    def create(self, values: cabc.Mapping[str, ty.Any], *,
               force: bool) -> Snapshot:
        """Begin a snapshot.

        :param values: ``volume_id``, and what it is to say of itself
        :param force: also of a volume that is in use
        :raises Refused: when none is begun
        """
        volume = self.find_volume(values['volume_id'])
        if volume.status != 'available' and not (
                force and volume.status == 'in-use'):
            raise fake_http.Refused(
                400, f'Invalid volume: Volume {volume.volume_id} status must '
                     f'be available, but current status is {volume.status}.')
        if len(values.get('name') or '') > NAME_LIMIT:
            raise fake_http.Refused(400, 'Invalid input for field name')
        if 0 <= self.maximum <= self.limits()['totalSnapshotsUsed']:
            raise fake_http.Refused(
                413, 'Maximum number of snapshots allowed '
                     f'({self.maximum}) exceeded')
        self._made += 1
        made = Snapshot(
            id=self.name_snapshot(self._made), status=Status.CREATING,
            size=volume.size_gib, volume_id=volume.volume_id,
            name=values.get('name'), description=values.get('description'),
            metadata=dict(values.get('metadata') or {}))
        made[PROJECT] = volume.project_id
        self.snapshots[made.snapshot_id] = made
        self.moments[made.snapshot_id] = Moment(volume.volume_id,
                                                self.freeze_number())
        self._later(self.create_seconds, lambda: self.become(
            made.snapshot_id, Status.ERROR
            if volume.volume_id in self.fails else Status.AVAILABLE))
        return made

    def delete(self, snapshot_id: str) -> None:
        """Begin to remove a snapshot.

        :raises Refused: when there is none, or it is at something
        """
        found = self.find(snapshot_id)
        if found['status'] not in volumes_model.DELETABLE:
            raise fake_http.Refused(
                400, f'Invalid snapshot: {snapshot_id} is in the wrong '
                     f'state: {found["status"]}')
        self.become(snapshot_id, Status.DELETING)
        self._later(self.delete_seconds,
                    lambda: self._end_delete(snapshot_id))

    # What comes of it

    def become(self, snapshot_id: str, status: Status) -> None:
        """Give a snapshot a state, if it is there still."""
        found = self.snapshots.get(snapshot_id)
        if found is not None:
            moment = self.moments[snapshot_id]
            if (status == Status.AVAILABLE
                    and moment.freeze != self.freeze_number()):
                # It may be of any moment since it was begun.
                moment.freeze = None
            # What a test has kept stays as it was.
            self.snapshots[snapshot_id] = Snapshot(found, status=status)

    def _end_delete(self, snapshot_id: str) -> None:
        found = self.snapshots[snapshot_id]
        if found['volume_id'] in self.keeps:
            self.become(snapshot_id, self.keeps[found['volume_id']])
        else:
            del self.snapshots[snapshot_id]

    def _later(self, seconds: float | None,
               act: cabc.Callable[[], None]) -> None:
        if seconds is not None:
            self.after(seconds, act)

    def _let(self) -> None:
        if self.refuses:
            raise fake_http.Refused(403, 'Policy does not allow this')
