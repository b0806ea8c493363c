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

"""One Cinder: where it is, as whom it is asked, and one request of it."""

import collections.abc as cabc
import logging as plain_logging
import typing as ty

from cinderclient import client as cinder_client
from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session

from nova_snap import errors
from nova_snap.services.cinder import errors as cinder_errors
from nova_snap.services import identity
from nova_snap.services import sessions

# The newest that is known to us: from 3.66 on every snapshot may be of a
# volume that is in use. What we need is in 3.0 already.
# :source: cinder/api/openstack/rest_api_version_history.rst
NEWEST = (3, 66)
OLDEST = '3.0'

Result = ty.TypeVar('Result')


class Client:
    """One Cinder, found when it is first asked."""

    def __init__(self, session: ksa_session.Session,
                 options: cabc.Mapping[str, ty.Any],
                 auth: ksa_plugin.BaseAuthPlugin | None) -> None:
        """Remember how Cinder is reached.

        :param options: ``service_type`` (left out where there is no catalog
            to look it up in), ``service_name``, ``interface`` and
            ``region_name`` as keystoneauth1's Adapter takes them,
            ``endpoint_template`` and ``debug`` as Nova's [cinder] has them
        """
        self._session = session
        self._options = dict(options)
        self._auth = auth
        self._found: ty.Any = None
        if self._options.pop('debug', False):
            plain_logging.getLogger('cinderclient').setLevel(
                plain_logging.DEBUG)

    def ask(self, call: str,
            question: cabc.Callable[[ty.Any], Result]) -> Result:
        """Ask once.

        :param call: what is asked, in an operator's words
        :param question: is given a client of cinderclient
        :raises ConfigError: when [cinder]endpoint_template cannot be filled
        :raises VolumeServiceError: also when what answers is no Cinder
        """
        with cinder_errors.translated('sign in', identity.KEYSTONE):
            identity.sign_in(self._session, self._auth)
        with cinder_errors.translated(call):
            try:
                return question(self._cinder())
            except (KeyError, TypeError, AttributeError, ValueError) as exc:
                # cinderclient takes what it is given for an answer.
                raise errors.VolumeServiceError(
                    call=call, status=None,
                    reason='what answers is not a volume service '
                           f'({exc!r})') from exc

    def project_id(self) -> str | None:
        """Return the project we act in; None where there are none.

        :raises VolumeServiceError: when we cannot sign in
        """
        with cinder_errors.translated('sign in', identity.KEYSTONE):
            return identity.who(self._session, self._auth).project_id

    def user_id(self) -> str | None:
        """Return as whom we act; None where there are no users.

        :raises VolumeServiceError: when we cannot sign in
        """
        with cinder_errors.translated('sign in', identity.KEYSTONE):
            return self._session.get_user_id(self._auth)

    def auth_within(self, project_id: str) -> ksa_plugin.BaseAuthPlugin:
        """Return the same user's way into another project, tried.

        :raises VolumeServiceRefused: when the user has no role there, or the
            credentials are of one project alone
        :raises VolumeGone: when there is no such project
        :raises VolumeServiceError: when we cannot sign in
        """
        with cinder_errors.translated('sign in', identity.KEYSTONE):
            auth = identity.within(self._session, self._auth, project_id)
        if auth is None:
            raise errors.VolumeServiceRefused(
                call='sign in', status=None,
                reason='these credentials are of one project')
        return auth

    def _cinder(self) -> ty.Any:
        """Find Cinder, agree on a version, and keep the client."""
        if self._found is None:
            options = dict(self._options)
            template = options.pop('endpoint_template', None)
            if template is None and 'service_type' not in options:
                raise cinder_errors.absent('there is no catalog')
            where = ksa_adapter.Adapter(
                self._session, auth=self._auth, min_version='3',
                max_version='3.latest',
                endpoint_override=self._filled(template), **options)
            endpoint = where.endpoint_override or where.get_endpoint()
            if not endpoint:
                raise cinder_errors.absent('the catalog has no '
                                           f'{options.get("service_type")}')
            where.endpoint_override = endpoint
            self._found = cinder_client.Client(
                _agreed(where), session=self._session, auth=self._auth,
                endpoint_override=endpoint, connect_retries=0,
                user_agent=sessions.user_agent(), **options)
        return self._found

    def _filled(self, template: str | None) -> str | None:
        """Fill [cinder]endpoint_template.

        :raises ConfigError: when it names what we do not know
        """
        if template is None:
            return None
        project = self.project_id()
        try:
            return template % {'project_id': project, 'tenant': project}
        except (KeyError, ValueError, TypeError) as exc:
            raise errors.ConfigError(
                option='[cinder]endpoint_template',
                reason=f'{template!r} cannot be filled: {exc!r}; '
                       '%(project_id)s is known') from exc


def _agreed(where: ksa_adapter.Adapter) -> str:
    """Return the newest version that this Cinder and we both know."""
    data = where.get_endpoint_data()
    newest = data and data.max_microversion
    if not newest or newest[0] != NEWEST[0]:
        return OLDEST
    major, minor = min(NEWEST, newest)
    return f'{major}.{minor}'
