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

"""What the product needs of Cinder: snapshots of volumes, and refusals."""

import typing as ty
import uuid

import ddt

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module

# Without force, as before version 3.66, and where force is no choice any more.
# :source: cinder/api/openstack/rest_api_version_history.rst
OLD_VERSION, NEW_VERSION = '3.0', '3.66'

# Characters of a name: one too many.
TOO_LONG = 256


class Side(ty.Protocol):
    """A Cinder, fake or real.

    :ivar volumes: the product's, as a member of the volume's project
    :ivar volume_id: a volume that is in use
    """

    volumes: volumes_module.Volumes
    volume_id: str

    def ask(self, method: str, path: str, body: ty.Any = None,
            version: str = OLD_VERSION) -> int:
        """Send one request, not through the product.

        :returns: the status of the answer
        """

    def wait(self, snapshot_id: str, status: str | None) -> None:
        """Wait until a snapshot has a status; None for being gone."""

    def room(self, number: int) -> ty.ContextManager[None]:
        """Let the project have so many snapshots more."""

    def standstill(self) -> ty.ContextManager[None]:
        """Let the storage stand still; it goes on after the block."""

    def broken(self) -> ty.ContextManager[None]:
        """Let each snapshot of the volume end in an error."""

    def volume_in(self, status: str) -> ty.ContextManager[None]:
        """Let the volume have another status."""


@ddt.ddt
class SnapshotContract:
    """Snapshots of a volume in use."""

    side: Side

    def spec(self, **changes: ty.Any) -> volumes_model.SnapshotSpec:
        """Describe a snapshot that a record of ours would ask for."""
        return volumes_model.SnapshotSpec(**{
            'volume_id': self.side.volume_id, 'name': 'nightly',
            'description': None, 'record_id': str(uuid.uuid4()), **changes})

    def begin(self, spec: volumes_model.SnapshotSpec) -> str:
        """Ask for a snapshot; it is removed with the test."""
        made = self.side.volumes.create_snapshot(spec)
        self.addCleanup(self.remove, made.snapshot_id)
        return made.snapshot_id

    def remove(self, snapshot_id: str) -> None:
        """Delete a snapshot and wait until it is gone."""
        self.side.volumes.delete_snapshot(snapshot_id)
        self.side.wait(snapshot_id, None)

    def status(self, snapshot_id: str) -> str | None:
        """Return the status of a snapshot; None where there is none."""
        found = self.side.volumes.snapshot(snapshot_id)
        return found and found.status

    def refused(self, status: int, **changes: ty.Any) -> errors.SnapError:
        """Ask for a snapshot that Cinder refuses with this status."""
        spec = self.spec(**changes)
        refused = self.assertRaises(errors.VolumeServiceError,
                                    self.side.volumes.create_snapshot, spec)
        self.assertEqual(status, refused.status)
        self.assertIsNone(self.side.volumes.find_snapshot(spec))
        return refused

    def test_of_a_volume_in_use_it_has_what_was_asked_for(self):
        self.assertEqual(
            'in-use', self.side.volumes.volume(self.side.volume_id).status)
        spec = self.spec()
        with self.side.standstill():
            made = self.begin(spec)
            self.assertEqual('creating', self.status(made))
        self.side.wait(made, 'available')

        found = self.side.volumes.snapshot(made)
        self.assertEqual(
            (spec.volume_id, spec.name, 'available'),
            (found.volume_id, found.name, found.status))
        self.assertLessEqual(spec.metadata.items(), found.metadata.items())
        self.assertEqual(found, self.side.volumes.find_snapshot(spec))

    def test_that_of_another_record_is_not_found(self):
        self.side.wait(self.begin(self.spec()), 'available')
        self.assertIsNone(self.side.volumes.find_snapshot(self.spec()))

    @ddt.data((OLD_VERSION, {}), (OLD_VERSION, {'force': False}),
              (NEW_VERSION, {'force': False}))
    @ddt.unpack
    def test_without_force_a_volume_in_use_is_refused(self, version, force):
        self.assertEqual(400, self.side.ask('POST', '/snapshots', {
            'snapshot': {'volume_id': self.side.volume_id, **force}},
            version))

    def test_an_unknown_volume_is_not_found(self):
        unknown = str(uuid.uuid4())
        self.assertIsNone(self.side.volumes.volume(unknown))
        refused = self.refused(404, volume_id=unknown)
        self.assertIsInstance(refused, errors.VolumeGone)

    def test_a_name_that_is_too_long_is_refused(self):
        self.refused(400, name='x' * TOO_LONG)

    def test_force_is_for_a_volume_in_use_alone(self):
        with self.side.volume_in('error'):
            self.assertIn('error', str(self.refused(400)))

    def test_over_the_quota_none_is_made(self):
        with self.side.room(0):
            self.assertEqual(1, self.side.volumes.limits().missing(1))
            refused = self.refused(413)
        self.assertIsInstance(refused, errors.VolumeQuotaExceeded)
        with self.side.room(1):
            self.side.wait(self.begin(self.spec()), 'available')

    def test_deleted_it_goes(self):
        made = self.begin(self.spec())
        self.side.wait(made, 'available')
        with self.side.standstill():
            self.side.volumes.delete_snapshot(made)
            self.assertEqual('deleting', self.status(made))
            # That it goes is what was asked for.
            self.side.volumes.delete_snapshot(made)
            self.assertEqual(400, self.side.ask('DELETE',
                                                f'/snapshots/{made}'))
        self.side.wait(made, None)
        self.side.volumes.delete_snapshot(made)
        self.assertEqual(404, self.side.ask('DELETE', f'/snapshots/{made}'))

    def test_while_it_is_created_it_is_not_deleted(self):
        with self.side.standstill():
            made = self.begin(self.spec())
            refused = self.assertRaises(
                errors.VolumeServiceError,
                self.side.volumes.delete_snapshot, made)
            self.assertEqual(400, refused.status)
            self.assertEqual('creating', self.status(made))
        self.side.wait(made, 'available')

    def test_one_that_failed_can_be_deleted(self):
        with self.side.broken():
            made = self.begin(self.spec())
            self.side.wait(made, 'error')
        self.remove(made)
