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

"""The border where what Glance answers becomes our errors."""

import collections.abc as cabc
import contextlib

from nova_snap import errors
from nova_snap.services import answers

CREDENTIALS = ('OS_* variables, clouds.yaml, or the auth options of '
               '[nova_snap] or [service_user]')

CATALOG = ('the catalog does not say where the service is. Look at '
           '[glance]service_type, valid_interfaces and region_name, or set '
           'endpoint_override')

_KINDS = {
    answers.Meaning.REFUSED: errors.ImageServiceRefused,
    answers.Meaning.ABSENT: errors.ImageGone,
    answers.Meaning.FULL: errors.ImageQuotaExceeded,
    answers.Meaning.PASSING: errors.ImageServiceUnavailable,
}


@contextlib.contextmanager
def translated(call: str, *, image_id: str | None = None,
               service: str = 'Glance') -> cabc.Iterator[None]:
    """Turn what keystoneauth raises into our errors.

    Each error has the facts ``call``, ``reason`` and ``status`` (that of
    HTTP, or None when there was no answer).

    :param call: what was asked, in an operator's words
    :param image_id: where one image is meant; without it, an address that is
        not there says nothing about an image
    :param service: that was asked, in an operator's words
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
    except answers.FOREIGN as exc:
        answer = answers.by_error(exc, CREDENTIALS)
        kind = _KINDS.get(answer.meaning, errors.ImageServiceError)
        reason = answer.reason
        if answer.meaning is answers.Meaning.NO_ENDPOINT:
            reason += f': {CATALOG}'
        elif kind is errors.ImageGone and image_id is None:
            kind = errors.ImageServiceError
        raise kind(call=call, reason=reason, status=answer.status,
                   image_id=image_id, service=service) from exc
