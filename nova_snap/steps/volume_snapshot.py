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

"""The snapshots that Cinder makes of a guest's volumes."""

import collections.abc as cabc
import dataclasses

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

# Cinder remembers a snapshot before it answers, and takes less than a second
# for it: after so long a request that got no answer has come to nothing.
APPEAR_SECONDS = 10.0

# Between two looks at a snapshot: most are made and removed within a second.
FIRST_LOOK_SECONDS = 0.25
LONGEST_LOOK_SECONDS = 2.0


@dataclasses.dataclass
class CreateVolumeSnapshot(step_module.Step):
    """Artifact: a snapshot of one volume.

    :ivar record_id: of our record, which the snapshot carries: it is found
        by that when its id was never learnt
    :ivar project_id: where it is made; None where there are no projects
    :ivar timeout: seconds until it is made, and until it is gone again
    :ivar snapshot_id: None until Cinder has told it
    :ivar is_refused: Cinder made none, and said so
    """

    volume_id: str
    name: str
    description: str | None
    record_id: str
    project_id: str | None
    timeout: int
    snapshot_id: str | None = None
    is_refused: bool = False

    def do(self, world: world_module.World) -> None:
        """Ask for it; it is still being created.

        :raises VolumeServiceUnavailable: when the answer was lost; it may be
            there all the same
        :raises VolumeServiceError: when Cinder does not make it
        """
        try:
            made = self._volumes(world).create_snapshot(self._spec())
        except errors.VolumeServiceUnavailable:
            raise
        except errors.VolumeServiceError:
            self.is_refused = True
            raise
        self.snapshot_id = made.snapshot_id

    def undo(self, world: world_module.World) -> None:
        """Delete it and see it gone.

        :raises VolumeSnapshotFailed: when Cinder does not delete it in time,
            or at all
        :raises VolumeServiceError: when Cinder does not do what it is asked
        """
        volumes = self._volumes(world)
        if self.snapshot_id is None:
            self.snapshot_id = self._found(world, volumes)
        if self.snapshot_id is not None:
            delete(world, volumes, self.snapshot_id, self.timeout)

    def _found(self, world: world_module.World,
               volumes: volumes_module.Volumes) -> str | None:
        """Return the id of a snapshot whose answer never came.

        Cinder may be at it still.
        """
        for _ in _looks(world, 0 if self.is_refused else APPEAR_SECONDS):
            found = volumes.find_snapshot(self._spec())
            if found is not None:
                return found.snapshot_id
        return None

    def _spec(self) -> volumes_model.SnapshotSpec:
        return volumes_model.SnapshotSpec(self.volume_id, self.name,
                                  self.description, self.record_id)

    def _volumes(self, world: world_module.World) -> volumes_module.Volumes:
        return world.volumes.acting_in(self.project_id)


def wait_created(world: world_module.World,
                 volumes: volumes_module.Volumes,
                 snapshot: 'CreateVolumeSnapshot', timeout: float, *,
                 check: cabc.Callable[[], None]) -> None:
    """Wait until Cinder has made a snapshot.

    :param timeout: seconds
    :param check: called before each look; it may raise to end the wait
    :raises VolumeSnapshotFailed: when it could not be made, is gone, or is
        not made in time
    """
    assert snapshot.snapshot_id is not None
    for _ in _looks(world, timeout):
        check()
        found = volumes.snapshot(snapshot.snapshot_id)
        if found is None:
            raise _failed(snapshot.snapshot_id, snapshot.volume_id,
                          'it was deleted')
        if found.status == volumes_model.SnapshotStatus.AVAILABLE:
            return
        if found.status != volumes_model.SnapshotStatus.CREATING:
            raise _failed(found.snapshot_id, found.volume_id,
                          f'it is in the state {found.status}; the log of '
                          'cinder-volume says why')
    raise _failed(snapshot.snapshot_id, snapshot.volume_id,
                  f'it was not made within {snapshot.timeout} s '
                  '([nova_snap]volume_snapshot_timeout)')


def delete(world: world_module.World, volumes: volumes_module.Volumes,
           snapshot_id: str, timeout: float) -> None:
    """Delete a snapshot and see it gone; one that is absent is fine.

    Cinder deletes none that it is still creating, and tells by its state
    alone that it could not delete one.

    :param timeout: seconds
    :raises VolumeSnapshotFailed: when it is in use, or stays
    :raises VolumeServiceError: when Cinder does not do what it is asked
    """
    is_asked = False
    found = None
    for _ in _looks(world, timeout):
        found = volumes.snapshot(snapshot_id)
        if found is None:
            return
        if found.status == volumes_model.SnapshotStatus.ERROR_DELETING:
            raise _failed(snapshot_id, found.volume_id,
                          'Cinder could not delete it; the log of '
                          'cinder-volume says why. Then set it to "error" '
                          'and try again')
        if found.status not in volumes_model.DELETABLE:
            continue
        if is_asked:
            raise _failed(snapshot_id, found.volume_id,
                          f'it is {found.status} again after it was to be '
                          'deleted: a volume or an image may be made of it')
        volumes.delete_snapshot(snapshot_id)
        is_asked = True
    if found is not None:
        raise _failed(snapshot_id, found.volume_id,
                      f'it is {found.status} still, after {timeout:.0f} s')


def _looks(world: world_module.World,
           timeout: float) -> cabc.Iterator[None]:
    """Look until the time is over, less and less often."""
    return world.clock.looks(timeout, first_pause=FIRST_LOOK_SECONDS,
                             longest_pause=LONGEST_LOOK_SECONDS)


def _failed(snapshot_id: str, volume_id: str,
            reason: str) -> errors.VolumeSnapshotFailed:
    return errors.VolumeSnapshotFailed(
        call='look', status=None, snapshot_id=snapshot_id,
        volume_id=volume_id, reason=reason)
