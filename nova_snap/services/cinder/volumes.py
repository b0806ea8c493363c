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

"""Cinder: the calls we need of it.

A snapshot of a volume has an id that Cinder chooses. Each carries the id
of our record in its metadata: so a recovery finds what a killed process left,
and what an answer that was lost on its way said can be looked up.
"""

import collections.abc as cabc
import http
import typing as ty

from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session
from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.model import remedy
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import client as client_module
from nova_snap.services import retry
from nova_snap.services import sessions

LOG = logging.getLogger(__name__)

# Answers that say that nothing was begun.
NOT_TAKEN = frozenset({
    http.HTTPStatus.TOO_MANY_REQUESTS,
    http.HTTPStatus.SERVICE_UNAVAILABLE,
})

# The role that may make snapshots by Cinder's own policy.
# :source: cinder/policies/snapshots.py CREATE_POLICY
ROLE = 'member'

Result = ty.TypeVar('Result')
Value = ty.TypeVar('Value', volumes_model.Volume, volumes_model.VolumeSnapshot)


class Volumes:
    """The volumes of one project. Nothing is sent before the first call.

    Each call raises ConfigError where [cinder]endpoint_template cannot be
    filled, and VolumeServiceAbsent where nothing says where Cinder is.
    """

    def __init__(self, session: ksa_session.Session,
                 options: cabc.Mapping[str, ty.Any], *,
                 policy: sessions.Policy | None = None,
                 clock: clock_module.Clock | None = None,
                 auth: ksa_plugin.BaseAuthPlugin | None = None) -> None:
        """Remember how Cinder is reached.

        :param options: as :class:`nova_snap.services.cinder.client.Client`
            takes them
        :param auth: instead of the session's own
        """
        self._session = session
        self._options = options
        self._policy = policy or sessions.Policy()
        self._clock = clock or clock_module.Clock()
        self._client = client_module.Client(session, options,
                                            auth or session.auth)
        self._retry = retry.Retry(self._policy.num_retries, self._clock)
        self._others: dict[str, Volumes] = {}

    def check(self) -> None:
        """See, once, that Cinder answers and takes our credentials.

        :raises VolumeServiceUnavailable: when Cinder or Keystone is silent
        :raises VolumeServiceRefused: when the credentials are not accepted
        :raises VolumeServiceError: when what answers is no Cinder
        """
        self._client.ask('limits', lambda cinder: cinder.limits.get())

    def project_id(self) -> str | None:
        """Return the project we act in; None where there are none.

        :raises VolumeServiceError: when we cannot sign in
        """
        return self._client.project_id()

    def acting_in(self, project_id: str | None) -> 'Volumes':
        """Return the volumes of another project, as the same user.

        What Cinder makes belongs to the project that asks for it, also when
        an administrator asks: a snapshot made from elsewhere could not be
        used by the instance's owner.

        :param project_id: None for the one that we act in
        :raises VolumeServiceRefused: when the user has no role there, or the
            credentials are of one project alone
        :raises VolumeServiceError: when we cannot sign in
        :source: cinder/volume/api.py create_snapshot_in_db
        """
        own = self.project_id() if project_id else None
        if not project_id or own in (None, project_id):
            return self
        if project_id not in self._others:
            self._others[project_id] = Volumes(
                self._session, self._options, policy=self._policy,
                clock=self._clock, auth=self._auth_within(project_id, own))
        return self._others[project_id]

    def volume(self, volume_id: str) -> volumes_model.Volume | None:
        """Look a volume up; None where there is none that we may see.

        :raises VolumeServiceError: when Cinder does not let us look
        """
        return self._look('show the volume', volumes_model.Volume,
                          lambda cinder: cinder.volumes.get(volume_id))

    def limits(self) -> volumes_model.SnapshotLimits:
        """Return how many snapshots the project may have.

        The limits by type of volume, and those of bytes, are not among them:
        Cinder says no when it is asked.

        :raises VolumeServiceError: when Cinder does not tell
        """
        found = self._ask('limits', lambda cinder: {
            limit.name: limit.value for limit in cinder.limits.get()
            .absolute})
        return volumes_model.SnapshotLimits(
            used=found.get('totalSnapshotsUsed', 0),
            maximum=found.get('maxTotalSnapshots', -1))

    def create_snapshot(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot):
        """Ask for a snapshot of a volume, also of one in use.

        It is asked for once. When the answer is lost, the snapshot is looked
        for; it is asked for again only where Cinder said that it took
        nothing and nothing is there.

        :returns: a snapshot that is being created
        :raises VolumeServiceUnavailable: when Cinder stays silent; it may be
            there or come to be there
        :raises VolumeQuotaExceeded: when the project has too many
        :raises VolumeServiceError: when Cinder does not make it
        """
        attempts = retry.Attempts(self._policy.num_retries, self._clock)
        may_ask = True
        while True:
            try:
                if may_ask:
                    return self._create(spec)
            except errors.VolumeServiceUnavailable as exc:
                lost = exc
            may_ask = False
            try:
                found = self._find(spec)
                may_ask = lost.status in NOT_TAKEN
            except errors.VolumeServiceError:
                # What is not known to be absent may be there.
                found = None
            if found is not None:
                LOG.warning('Snapshot %s of volume %s was made although %s',
                            found.snapshot_id, spec.volume_id, lost)
                return found
            attempts.failed(lost)

    def find_snapshot(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot | None):
        """Look for a snapshot that may have been made.

        :raises VolumeServiceError: when Cinder does not let us look
        """
        return self._retry.call(lambda: self._find(spec))

    def snapshot(self, snapshot_id: str) -> (
            volumes_model.VolumeSnapshot | None):
        """Look a snapshot up; None where there is none that we may see.

        :raises VolumeServiceError: when Cinder does not let us look
        """
        return self._look(
            'show the snapshot', volumes_model.VolumeSnapshot,
            lambda cinder: cinder.volume_snapshots.get(snapshot_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Ask Cinder to remove a snapshot; one that is absent is fine.

        Cinder removes it later on, or finds that it cannot.

        :raises VolumeServiceRefused: when we must not
        :raises VolumeServiceError: when it is in a state in which Cinder
            does not remove it
        """
        try:
            self._ask(
                f'delete the snapshot {snapshot_id}',
                lambda cinder: cinder.volume_snapshots.delete(snapshot_id))
        except errors.VolumeGone:
            LOG.debug('Snapshot %s was not there', snapshot_id)
        except errors.VolumeServiceError as exc:
            # The answer to the first request may have been lost.
            found = self.snapshot(snapshot_id)
            if found and found.status != volumes_model.SnapshotStatus.DELETING:
                raise
            LOG.debug('Snapshot %s goes although %s', snapshot_id, exc)

    def _create(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot):
        def ask(cinder: ty.Any) -> volumes_model.VolumeSnapshot:
            answer = cinder.volume_snapshots.create(
                spec.volume_id, force=True, name=spec.name,
                description=spec.description, metadata=spec.metadata)
            LOG.debug('Snapshot of volume %s: request %s', spec.volume_id,
                      ', '.join(filter(None, answer.request_ids)))
            return volumes_model.VolumeSnapshot.from_cinder(answer.to_dict())

        return self._client.ask(
            f'create a snapshot of volume {spec.volume_id}', ask)

    def _find(self, spec: volumes_model.SnapshotSpec) -> (
            volumes_model.VolumeSnapshot | None):
        found = self._client.ask(
            f'list the snapshots of volume {spec.volume_id}',
            lambda cinder: [
                volumes_model.VolumeSnapshot.from_cinder(one.to_dict())
                for one in cinder.volume_snapshots.list(
                    search_opts={'volume_id': spec.volume_id})])
        return next(filter(spec.is_of, found), None)

    def _look(self, call: str, kind: type[Value],
              ask: cabc.Callable[[ty.Any], ty.Any]) -> Value | None:
        try:
            return self._ask(call, lambda cinder: kind.from_cinder(
                ask(cinder).to_dict()))
        except errors.VolumeGone:
            return None

    def _ask(self, call: str,
             question: cabc.Callable[[ty.Any], Result]) -> Result:
        """Ask, and ask again while Cinder is silent."""
        return self._retry.call(
            lambda: self._client.ask(call, question))

    def _auth_within(self, project_id: str,
                     own: str | None) -> ksa_plugin.BaseAuthPlugin:
        """Sign in to another project, naming the role that it takes."""
        try:
            return self._client.auth_within(project_id)
        except (errors.VolumeServiceRefused, errors.VolumeGone) as exc:
            user = self._client.user_id()
            # Without users there are no roles to give.
            cure = '' if user is None else ': ' + remedy.command(
                'openstack', 'role', 'add', '--project', project_id,
                '--user', user, ROLE)
            raise errors.VolumeServiceRefused(
                call=f'to act in project {project_id}', status=exc.status,
                reason=f'the credentials are of project {own}, and their '
                       f'user has not the role {ROLE} in the project of the '
                       f'volumes{cure}: {exc.reason}') from exc
