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

"""A Cinder with volumes and snapshots that have a life, and what one process
sees of it.

It refuses what Cinder refuses: a snapshot of a volume that it does not know,
or of one in use without force; one more than the quota; to delete one that
is being created. A snapshot is made, and removed, when time passes.
"""

import collections.abc as cabc
import dataclasses

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from tests.fakes import calls as fake_calls
from tests.fakes import clock as fake_clock

OUTSIDE = 'cinder'
Status = volumes_model.SnapshotStatus


@dataclasses.dataclass
class Moment:
    """When a snapshot was begun.

    :ivar freeze: the number of the freeze it lies in; None outside of any
    """

    volume_id: str
    freeze: int | None


class FakeCinder:
    """What Cinder has, whoever is connected to it.

    :ivar create_seconds: until a snapshot is made; None is never
    :ivar ask_seconds: until a request for one is answered
    :ivar appear_seconds: until a request whose answer was lost shows
    :ivar delete_seconds: until one is gone
    :ivar fails: volumes whose snapshots end in an error
    :ivar keeps: volumes whose snapshots cannot be deleted: by what they are
        instead
    :ivar refuses: nobody may do anything
    :ivar foreign_projects: in which these credentials may not act
    :ivar moments: when snapshots were begun
    """

    def __init__(self, clock: fake_clock.FakeClock) -> None:
        self.clock = clock
        self.volumes: dict[str, volumes_model.Volume] = {}
        self.snapshots: dict[str, volumes_model.VolumeSnapshot] = {}
        self.maximum = 10
        self.project_id: str | None = None
        self.foreign_projects: set[str] = set()
        self.create_seconds: float | None = 0.5
        self.ask_seconds = 0.0
        self.appear_seconds = 0.0
        self.delete_seconds = 0.5
        self.fails: set[str] = set()
        self.keeps: dict[str, Status] = {}
        self.refuses = False
        self.moments: dict[str, Moment] = {}
        self.freeze_number: cabc.Callable[[], int | None] = lambda: None
        self._made = 0

    def create(self, spec: volumes_model.SnapshotSpec, *,
               force: bool) -> volumes_model.VolumeSnapshot:
        """Begin a snapshot, as Cinder's API does."""
        volume = self.volumes.get(spec.volume_id)
        if volume is None:
            raise self.error(errors.VolumeGone, 404, 'no such volume')
        if volume.status != 'available' and not (
                force and volume.status == 'in-use'):
            raise self.error(errors.VolumeServiceError, 400,
                             f'volume is {volume.status}')
        if 0 <= self.maximum <= len(self.snapshots):
            raise self.error(errors.VolumeQuotaExceeded, 413,
                             'too many snapshots')
        assert len(spec.name) <= 255, 'Cinder takes no longer name'
        self._made += 1
        made = volumes_model.VolumeSnapshot(
            snapshot_id=f'5a000000-0000-4000-8000-{self._made:012}',
            volume_id=spec.volume_id, name=spec.name,
            status=Status.CREATING, size_gib=volume.size_gib,
            project_id=volume.project_id, metadata=dict(spec.metadata))
        self.snapshots[made.snapshot_id] = made
        self.moments[made.snapshot_id] = Moment(spec.volume_id,
                                                self.freeze_number())
        if self.create_seconds is not None:
            self.clock.after(
                self.create_seconds, lambda: self.become(
                    made.snapshot_id, Status.ERROR
                    if spec.volume_id in self.fails else Status.AVAILABLE))
        return made

    def delete(self, snapshot_id: str) -> None:
        """Begin to remove a snapshot."""
        found = self.snapshots.get(snapshot_id)
        if found is None:
            raise self.error(errors.VolumeGone, 404, 'no such snapshot')
        if found.status not in volumes_model.DELETABLE:
            raise self.error(errors.VolumeServiceError, 400,
                             f'snapshot is {found.status}')
        self.become(snapshot_id, Status.DELETING)
        self.clock.after(self.delete_seconds,
                         lambda: self._end_delete(snapshot_id))

    def _end_delete(self, snapshot_id: str) -> None:
        found = self.snapshots[snapshot_id]
        if found.volume_id in self.keeps:
            self.become(snapshot_id, self.keeps[found.volume_id])
        else:
            del self.snapshots[snapshot_id]

    def become(self, snapshot_id: str, status: Status) -> None:
        """Give a snapshot a state, if it is there still."""
        found = self.snapshots.get(snapshot_id)
        if found is not None:
            moment = self.moments[snapshot_id]
            if (status == Status.AVAILABLE
                    and moment.freeze != self.freeze_number()):
                # It may be of any moment since it was begun.
                moment.freeze = None
            self.snapshots[snapshot_id] = dataclasses.replace(
                found, status=status)

    @staticmethod
    def error(kind: type[errors.VolumeServiceError], status: int,
              reason: str) -> errors.VolumeServiceError:
        return kind(call='planted', status=status, reason=reason)


class FakeVolumes(volumes_module.Volumes):
    """One process's way to a fake Cinder."""

    def __init__(self, cinder: FakeCinder,
                 calls: fake_calls.Calls) -> None:
        self._cinder_ = cinder
        self._calls = calls

    def check(self) -> None:
        self._make('check', lambda: None, changes=False)

    def project_id(self) -> str | None:
        return self._cinder_.project_id

    def acting_in(self, project_id: str | None) -> volumes_module.Volumes:
        if project_id in self._cinder_.foreign_projects:
            raise errors.VolumeServiceRefused(
                call=f'to act in project {project_id}', status=401,
                reason='the role member is missing')
        return self

    def volume(self, volume_id: str) -> volumes_model.Volume | None:
        return self._make('volume',
                          lambda: self._cinder_.volumes.get(volume_id),
                          changes=False)

    def limits(self) -> volumes_model.SnapshotLimits:
        return self._make('limits', lambda: volumes_model.SnapshotLimits(
            len(self._cinder_.snapshots), self._cinder_.maximum),
            changes=False)

    def create_snapshot(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot):
        def create() -> volumes_model.VolumeSnapshot:
            self._cinder_.clock.sleep(self._cinder_.ask_seconds)
            return self._cinder_.create(spec, force=True)

        def half() -> None:
            # Cinder has the request and is at it.
            self._cinder_.clock.after(
                self._cinder_.appear_seconds,
                lambda: self._cinder_.create(spec, force=True))

        return self._make('create_snapshot', create, words=spec.volume_id,
                          half=half)

    def find_snapshot(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot | None):
        return self._make(
            'find_snapshot', lambda: next(
                filter(spec.is_of, self._cinder_.snapshots.values()), None),
            changes=False)

    def snapshot(
        self, snapshot_id: str
    ) -> volumes_model.VolumeSnapshot | None:
        return self._make(
            'snapshot', lambda: self._cinder_.snapshots.get(snapshot_id),
            changes=False)

    def delete_snapshot(self, snapshot_id: str) -> None:
        def delete() -> None:
            try:
                self._cinder_.delete(snapshot_id)
            except errors.VolumeGone:
                pass

        self._make('delete_snapshot', delete, words=snapshot_id)

    def _make(self, name: str, effect: cabc.Callable[[], object], *,
              words: str = '', changes: bool = True,
              half: cabc.Callable[[], None] | None = None) -> object:
        def ask() -> object:
            if self._cinder_.refuses:
                raise self._cinder_.error(errors.VolumeServiceRefused, 403,
                                          'forbidden')
            return effect()

        return self._calls.make(
            OUTSIDE, name, ask, words=words, changes=changes, half=half,
            error=lambda: errors.VolumeServiceUnavailable(
                call=name, status=None, reason='planted'))
