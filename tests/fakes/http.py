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

"""A request to a fake service, and its answer, without a wire.

The doors of a fake turn what comes over their wire into a request, and the
answer into what goes back.
"""

import collections.abc as cabc
import dataclasses
import json
import typing as ty
import urllib.parse

from keystoneauth1 import exceptions as ksa_exc


class Refused(ksa_exc.HttpError):
    """The service says no.

    It is what keystoneauth raises for such an answer: a door without a wire
    lets it out.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason, details=reason, http_status=status)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to a service.

    :ivar blocks: of its body, to be read once
    """

    method: str
    url: str
    headers: cabc.Mapping[str, str]
    blocks: cabc.Iterable[bytes] = ()

    @classmethod
    def mocked(cls, request: ty.Any) -> 'Request':
        """Read what requests-mock gives to a callback."""
        body = request._request.body or b''
        if isinstance(body, str):
            body = body.encode()
        return cls(request.method, request.url, request.headers,
                   [body] if isinstance(body, bytes) else body)

    @property
    def path(self) -> str:
        """The path of its address, without what is asked of it."""
        return urllib.parse.urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        """What is asked of it, each name once."""
        return dict(urllib.parse.parse_qsl(
            urllib.parse.urlsplit(self.url).query))

    def json(self) -> ty.Any:
        """Read the body.

        :raises Refused: when it is no JSON
        """
        try:
            return json.loads(b''.join(self.blocks))
        except ValueError as exc:
            raise Refused(400, f'the body is no JSON: {exc}') from exc


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a service answers.

    :ivar content: to be written as JSON; a text is a page, None is no body
    """

    status: int
    content: ty.Any = None

    @property
    def content_type(self) -> str:
        """Say what the body is."""
        return 'text/html' if isinstance(self.content, str) else (
            'application/json')

    def body(self) -> bytes:
        """Write the body."""
        if self.content is None:
            return b''
        if isinstance(self.content, str):
            return self.content.encode()
        return json.dumps(self.content).encode()
