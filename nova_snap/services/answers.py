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

"""What a service's answer means, whichever service it is.

The border of each service makes its own errors of this.
"""

import collections.abc as cabc
import dataclasses
import enum
import html
import http
import re

from keystoneauth1 import exceptions as ksa_exc
from requests import exceptions as requests_exc

# What keystoneauth raises, and what it lets through: requests cannot open
# the file of a certificate that is not there.
FOREIGN = (ksa_exc.ClientException, OSError)


class Meaning(enum.Enum):
    """What an answer says, and whether it helps to ask again.

    :cvar REFUSED: the credentials must not do this, or there are none
    :cvar ABSENT: there is nothing at this address
    :cvar FULL: a quota, a limit on the size, or a full store
    :cvar PASSING: no answer, or one that may be another when it is asked
        again; what was asked may have been done
    :cvar NO_ENDPOINT: the catalog does not say where the service is
    :cvar LASTING: anything else; asking again does not help
    """

    REFUSED = enum.auto()
    ABSENT = enum.auto()
    FULL = enum.auto()
    PASSING = enum.auto()
    NO_ENDPOINT = enum.auto()
    LASTING = enum.auto()


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer, or that there was none.

    :ivar reason: in words
    :ivar status: that of HTTP; None when there was no answer
    """

    meaning: Meaning
    reason: str
    status: int | None = None


# Those for which a second try may do are of a service, or a proxy before it,
# that is overloaded, restarting or cut off from its store.
_BY_STATUS: cabc.Mapping[int, Meaning] = {
    http.HTTPStatus.UNAUTHORIZED: Meaning.REFUSED,
    http.HTTPStatus.FORBIDDEN: Meaning.REFUSED,
    http.HTTPStatus.NOT_FOUND: Meaning.ABSENT,
    http.HTTPStatus.GONE: Meaning.ABSENT,
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Meaning.FULL,
    http.HTTPStatus.INSUFFICIENT_STORAGE: Meaning.FULL,
    http.HTTPStatus.REQUEST_TIMEOUT: Meaning.PASSING,
    http.HTTPStatus.TOO_MANY_REQUESTS: Meaning.PASSING,
    http.HTTPStatus.INTERNAL_SERVER_ERROR: Meaning.PASSING,
    http.HTTPStatus.BAD_GATEWAY: Meaning.PASSING,
    http.HTTPStatus.SERVICE_UNAVAILABLE: Meaning.PASSING,
    http.HTTPStatus.GATEWAY_TIMEOUT: Meaning.PASSING,
}

_NO_CREDENTIALS = (
    ksa_exc.AuthPluginException,
    ksa_exc.AuthorizationFailure,
    ksa_exc.MissingAuthMethods,
)
_NO_ANSWER = (ksa_exc.ConnectionError, ksa_exc.DiscoveryFailure)

# What requests raises where the part before the first colon is no way to a
# service: that of glance:9292 is a host.
_NO_SCHEME = (requests_exc.MissingSchema, requests_exc.InvalidSchema)

# What OpenSSL calls a certificate it does not trust; trying again won't help.
_DISTRUST = 'CERTIFICATE_VERIFY_FAILED'

# Characters of an error page that are shown: a sentence or two.
_WORDS_LIMIT = 300

# How the errors of urllib3 begin, and the causes in them.
_WRAPPING = re.compile(r": (HTTPS?ConnectionPool\(|\('Connection aborted)")
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\")\]]+)"
                    r"|\w+(?:Error|Disconnected)\((?:\d+, )?"
                    r"'([^'\[]+|\[SSL[^']+)'\)")
_ADDRESS = re.compile(r' for (\S+): ')

_TAG = re.compile(r'<[^>]*>')
# They repeat the status.
_HEADING = re.compile(r'<(head|h1)>.*?</\1>', re.DOTALL | re.IGNORECASE)


def by_error(exc: Exception, credentials: str) -> Answer:
    """Read what one of :data:`FOREIGN` says.

    :param credentials: where they can be given, in an operator's words
    """
    if isinstance(exc, ksa_exc.HttpError):
        return by_status(exc.http_status, _words(exc), credentials)
    said = one_line(_plain(exc))
    if isinstance(exc, _NO_CREDENTIALS):
        return Answer(Meaning.REFUSED, f'no usable credentials ({said}); '
                                       f'give them by {credentials}')
    if isinstance(exc, ksa_exc.CatalogException):
        return Answer(Meaning.NO_ENDPOINT, said)
    if isinstance(getattr(exc, 'original', None), _NO_SCHEME):
        return Answer(Meaning.LASTING,
                      'the address of the service does not begin with '
                      f'http:// or https:// ({_asked(exc)})')
    if isinstance(exc, _NO_ANSWER) and not _is_lasting(exc):
        return Answer(Meaning.PASSING, said)
    return Answer(Meaning.LASTING, said)


def by_status(status: int, said: str, credentials: str) -> Answer:
    """Read the status of an answer.

    :param said: what the service wrote
    :param credentials: where they can be given, in an operator's words
    """
    reason = f'{said} (HTTP {status})'
    if status == http.HTTPStatus.UNAUTHORIZED:
        # The page that comes with it speaks of browsers.
        reason = ('the credentials are not accepted (HTTP 401); they come '
                  f'from {credentials}')
    elif status == http.HTTPStatus.FORBIDDEN:
        reason += '. The credentials need a role that may do this'
    return Answer(_BY_STATUS.get(status, Meaning.LASTING), reason, status)


def one_line(text: object) -> str:
    """Write an error as a sentence or two, cut between two words."""
    words = ' '.join(str(text).split())
    if len(words) <= _WORDS_LIMIT:
        return words
    cut = words[:_WORDS_LIMIT + 1].rpartition(' ')[0] or words[:_WORDS_LIMIT]
    return f'{cut} ...'


def _plain(exc: Exception) -> str:
    """Return why there is no answer, without the libraries that say so.

    They say it one about the other: the cause stands at the end.
    """
    said = str(exc)
    wrapped = _WRAPPING.search(said)
    causes = _CAUSE.findall(said)
    if not wrapped or not causes:
        return said
    return f'{said[:wrapped.start()]}: {"".join(causes[-1])}'


def _asked(exc: Exception) -> str:
    """Return the address that an error of a connection is about."""
    found = _ADDRESS.search(str(exc))
    return found[1] if found else one_line(exc)


def _words(exc: ksa_exc.HttpError) -> str:
    """Return what the service wrote; Glance writes HTML pages."""
    page = exc.details or ''
    if '<' in page:
        page = html.unescape(_TAG.sub(' ', _HEADING.sub(' ', page)))
    # keystoneauth ends its own words with what we say ourselves.
    return one_line(page) or exc.message.partition(' (HTTP ')[0]


def _is_lasting(exc: Exception) -> bool:
    """Whether there is no answer because the question is wrong."""
    original = getattr(exc, 'original', None)
    return _DISTRUST in str(exc) or isinstance(original, ValueError)
