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

"""As whom a session acts: its project, its roles, and other projects."""

import dataclasses
import typing as ty

from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1.identity import base as ksa_identity
from keystoneauth1.identity import generic as ksa_generic
from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session
from requests import exceptions as requests_exc


# Who is asked, in an operator's words.
KEYSTONE = 'Keystone'


@dataclasses.dataclass(frozen=True)
class Identity:
    """What the credentials say about who has them.

    :ivar project_id: None where there are no projects
    :ivar roles: in that project; None where they are not told
    :ivar user_id: None where there are no users, or it does not matter
    """

    project_id: str | None
    roles: frozenset[str] | None
    user_id: str | None = None


def _refuse_no_url(auth: ksa_plugin.BaseAuthPlugin | None) -> None:
    """Refuse an address of Keystone that keystoneauth1 would complete.

    It would look into the catalog, which is Keystone's to give.

    :raises UnknownConnectionError: naming it
    """
    url = getattr(auth, 'auth_url', None)
    if url and not url.startswith(('http://', 'https://')):
        raise ksa_exc.UnknownConnectionError(
            url, requests_exc.MissingSchema(url))


class SignedIn(ksa_plugin.BaseAuthPlugin):
    """What a user had to show when this was made: it does not sign in.

    The plugin that signs in has a lock, which all of its users share.

    :source: keystoneauth1/identity/base.py get_access
    """

    def __init__(self, session: ksa_session.Session,
                 auth: ksa_plugin.BaseAuthPlugin | None) -> None:
        """Sign in where that was not done.

        :raises ClientException: of keystoneauth1, when it cannot
        """
        super().__init__()
        self._headers = session.get_auth_headers(auth)
        self._params = session.get_auth_connection_params(auth)
        self._project_id = session.get_project_id(auth)

    def get_headers(self, session: ksa_session.Session,
                    **kwargs: ty.Any) -> dict[str, str] | None:
        """Return the headers, by the name that keystoneauth1 asks for."""
        return self._headers

    def get_connection_params(self, session: ksa_session.Session
                              ) -> 'ksa_plugin.ConnectionParams':
        """Return what goes with each connection, by the same."""
        return self._params

    def get_project_id(self, session: ksa_session.Session,
                       **kwargs: ty.Any) -> str | None:
        """Return the project, which an address may have within."""
        return self._project_id


def sign_in(session: ksa_session.Session,
            auth: ksa_plugin.BaseAuthPlugin | None) -> None:
    """See that there is a token; a request then fails at its service alone.

    :raises ClientException: of keystoneauth1, when it cannot sign in
    """
    _refuse_no_url(auth)
    session.get_auth_headers(auth)


def who(session: ksa_session.Session,
        auth: ksa_plugin.BaseAuthPlugin | None) -> Identity:
    """Return as whom the session acts; it signs in to know it.

    :raises ClientException: of keystoneauth1, when it cannot sign in
    """
    if auth is None:
        return Identity(None, None)
    _refuse_no_url(auth)
    if isinstance(auth, ksa_identity.BaseIdentityPlugin):
        access = auth.get_access(session)
        return Identity(access.project_id,
                        frozenset(access.role_names or ()), access.user_id)
    return Identity(session.get_project_id(auth), None,
                    session.get_user_id(auth))


def within(session: ksa_session.Session,
           auth: ksa_plugin.BaseAuthPlugin | None,
           project_id: str) -> ksa_plugin.BaseAuthPlugin | None:
    """Return the same user's way into another project, tried.

    :returns: None where the credentials are of one project alone
    :raises ClientException: of keystoneauth1, when Keystone does not let the
        user in
    """
    if not isinstance(auth, ksa_identity.BaseIdentityPlugin):
        return None
    scoped = ksa_generic.Token(auth_url=auth.auth_url or '',
                               project_id=project_id,
                               token=auth.get_token(session) or '')
    scoped.get_access(session)
    return scoped
