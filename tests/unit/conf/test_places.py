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

import os
import sys
from unittest import mock

import ddt
import fixtures
from keystoneauth1 import adapter
from keystoneauth1 import session
import requests_mock

from tests.unit.conf import test_credentials

PASSWORD = test_credentials.PASSWORD


@ddt.ddt
class VariablesTestCase(test_credentials.CredentialsTestCase):

    def test_without_a_type_a_password_is_meant(self):
        with requests_mock.Mocker() as wire:
            wire.get('http://keystone.test:5000', json={'versions': {
                'values': [{'id': 'v3.14', 'status': 'stable', 'links': [
                    {'rel': 'self',
                     'href': 'http://keystone.test:5000/v3/'}]}]}})
            sent = wire.post('http://keystone.test:5000/v3/auth/tokens',
                             headers={'X-Subject-Token': 'token'},
                             json={'token': {'methods': ['password']}})
            found = self.load(PASSWORD)
            token = session.Session(auth=found.auth,
                                    **found.session_options).get_token()
        self.assertEqual('token', token)
        user = sent.last_request.json()['auth']['identity']['password']
        self.assertEqual({'name': 'operator', 'domain': {'name': 'Default'},
                          'password': 'secret-of-the-operator'},
                         user['user'])

    def test_without_keystone_the_endpoint_is_glance(self):
        found = self.load({'OS_AUTH_TYPE': 'none',
                           'OS_ENDPOINT': 'http://glance.test:9292'})
        reached = adapter.Adapter(
            session.Session(auth=found.auth, **found.session_options),
            **found.adapter_options)
        with requests_mock.Mocker() as wire:
            wire.get('http://glance.test:9292/v2/images', json={})
            self.assertEqual(200, reached.get('/v2/images').status_code)

    def test_the_variable_goes_before_the_endpoint_of_the_file(self):
        found = self.load({'OS_AUTH_TYPE': 'none',
                           'OS_ENDPOINT': 'http://glance.test:9292'},
                          '[glance]\nendpoint_override = http://other\n')
        self.assertEqual('http://glance.test:9292',
                         found.adapter_options['endpoint_override'])

    def test_without_keystone_the_file_may_say_where_glance_is(self):
        found = self.load({'OS_AUTH_TYPE': 'none'},
                          '[glance]\nendpoint_override = http://other\n')
        self.assertEqual('http://other',
                         found.adapter_options['endpoint_override'])

    def test_an_endpoint_of_keystone_is_not_taken_for_glance(self):
        # Old openrc files have it next to a password.
        found = self.load({**PASSWORD, 'OS_ENDPOINT': 'http://keystone'})
        self.assertNotIn('endpoint_override', found.adapter_options)

    @ddt.data(
        ('a place that needs no catalog and has none',
         {'OS_AUTH_TYPE': 'none'}, 'endpoint', 'OS_ENDPOINT'),
        ('a plugin that is not installed',
         {'OS_AUTH_TYPE': 'v9'}, 'OS_AUTH_TYPE', 'v9'),
        ('a switch that is neither true nor false',
         {**PASSWORD, 'OS_INSECURE': 'maybe'}, 'OS_INSECURE', 'maybe'),
    )
    @ddt.unpack
    def test_what_cannot_work_is_named(self, _name, environ, option, word):
        error = self.refused(environ)
        self.assertEqual(option, error.option)
        self.assertIn(word, str(error))

    @ddt.data(
        ('nothing', {}, True, None),
        ('an authority', {'OS_CACERT': '/ca.pem'}, '/ca.pem', None),
        ('no check, whatever the authority',
         {'OS_CACERT': '/ca.pem', 'OS_INSECURE': 'true'}, False, None),
        ('a certificate with its key in one file',
         {'OS_CERT': '/c.pem'}, True, '/c.pem'),
        ('a certificate and its key',
         {'OS_CERT': '/c.pem', 'OS_KEY': '/k.pem'}, True,
         ('/c.pem', '/k.pem')),
    )
    @ddt.unpack
    def test_tls_is_as_the_variables_say(self, _name, more, verify, cert):
        found = self.load({**PASSWORD, **more}).session_options
        self.assertEqual((verify, cert), (found['verify'], found['cert']))

    @ddt.data(
        ('as it is now', 'OS_INTERFACE', 'admin', ['admin']),
        ('as it was', 'OS_ENDPOINT_TYPE', 'publicURL', ['public']),
    )
    @ddt.unpack
    def test_the_interface_is_as_a_variable_says(self, _name, variable,
                                                 value, interface):
        found = self.load({**PASSWORD, variable: value})
        self.assertEqual(interface, found.adapter_options['interface'])


@ddt.ddt
class CloudsTestCase(test_credentials.CredentialsTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).join('clouds.yaml')
        with open(self.path, 'w') as stream:
            stream.write(test_credentials.CLOUDS)

    def environ(self, name):
        return {'OS_CLOUD': name, 'OS_CLIENT_CONFIG_FILE': self.path}

    def test_a_cloud_says_all(self):
        found = self.load(self.environ('lab'))
        self.assertEqual('clouds-user', found.auth._username)
        self.assertIs(False, found.session_options['verify'])
        self.assertEqual({'service_type': 'image',
                          'interface': ['internal'],
                          'region_name': 'RegionTwo'},
                         found.adapter_options)

    def test_a_cloud_without_keystone_names_its_glance(self):
        found = self.load(self.environ('direct'))
        self.assertEqual('http://glance.test:9292',
                         found.adapter_options['endpoint_override'])

    def test_a_cloud_that_is_not_there_is_named(self):
        error = self.refused(self.environ('elsewhere'))
        self.assertEqual('OS_CLOUD', error.option)
        self.assertIn('elsewhere', str(error))

    def test_without_openstacksdk_the_remedy_is_named(self):
        with mock.patch.dict(sys.modules, {'openstack': None}):
            error = self.refused(self.environ('lab'))
        self.assertIn('nova-snap[clouds]', str(error))

    @ddt.named_data(
        ['no YAML', b'clouds: [\n lab: b: c\n'],
        ['no text', b'\xff\xfe\x00'],
        ['a list', b'[]'],
        ['a cloud that is a word', b'clouds:\n  lab: word\n'],
        ['credentials that are a word',
         b'clouds:\n  lab:\n    auth: word\n'],
    )
    def test_a_file_that_is_none_is_an_error(self, content):
        with open(self.path, 'wb') as stream:
            stream.write(content)
        self.assertEqual('OS_CLOUD', self.refused(self.environ('lab')).option)

    def test_the_variables_of_this_process_are_not_asked(self):
        with mock.patch.dict(os.environ, OS_CLOUD='lab',
                             OS_CLIENT_CONFIG_FILE=self.path, **PASSWORD):
            self.refused({})
