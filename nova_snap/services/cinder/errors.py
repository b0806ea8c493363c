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

"""The border where what Cinder answers becomes our errors."""

import collections.abc as cabc
import contextlib

from cinderclient import exceptions as cinder_exc

from nova_snap import errors
from nova_snap.services import answers

CREDENTIALS = ('OS_* variables, clouds.yaml, or the auth options of '
               '[nova_snap], [cinder] or [service_user]')
WHERE = ('look at [cinder]catalog_info and os_region_name, or set '
         'endpoint_template')

_KINDS = {
    answers.Meaning.REFUSED: errors.VolumeServiceRefused,
    answers.Meaning.ABSENT: errors.VolumeGone,
    answers.Meaning.FULL: errors.VolumeQuotaExceeded,
    answers.Meaning.PASSING: errors.VolumeServiceUnavailable,
}


@contextlib.contextmanager
def translated(call: str, service: str = 'Cinder') -> cabc.Iterator[None]:
    """Turn what cinderclient and keystoneauth raise into our errors.

    Each error has the facts ``call``, ``reason`` and ``status`` (that of
    HTTP, or None when there was no answer).

    :param call: what was asked, in an operator's words
    :param service: that was asked, likewise
    :raises VolumeServiceAbsent: when nothing says where Cinder is
    :raises VolumeServiceRefused: on 401 and 403, and without credentials
    :raises VolumeGone: on 404 and 410
    :raises VolumeQuotaExceeded: on 413 and 507
    :raises VolumeServiceUnavailable: when there is no answer, or one that
        may be another when asked again; what was asked may have been done
    :raises VolumeServiceError: for everything else
    """
    try:
        yield
    except cinder_exc.ClientException as exc:
        raise _error(call, answers.by_status(
            exc.code, _said(exc), CREDENTIALS)) from exc
    except (cinder_exc.EndpointNotFound, cinder_exc.UnsupportedVersion) as exc:
        raise absent(answers.one_line(exc)) from exc
    except answers.FOREIGN as exc:
        raise _error(call, answers.by_error(exc, CREDENTIALS),
                     service) from exc


def absent(why: str) -> errors.VolumeServiceAbsent:
    """Make the error for a Cinder whose address nothing says."""
    return errors.VolumeServiceAbsent(call='find Cinder', status=None,
                                      reason=f'{why}: {WHERE}')


def _error(call: str, answer: answers.Answer,
           service: str = 'Cinder') -> errors.VolumeServiceError:
    if answer.meaning is answers.Meaning.NO_ENDPOINT:
        return absent(answer.reason)
    kind = _KINDS.get(answer.meaning, errors.VolumeServiceError)
    return kind(call=call, reason=answer.reason, status=answer.status,
                service=service)


def _said(exc: cinder_exc.ClientException) -> str:
    """Return what Cinder wrote, with the id that its log has."""
    said = answers.one_line(exc.message or 'no reason given')
    if exc.request_id:
        said += f', request {exc.request_id}'
    return said
