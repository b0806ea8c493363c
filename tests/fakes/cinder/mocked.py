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

"""A fake Cinder at the wire, for requests-mock."""

import re

from keystoneauth1 import noauth
import requests
import requests_mock

from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services import sessions
from tests.fakes.cinder import api
from tests.fakes.cinder import store as cinder_store
from tests.fakes.glance import mocked as fake_glance
from tests.fakes import http as fake_http

ROOT = 'http://cinder.test:8776'
PROJECT = 'a-project'
ENDPOINT = f'{ROOT}/v3/{PROJECT}'
VOLUME = 'a-volume'

# Snapshots that the project has before.
USED = 3

# Seconds; numbers that differ from each other.
POLICY = sessions.Policy(num_retries=2)


class FakeCinder(cinder_store.FakeCinder):
    """The service. What was begun goes no further by itself.

    :ivar newest: the microversion it knows; None tells nothing
    :ivar troubles: for requests to come: an error, or a status; None is well
    :ivar keeps_lost: what was asked for is done although its answer is lost
    :ivar asked: method, path, and microversion of each request
    :ivar bodies: of each snapshot asked for
    """

    def __init__(self, mocker, newest='3.71'):
        super().__init__(lambda seconds, act: None)
        self.create_seconds = self.delete_seconds = None
        self.name_snapshot = 'snapshot-{}'.format
        self.newest = newest
        self.troubles = []
        self.keeps_lost = True
        self.asked = []
        self.bodies = []
        self.volumes[VOLUME] = volume()
        mocker.register_uri(requests_mock.ANY,
                            re.compile(f'^{re.escape(ENDPOINT)}/'),
                            content=self._answer)
        for root in (f'{ROOT}/v3/', f'{ROOT}/v3', f'{ROOT}/'):
            mocker.get(root, json=self._versions)

    def limits(self):
        """Count those that the project has before, too."""
        found = super().limits()
        return {**found,
                'totalSnapshotsUsed': USED + found['totalSnapshotsUsed']}

    def requests(self, method, path='/snapshots'):
        """Return how often it was asked for this."""
        return sum(one[:2] == (method, path) for one in self.asked)

    def _versions(self, request, context):
        version = {'id': 'v3.0', 'status': 'CURRENT',
                   'links': [{'rel': 'self', 'href': f'{ROOT}/v3/'}]}
        if self.newest:
            version.update(version=self.newest, min_version='3.0')
        return {'versions': [version]}

    def _answer(self, request, context):
        asked = fake_http.Request.mocked(request)
        path = asked.path.removeprefix(f'/v3/{PROJECT}')
        self.asked.append((request.method, path,
                           request.headers.get('OpenStack-API-Version')))
        trouble = self.troubles.pop(0) if self.troubles else None
        answer = None
        if trouble is None or (request.method == 'POST' and self.keeps_lost):
            if request.method == 'POST':
                self.bodies.append(asked.json()['snapshot'])
            answer = api.answer(self, asked, path)
        if isinstance(trouble, Exception):
            raise trouble
        if trouble is not None:
            context.headers['x-compute-request-id'] = 'req-1'
            answer = fake_http.Answer(trouble, {'sorry': {
                'message': 'planted', 'code': trouble}})
        context.status_code = answer.status
        return answer.body()


def volume():
    """Make a volume that is in use."""
    return volumes_model.Volume(
        volume_id=VOLUME, name='root', description='of mine',
        status='in-use', size_gib=3, project_id=PROJECT,
        attachments={'an-instance': '/dev/vda'},
        image_metadata={'os_distro': 'debian', 'min_disk': '1'})


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
