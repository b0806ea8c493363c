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

"""The border where cinderclient's and keystoneauth's errors become ours."""

import collections.abc as cabc
import contextlib
import http

from cinderclient import exceptions as cinder_exc
from keystoneauth1 import exceptions as ksa_exc

from nova_snap import errors
from nova_snap.services.glance import errors as glance_errors

CREDENTIALS = ('OS_* variables, clouds.yaml, or the auth options of '
               '[nova_snap], [cinder] or [service_user]')
WHERE = ('look at [cinder]catalog_info and os_region_name, or set '
         'endpoint_template')

_NO_CREDENTIALS = (
    ksa_exc.AuthPluginException,
    ksa_exc.AuthorizationFailure,
    ksa_exc.MissingAuthMethods,
)
_NO_ANSWER = (ksa_exc.ConnectionError, ksa_exc.DiscoveryFailure)
_ABSENT = (ksa_exc.CatalogException, cinder_exc.EndpointNotFound,
           cinder_exc.UnsupportedVersion)


@contextlib.contextmanager
def translated(call: str) -> cabc.Iterator[None]:
    """Turn the clients' errors into ours.

    Each error has the facts ``call``, ``reason`` and ``status`` (that of
    HTTP, or None when there was no answer).

    :param call: what was asked, in an operator's words
    :raises VolumeServiceAbsent: when nothing says where Cinder is
    :raises VolumeServiceRefused: on 401 and 403, and without credentials
    :raises VolumeGone: on 404
    :raises VolumeQuotaExceeded: on 413
    :raises VolumeServiceUnavailable: when there is no answer, or one that
        may be another when asked again; what was asked may have been done
    :raises VolumeServiceError: for everything else
    """
    try:
        yield
    except cinder_exc.ClientException as exc:
        raise _by_status(call, exc.code, _said(exc)) from exc
    except ksa_exc.HttpError as exc:
        raise _by_status(call, exc.http_status,
                         glance_errors.words(exc)) from exc
    except _NO_CREDENTIALS as exc:
        raise errors.VolumeServiceRefused(
            call=call, status=None,
            reason='no usable credentials ('
                   f'{glance_errors.one_line(exc)}); give them by '
                   f'{CREDENTIALS}') from exc
    except _NO_ANSWER as exc:
        kind = (errors.VolumeServiceError if glance_errors.is_lasting(exc)
                else errors.VolumeServiceUnavailable)
        raise kind(call=call, status=None,
                   reason=glance_errors.one_line(exc)) from exc
    except _ABSENT as exc:
        raise absent(glance_errors.one_line(exc)) from exc
    except ksa_exc.ClientException as exc:
        raise errors.VolumeServiceError(
            call=call, status=None,
            reason=glance_errors.one_line(exc)) from exc


def absent(why: str) -> errors.VolumeServiceAbsent:
    """Make the error for a Cinder that nobody knows where to find."""
    return errors.VolumeServiceAbsent(call='find Cinder', status=None,
                                      reason=f'{why}: {WHERE}')


def _by_status(call: str, status: int,
               said: str) -> errors.VolumeServiceError:
    reason = f'{said} (HTTP {status})'
    kind = errors.VolumeServiceError
    if status == http.HTTPStatus.UNAUTHORIZED:
        kind = errors.VolumeServiceRefused
        reason = ('the credentials are not accepted (HTTP 401); they come '
                  f'from {CREDENTIALS}')
    elif status == http.HTTPStatus.FORBIDDEN:
        kind = errors.VolumeServiceRefused
    elif status in glance_errors.ABSENT:
        kind = errors.VolumeGone
    elif status in glance_errors.FULL:
        kind = errors.VolumeQuotaExceeded
    elif status in glance_errors.PASSING:
        kind = errors.VolumeServiceUnavailable
    return kind(call=call, reason=reason, status=status)


def _said(exc: cinder_exc.ClientException) -> str:
    """Return what Cinder wrote, with the id that its log has."""
    said = glance_errors.one_line(exc.message or 'no reason given')
    if exc.request_id:
        said += f', request {exc.request_id}'
    return said
