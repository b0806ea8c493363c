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

"""A Keystone at the wire, for requests-mock: one user, some projects."""

import json

from keystoneauth1 import fixture as ksa_fixture
from keystoneauth1.identity import v3

URL = 'http://keystone.test:5000/v3'
USER = 'the-operators-id'


class FakeKeystone:
    """The service.

    :ivar asked: what each token was asked for with
    :ivar foreign: projects in which the user has no role
    :ivar roles: of the user, in all others
    :ivar services: in the catalog, with their address
    """

    def __init__(self, mocker):
        self.asked = []
        self.foreign = set()
        self.roles = ('member',)
        self.services = {}
        mocker.post(f'{URL}/auth/tokens', text=self._token,
                    headers={'X-Subject-Token': 'a-token'})
        mocker.get(URL, json=ksa_fixture.V3Discovery(URL))
        mocker.get('http://keystone.test:5000/', json={'versions': {
            'values': [ksa_fixture.V3Discovery(URL)]}})

    def _token(self, request, context):
        asked = request.json()['auth']
        self.asked.append(asked)
        project = asked['scope']['project']['id']
        if project in self.foreign:
            context.status_code = 401
            return json.dumps({'error': {'message': 'no role'}})
        token = ksa_fixture.V3Token(user_id=USER, project_id=project)
        token.set_project_scope(id=project)
        for role in self.roles:
            token.add_role(name=role)
        for service, address in self.services.items():
            token.add_service(service).add_standard_endpoints(
                public=address, region='here')
        context.status_code = 201
        return json.dumps(token)

    def methods(self):
        """Return by what each token was asked for."""
        return [asked['identity']['methods'] for asked in self.asked]


def make_auth(project_id='infra', url=URL):
    """Make what signs in."""
    return v3.Password(url, username='operator', password='p',
                       user_domain_id='default', project_id=project_id)
