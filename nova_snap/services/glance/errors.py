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

"""The border where keystoneauth's errors become ours.

There is no other client in between. glanceclient would add a second family
of errors, and lets a KeyError out where a proxy's error page is not as it
expects one.
"""

import collections.abc as cabc
import contextlib
import html
import http
import re

from keystoneauth1 import exceptions as ksa_exc

from nova_snap import errors

# Answers that a second try may better: the service, or a proxy before it, is
# overloaded, restarting or cut off from its store.
PASSING = frozenset({
    http.HTTPStatus.REQUEST_TIMEOUT,
    http.HTTPStatus.TOO_MANY_REQUESTS,
    http.HTTPStatus.INTERNAL_SERVER_ERROR,
    http.HTTPStatus.BAD_GATEWAY,
    http.HTTPStatus.SERVICE_UNAVAILABLE,
    http.HTTPStatus.GATEWAY_TIMEOUT,
})
FULL = frozenset({
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    http.HTTPStatus.INSUFFICIENT_STORAGE,
})
ABSENT = frozenset({http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE})

CREDENTIALS = ('OS_* variables, clouds.yaml, or the auth options of '
               '[nova_snap] or [service_user]')

CATALOG = ('the catalog does not say where the service is. Look at '
           '[glance]service_type, valid_interfaces and region_name, or set '
           'endpoint_override')

_NO_CREDENTIALS = (
    ksa_exc.AuthPluginException,
    ksa_exc.AuthorizationFailure,
    ksa_exc.MissingAuthMethods,
)
_NO_ANSWER = (ksa_exc.ConnectionError, ksa_exc.DiscoveryFailure)

# What OpenSSL calls a certificate it does not trust; trying again won't help.
_DISTRUST = 'CERTIFICATE_VERIFY_FAILED'

# Characters of an error page that are shown: a sentence or two.
_WORDS_LIMIT = 300

_TAG = re.compile(r'<[^>]*>')
# They repeat the status.
_HEADING = re.compile(r'<(head|h1)>.*?</\1>', re.DOTALL | re.IGNORECASE)


@contextlib.contextmanager
def translated(call: str, *,
               image_id: str | None = None) -> cabc.Iterator[None]:
    """Turn keystoneauth's errors into ours.

    Each error has the facts ``call``, ``reason`` and ``status`` (that of
    HTTP, or None when there was no answer).

    :param call: what was asked, in an operator's words
    :param image_id: where one image is meant; without it, an address that is
        not there says nothing about an image
    :raises ImageServiceRefused: on 401 and 403, and without credentials
    :raises ImageGone: on 404 and 410, where an image is meant
    :raises ImageQuotaExceeded: on 413 and 507: a quota, a limit on the size,
        or a full store
    :raises ImageServiceUnavailable: when there is no answer, or one that
        may be another when asked again; what was asked may have been done
    :raises ImageServiceError: for everything else
    """
    try:
        yield
    except ksa_exc.HttpError as exc:
        raise _by_status(call, exc, image_id) from exc
    except _NO_CREDENTIALS as exc:
        raise errors.ImageServiceRefused(
            call=call, status=None,
            reason=f'no usable credentials ({one_line(exc)}); give them by '
                   f'{CREDENTIALS}') from exc
    except _NO_ANSWER as exc:
        kind = (errors.ImageServiceError if is_lasting(exc)
                else errors.ImageServiceUnavailable)
        raise kind(call=call, status=None, reason=one_line(exc)) from exc
    except ksa_exc.CatalogException as exc:
        raise errors.ImageServiceError(
            call=call, status=None,
            reason=f'{one_line(exc)}: {CATALOG}') from exc
    except ksa_exc.ClientException as exc:
        raise errors.ImageServiceError(
            call=call, status=None, reason=one_line(exc)) from exc


def _by_status(call: str, exc: ksa_exc.HttpError,
               image_id: str | None) -> errors.ImageServiceError:
    status = exc.http_status
    reason = f'{words(exc)} (HTTP {status})'
    kind = errors.ImageServiceError
    if status == http.HTTPStatus.UNAUTHORIZED:
        kind = errors.ImageServiceRefused
        # The page that comes with it speaks of browsers.
        reason = ('the credentials are not accepted (HTTP 401); they come '
                  f'from {CREDENTIALS}')
    elif status == http.HTTPStatus.FORBIDDEN:
        kind = errors.ImageServiceRefused
    elif status in ABSENT and image_id is not None:
        kind = errors.ImageGone
    elif status in FULL:
        kind = errors.ImageQuotaExceeded
    elif status in PASSING:
        kind = errors.ImageServiceUnavailable
    return kind(call=call, reason=reason, status=status, image_id=image_id)


def words(exc: ksa_exc.HttpError) -> str:
    """Return what the service wrote; Glance writes HTML pages."""
    page = exc.details or ''
    if '<' in page:
        page = html.unescape(_TAG.sub(' ', _HEADING.sub(' ', page)))
    # keystoneauth ends its own words with what we say ourselves.
    return one_line(page) or exc.message.partition(' (HTTP ')[0]


def is_lasting(exc: ksa_exc.ClientException) -> bool:
    """Whether there is no answer because the question is wrong."""
    original = getattr(exc, 'original', None)
    return _DISTRUST in str(exc) or isinstance(original, ValueError)


def one_line(text: object) -> str:
    """Write an error as a sentence or two."""
    return ' '.join(str(text).split())[:_WORDS_LIMIT]
