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

"""A Cinder at the wire, for requests-mock: volumes, snapshots, limits."""

import json
import re

from keystoneauth1 import noauth
import requests

from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services import sessions
from tests.unit.services.glance import fake_glance

ROOT = 'http://cinder.test:8776'
PROJECT = 'a-project'
ENDPOINT = f'{ROOT}/v3/{PROJECT}'
VOLUME = 'a-volume'

# Seconds; numbers that differ from each other.
POLICY = sessions.Policy(num_retries=2)


class FakeCinder:
    """The service.

    :ivar newest: the microversion it knows; None tells nothing
    :ivar troubles: for requests to come: an error, or a status; None is well
    :ivar keeps_lost: what was asked for is done although its answer is lost
    :ivar asked: method, path, and microversion of each request
    :ivar bodies: of each snapshot asked for
    """

    def __init__(self, mocker, newest='3.71'):
        self.newest = newest
        self.snapshots = {}
        self.troubles = []
        self.keeps_lost = True
        self.asked = []
        self.bodies = []
        self.volume = {
            'id': VOLUME, 'name': 'root', 'description': 'of mine',
            'status': 'in-use', 'size': 3, 'volume_type': 'fast',
            'os-vol-tenant-attr:tenant_id': PROJECT,
            'attachments': [{'server_id': 'an-instance',
                             'device': '/dev/vda'}],
            'volume_image_metadata': {'os_distro': 'debian', 'min_disk': '1'}}
        self.limits = {'totalSnapshotsUsed': 3, 'maxTotalSnapshots': 10}
        mocker.get(f'{ROOT}/v3/', json=self._versions)
        mocker.get(f'{ROOT}/v3', json=self._versions)
        mocker.get(f'{ROOT}/', json=self._versions)
        paths = {
            ('GET', '/limits'): self._limits,
            ('GET', '/volumes/([^/]+)'): self._volume,
            ('POST', '/snapshots'): self._create,
            ('GET', '/snapshots/detail'): self._list,
            ('GET', '/snapshots/([^/]+)'): self._show,
            ('DELETE', '/snapshots/([^/]+)'): self._delete}
        for (method, path), answer in reversed(paths.items()):
            mocker.register_uri(
                method, re.compile(f'^{re.escape(ENDPOINT)}{path}(\\?.*)?$'),
                text=self._answering(answer))

    def _versions(self, request, context):
        version = {'id': 'v3.0', 'status': 'CURRENT',
                   'links': [{'rel': 'self', 'href': f'{ROOT}/v3/'}]}
        if self.newest:
            version.update(version=self.newest, min_version='3.0')
        return {'versions': [version]}

    def _answering(self, answer):
        def respond(request, context):
            path = request.path.removeprefix(f'/v3/{PROJECT}')
            self.asked.append((
                request.method, path,
                request.headers.get('OpenStack-API-Version')))
            trouble = self.troubles.pop(0) if self.troubles else None
            if trouble is not None and not (
                    request.method == 'POST' and self.keeps_lost):
                return self._fail(trouble, context)
            found = answer(request, context)
            if trouble is not None:
                return self._fail(trouble, context)
            return json.dumps(found)
        return respond

    @staticmethod
    def _fail(trouble, context):
        if isinstance(trouble, Exception):
            raise trouble
        context.status_code = trouble
        context.headers['x-compute-request-id'] = 'req-1'
        return json.dumps({'sorry': {'message': 'planted', 'code': trouble}})

    def _limits(self, request, context):
        return {'limits': {'rate': [], 'absolute': self.limits}}

    def _volume(self, request, context):
        if not request.path.endswith(VOLUME):
            context.status_code = 404
            return {'itemNotFound': {'message': 'no such volume'}}
        return {'volume': self.volume}

    def _create(self, request, context):
        body = request.json()['snapshot']
        self.bodies.append(body)
        context.status_code = 202
        name = f'snapshot-{len(self.bodies)}'
        self.snapshots[name] = {
            'id': name, 'status': 'creating', 'size': 3,
            'volume_id': body['volume_id'], 'name': body['name'],
            'metadata': body['metadata'],
            'os-extended-snapshot-attributes:project_id': PROJECT}
        return {'snapshot': self.snapshots[name]}

    def _list(self, request, context):
        wanted = request.qs.get('volume_id', [None])[0]
        return {'snapshots': [one for one in self.snapshots.values()
                              if wanted in (None, one['volume_id'])]}

    def _found(self, request, context):
        found = self.snapshots.get(request.path.rpartition('/')[2])
        if found is None:
            context.status_code = 404
        return found

    def _show(self, request, context):
        found = self._found(request, context)
        return {'snapshot': found} if found else {
            'itemNotFound': {'message': 'no such snapshot'}}

    def _delete(self, request, context):
        found = self._found(request, context)
        if found and found['status'] not in ('available', 'error'):
            context.status_code = 400
            return {'badRequest': {'message': 'in the wrong state'}}
        if found:
            context.status_code = 202
            found['status'] = 'deleting'
        return {}

    def requests(self, method, path='/snapshots'):
        """Return how often it was asked for this."""
        return sum(one[:2] == (method, path) for one in self.asked)


def lost():
    """Make the error for an answer that was lost on its way."""
    return requests.exceptions.ConnectionError('connection aborted')


def make_volumes(clock=None, *, auth=None, policy=POLICY, **options):
    """Make the thing under test, pointed at the fake."""
    return volumes_module.Volumes(
        sessions.make_session(auth or noauth.NoAuth(), {}),
        {'service_type': 'volumev3', 'interface': 'publicURL',
         'endpoint_template': ENDPOINT, **options},
        policy=policy, clock=clock or fake_glance.Clock())
