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

"""glanceclient's images, as we ask for them.

To load it takes a fifth of a second, so that is done when Glance is first
asked.
"""

import collections.abc as cabc
import contextlib
import functools
import typing as ty

from glanceclient.common import http
from glanceclient.v2 import images
from glanceclient.v2 import schemas
from keystoneauth1 import session as ksa_session
import requests

from nova_snap.services import identity
from nova_snap.services import sessions

# A property that create() would take for an argument of its own: a store.
_TAKEN = 'backend'


class Client(http.SessionClient):
    """What glanceclient sends by, with keystoneauth1's errors and a timeout.

    glanceclient's own errors say less, and it lets a KeyError out where a
    proxy's error page is not as it expects one.
    """

    def __init__(self, session: ksa_session.Session, *, timeout: float,
                 **options: ty.Any) -> None:
        """Remember how Glance is reached.

        :param timeout: seconds for the answer to a request for a record
        :param options: keyword arguments of keystoneauth1's Adapter
        """
        super().__init__(session, **options)
        self._timeout = timeout
        self._options = options

    @contextlib.contextmanager
    def apart(self) -> cabc.Iterator['Client']:
        """Sign in, and return what asks the same Glance as the same user.

        It shares no connection and no lock with this one, and does not sign
        in again. Its connections are closed with the block.

        :raises ClientException: of keystoneauth1, when it cannot sign in
        """
        with sessions.apart(self.session) as session:
            yield Client(session, timeout=self._timeout, **{
                **self._options,
                'auth': identity.SignedIn(self.session, self.auth),
                'endpoint_override': self.endpoint_override})

    def request(self, url: str, method: str, **kwargs: ty.Any) -> ty.Any:
        """Send a request for records; return the response and its content."""
        # Of other content glanceclient leaves the answer to be read later,
        # where keystoneauth1 says nothing of one that is cut.
        headers = {'Content-Type': 'application/json',
                   **kwargs.pop('headers', {})}
        data = self._set_common_request_kwargs(headers, kwargs)
        response = self.send(url, method, headers=headers, data=data,
                             timeout=self._timeout, **kwargs)
        try:
            return response, response.json()
        except ValueError:
            # Nothing, or a page of what is no Glance.
            return response, None

    def send(self, url: str, method: str,
             **kwargs: ty.Any) -> requests.Response:
        """Send a request as it is, and read the whole answer.

        Under Nova the session is Nova's, which has no end for that.

        :raises ClientException: of keystoneauth1, also where the answer is an
            error
        """
        kwargs.setdefault('hooks', sessions.whole_within(self._timeout))
        response: requests.Response = super(http.SessionClient, self).request(
            url, method, **kwargs)
        return response


class Images(images.Controller):
    """The records of images, each by one request.

    glanceclient would fetch a schema first, to judge what Glance judges
    anyway, and to change a property it would ask for all of them, twice.
    """

    def __init__(self, client: Client,
                 preset: cabc.Mapping[str, str] | None = None) -> None:
        """Have the records of one Glance.

        :param preset: properties of each image that is made
        """
        super().__init__(client, _AnySchema)
        self._preset = dict(preset or {})

    @property
    def model(self) -> ty.Any:
        """What an image is made by."""
        return functools.partial(self.unvalidated_model, **self._preset)

    def create_any(self, values: cabc.Mapping[str, ty.Any]) -> ty.Any:
        """Create an image that may have properties of any name."""
        values = dict(values)
        preset = {_TAKEN: values.pop(_TAKEN)} if _TAKEN in values else {}
        return Images(self.http_client, preset).create(**values)

    def change(self, image_id: str,
               changes: cabc.Sequence[cabc.Mapping[str, str]]) -> ty.Any:
        """Change an image, and return what Glance answers.

        :param changes: as a JSON patch
        """
        _, answer = self._send_image_update_request(image_id, changes)
        return answer


class _AnySchema:
    """What stands for Glance's schemas: no answer is refused."""

    @staticmethod
    def get(name: str) -> schemas.Schema:
        return schemas.Schema({'name': name, 'properties': {}})
