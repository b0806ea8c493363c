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

"""What Cinder answers to a request, as cinderclient asks for us."""

import typing as ty

from nova_snap.model import volumes as volumes_model
from tests.fakes.cinder import store as cinder_store
from tests.fakes import http as fake_http

# From here on each snapshot may be of a volume in use, and force is refused.
# :source: cinder/api/openstack/rest_api_version_history.rst
FORCED_SINCE = (3, 66)


def answer(cinder: cinder_store.FakeCinder, request: fake_http.Request,
           path: str) -> fake_http.Answer:
    """Answer a request, also with a refusal.

    :param path: below that of the project
    """
    try:
        return _answer(cinder, request, path)
    except fake_http.Refused as exc:
        return fake_http.Answer(exc.http_status, {'sorry': {
            'message': exc.reason, 'code': exc.http_status}})


def _answer(cinder: cinder_store.FakeCinder, request: fake_http.Request,
            path: str) -> fake_http.Answer:
    match request.method, path:
        case 'GET', '/limits':
            return fake_http.Answer(200, {'limits': {
                'rate': [], 'absolute': cinder.limits()}})
        case 'POST', '/snapshots':
            values = request.json()['snapshot']
            return fake_http.Answer(202, {'snapshot': cinder.create(
                values, force=_force(request, values))})
        case 'GET', '/snapshots/detail':
            return fake_http.Answer(200, {'snapshots': cinder.listing(
                request.query.get('volume_id'))})
    kind, _, thing_id = path.removeprefix('/').partition('/')
    match request.method, kind:
        case 'GET', 'volumes':
            return fake_http.Answer(200, {'volume': _volume(
                cinder.find_volume(thing_id))})
        case 'GET', 'snapshots':
            return fake_http.Answer(200, {'snapshot': cinder.find(thing_id)})
        case 'DELETE', 'snapshots':
            cinder.delete(thing_id)
            return fake_http.Answer(202)
    raise fake_http.Refused(404, f'{path} is nowhere')


def _force(request: fake_http.Request, values: dict[str, ty.Any]) -> bool:
    """Tell whether a snapshot may be of a volume in use.

    :raises Refused: when it is asked for in a version that has no such word
    """
    said = request.headers.get('OpenStack-API-Version') or 'volume 3.0'
    version = tuple(map(int, said.split()[-1].split('.')))
    if version < FORCED_SINCE:
        return bool(values.get('force'))
    if values.get('force') is False:
        raise fake_http.Refused(400, 'force=False is not supported')
    return True


def _volume(volume: volumes_model.Volume) -> dict[str, ty.Any]:
    """Say of a volume what the API says."""
    return {
        'id': volume.volume_id, 'name': volume.name,
        'description': volume.description, 'status': volume.status,
        'size': volume.size_gib, 'volume_type': 'fast',
        'os-vol-tenant-attr:tenant_id': volume.project_id,
        'attachments': [{'server_id': server, 'device': device}
                        for server, device in volume.attachments.items()],
        'volume_image_metadata': dict(volume.image_metadata)}
