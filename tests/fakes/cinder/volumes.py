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

"""A fake Cinder without a wire: what one process sees of it."""

import collections.abc as cabc
import typing as ty

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import errors as cinder_errors
from nova_snap.services.cinder import volumes as volumes_module
from tests.fakes import calls as fake_calls
from tests.fakes.cinder import store as cinder_store
from tests.fakes import clock as fake_clock

OUTSIDE = 'cinder'

Found = volumes_model.VolumeSnapshot
Status = volumes_model.SnapshotStatus


class FakeCinder(cinder_store.FakeCinder):
    """A Cinder whose answers take their time.

    :ivar ask_seconds: until a request for a snapshot is answered
    :ivar appear_seconds: until a request whose answer was lost shows
    :ivar project_id: in which these credentials act
    :ivar foreign_projects: in which they must not act
    """

    def __init__(self, clock: fake_clock.FakeClock) -> None:
        super().__init__(clock.after)
        self.clock = clock
        self.ask_seconds = 0.0
        self.appear_seconds = 0.0
        self.project_id: str | None = None
        self.foreign_projects: set[str] = set()


class FakeVolumes(volumes_module.Volumes):
    """One process's way to a fake Cinder."""

    def __init__(self, cinder: FakeCinder,
                 calls: fake_calls.Calls) -> None:
        self._fake = cinder
        self._calls = calls

    def check(self) -> None:
        self._make('check', self._fake.limits, changes=False)

    def project_id(self) -> str | None:
        return self._fake.project_id

    def acting_in(self, project_id: str | None) -> volumes_module.Volumes:
        if project_id in self._fake.foreign_projects:
            raise errors.VolumeServiceRefused(
                call=f'to act in project {project_id}', status=401,
                reason='the role member is missing')
        return self

    def volume(self, volume_id: str) -> volumes_model.Volume | None:
        return self._look('volume',
                          lambda: self._fake.find_volume(volume_id))

    def limits(self) -> volumes_model.SnapshotLimits:
        def limits() -> volumes_model.SnapshotLimits:
            found = self._fake.limits()
            return volumes_model.SnapshotLimits(
                found['totalSnapshotsUsed'], found['maxTotalSnapshots'])

        return self._make('limits', limits, changes=False)

    def create_snapshot(self, spec: volumes_model.SnapshotSpec) -> Found:
        def begin() -> Found:
            return Found.from_cinder(self._fake.create({
                'volume_id': spec.volume_id, 'name': spec.name,
                'description': spec.description,
                'metadata': spec.metadata}, force=True))

        def create() -> Found:
            self._fake.clock.sleep(self._fake.ask_seconds)
            return begin()

        def half() -> None:
            # Cinder has the request and is at it.
            self._fake.clock.after(self._fake.appear_seconds, begin)

        return self._make('create_snapshot', create, words=spec.volume_id,
                          half=half)

    def find_snapshot(self,
                      spec: volumes_model.SnapshotSpec) -> Found | None:
        return self._make(
            'find_snapshot', lambda: next(
                filter(spec.is_of, map(Found.from_cinder, self._fake.listing(
                    spec.volume_id))), None), changes=False)

    def snapshot(self, snapshot_id: str) -> Found | None:
        return self._look('snapshot', lambda: Found.from_cinder(
            self._fake.find(snapshot_id)))

    def delete_snapshot(self, snapshot_id: str) -> None:
        def delete() -> None:
            found = self._fake.snapshots.get(snapshot_id)
            if found is not None and found.status != Status.DELETING:
                self._fake.delete(snapshot_id)

        self._make('delete_snapshot', delete, words=snapshot_id)

    def _look(self, name: str, find: cabc.Callable[[], ty.Any]) -> ty.Any:
        def look() -> ty.Any:
            try:
                with cinder_errors.translated(name):
                    return find()
            except errors.VolumeGone:
                return None

        return self._make(name, look, changes=False)

    def _make(self, name: str, effect: cabc.Callable[[], ty.Any], *,
              words: str = '', changes: bool = True,
              half: cabc.Callable[[], None] | None = None) -> ty.Any:
        def ask() -> ty.Any:
            with cinder_errors.translated(name):
                return effect()

        return self._calls.make(
            OUTSIDE, name, ask, words=words, changes=changes, half=half,
            error=lambda: errors.VolumeServiceUnavailable(
                call=name, status=None, reason='planted'))
