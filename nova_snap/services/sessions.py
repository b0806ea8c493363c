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

"""How we reach OpenStack's services: sign in, be known, and give up."""

import collections.abc as cabc
import contextlib
import dataclasses
import importlib.metadata
import time
import typing as ty

from keystoneauth1 import plugin
from keystoneauth1 import session as ksa_session
import requests

from nova_snap import units

DISTRIBUTION = 'nova_snap'

# What a proxy that buffers passes on at least: a tenth of a link of 1 Gbit/s.
FORWARD_BYTES_PER_SECOND = 12 * units.MiB

# Bytes of an answer between two looks at the clock: where one comes a second
# its end is seen half a minute late.
PIECE_BYTES = 32

Hooks: ty.TypeAlias = dict[str, cabc.Callable[..., None]]


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """Seconds after which a silent service is given up.

    A long upload is not cut while bytes move: only silence counts.

    :ivar answer: for a small request, where the operator set no timeout.
        The service may have to wait for its database. As long again for all
        of what it answers: see :func:`whole_within`.
    :ivar stall: for a piece of an upload to be taken. Longer than a store
        that heals itself keeps its clients waiting (Ceph warns after 30 s).
    :ivar finish: for the answer after an upload's last byte. Stores that
        write in segments put them together now, minutes for a large image.
        What a proxy may need besides, after_last_byte() has.
    :ivar settle: for an image whose upload broke off to become queued or
        active. Glance sees it at once, or when the proxy before it gives up:
        commonly after one minute, or five.
    :ivar let_go: likewise, where the data can be sent to another image just
        as well: as long as Glance needs to see that a connection is gone.
        All data are sent again after a longer wait, too. Where Glance has
        them all, it gets the time to store them besides.
    """

    answer: float = 60
    stall: float = 120
    finish: float = 600
    settle: float = 600
    let_go: float = 15

    def after_last_byte(self, size: int) -> float:
        """Return how long the answer to an upload may take.

        A proxy that buffers takes the whole body before it sends the first
        byte on. It then sends all of them while we wait.

        :param size: of the data, in bytes
        :source: nginx, proxy_request_buffering, which is on by default
        """
        return self.finish + size / FORWARD_BYTES_PER_SECOND

    def at_least(self, seconds: float | None) -> 'Timeouts':
        """Return these, with no wait for an answer shorter than what was set.

        An operator who lets Nova wait longer knows a service that is slow.

        :param seconds: ``[glance]timeout``; None where it is not set
        """
        least = seconds or 0
        return dataclasses.replace(
            self, stall=max(self.stall, least),
            finish=max(self.finish, least), settle=max(self.settle, least))


@dataclasses.dataclass(frozen=True)
class Policy:
    """How much trouble a service is worth.

    :ivar num_retries: as Nova's ``[glance]num_retries``
    :ivar verify: compare hashes; sizes are always compared
    """

    num_retries: int = 3
    verify: bool = True
    timeouts: Timeouts = Timeouts()


def user_agent() -> str:
    """Return the name under which a service's log shows us."""
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = 'uninstalled'
    return f'{DISTRIBUTION}/{version}'


def whole_within(seconds: float) -> Hooks:
    """Return hooks for requests: an answer that has begun also ends.

    A timeout of requests is for silence alone: an answer of which a byte
    comes a second would be waited for until its last one. What is given up
    counts as a timeout. The lines before the body are not counted.

    :param seconds: from the end of those
    :source: requests, docs/user/quickstart.rst, Timeouts
    """
    def read(response: requests.Response, **_: ty.Any) -> None:
        deadline = time.monotonic() + seconds
        pieces: list[bytes] = []
        for piece in response.iter_content(PIECE_BYTES):
            pieces.append(piece)
            if time.monotonic() > deadline:
                response.close()
                raise requests.exceptions.ReadTimeout(
                    f'{response.url}: not all of the answer came within '
                    f'{seconds} s')
        # Where requests puts what it has read by itself.
        response._content = b''.join(pieces)

    return {'response': read}


class _Session(ksa_session.Session):
    """A session whose answers end, those of Keystone as well."""

    def request(self, *args: ty.Any, **kwargs: ty.Any) -> requests.Response:
        """Send a request, and read the whole answer in time."""
        kwargs.setdefault('hooks', whole_within(
            self.timeout or Timeouts.answer))
        response: requests.Response = super().request(*args, **kwargs)
        return response


def make_session(
        auth: plugin.BaseAuthPlugin | None,
        options: cabc.Mapping[str, ty.Any]) -> ksa_session.Session:
    """Make a session that signs in when it is first used.

    It retries nothing: what may be sent again, and what not, is known where
    it is sent. It names each request's id in keystoneauth's debug log.

    :param options: keyword arguments of keystoneauth1's Session. Without a
        ``timeout`` it gets ours: there is no way to wait for ever, neither
        for the beginning of an answer nor for its end.
    """
    return _Session(**{
        **options,
        'auth': auth,
        'connect_retries': 0,
        'timeout': options.get('timeout') or Timeouts.answer,
        'user_agent': user_agent(),
    })


@contextlib.contextmanager
def apart(session: ksa_session.Session) -> cabc.Iterator[ksa_session.Session]:
    """Make a session as another one is, with connections of its own.

    They are closed with the block.
    """
    made = ksa_session.Session(
        verify=session.verify, cert=session.cert, timeout=session.timeout,
        original_ip=session.original_ip, user_agent=session.user_agent,
        app_name=session.app_name, app_version=session.app_version,
        additional_headers=session.additional_headers)
    try:
        yield made
    finally:
        made.session.close()
