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
from oslotest import base
import requests_mock

from nova_snap.conf import credentials as credentials_module
from nova_snap import errors
from tests.unit.conf import test_settings

PASSWORD = {
    'OS_AUTH_URL': 'http://keystone.test:5000',
    'OS_USERNAME': 'operator',
    'OS_PASSWORD': 'secret-of-the-operator',
    'OS_PROJECT_NAME': 'infra',
    'OS_USER_DOMAIN_NAME': 'Default',
    'OS_PROJECT_DOMAIN_NAME': 'Default',
}
NOVA_SNAP = """
[nova_snap]
auth_type = v3password
auth_url = http://keystone.test:5000/v3
username = snapshots
user_domain_name = Default
password = secret-of-ours
"""
SERVICE_USER = """
[service_user]
auth_type = password
auth_url = http://keystone.test:5000
username = nova
password = secret-of-nova
"""
CLOUDS = """
clouds:
  lab:
    region_name: RegionTwo
    interface: internal
    verify: false
    auth:
      auth_url: http://keystone.test:5000
      username: clouds-user
      password: secret-of-the-cloud
      project_name: infra
      user_domain_name: Default
      project_domain_name: Default
  direct:
    auth_type: none
    image_endpoint_override: http://glance.test:9292
"""


class CredentialsTestCase(test_settings.ConfTestCase):

    def load(self, environ=None, text=''):
        return credentials_module.load(self.parse(text), environ or {})

    def refused(self, environ=None, text=''):
        conf = self.parse(text)
        return self.assertRaises(
            errors.ConfigError, credentials_module.load, conf, environ or {}
        )


@ddt.ddt
class OrderTestCase(CredentialsTestCase):

    def test_variables_go_before_every_option(self):
        found = self.load(PASSWORD, NOVA_SNAP + SERVICE_USER)
        self.assertEqual('the OS_* variables', found.source)
        self.assertEqual('operator', found.auth._username)

    def test_a_cloud_goes_before_other_variables(self):
        clouds = self.useFixture(fixtures.TempDir()).join('clouds.yaml')
        with open(clouds, 'w') as stream:
            stream.write(CLOUDS)
        found = self.load({**PASSWORD, 'OS_CLOUD': 'lab',
                           'OS_CLIENT_CONFIG_FILE': clouds})
        self.assertEqual('cloud lab of clouds.yaml', found.source)

    def test_our_options_go_before_the_service_user(self):
        found = self.load(text=NOVA_SNAP + SERVICE_USER)
        self.assertEqual('the options of [nova_snap]', found.source)
        self.assertEqual('snapshots', found.auth.auth_methods[0].username)

    def test_the_service_user_comes_last(self):
        found = self.load(text=SERVICE_USER)
        self.assertEqual('the options of [service_user]', found.source)
        self.assertEqual('nova', found.auth._username)

    def test_places_are_not_mixed(self):
        error = self.refused({'OS_AUTH_TYPE': 'password'}, NOVA_SNAP)
        self.assertEqual('OS_AUTH_TYPE', error.option)
        self.assertIn('auth_url', str(error))

    @ddt.data(
        ('nothing at all', {}),
        ('variables that belong to something else',
         {'OS_NAME': 'Debian', 'OS_REGION_NAME': 'RegionOne'}),
        ('variables that are empty', {'OS_AUTH_URL': '', 'OS_CLOUD': ''}),
    )
    @ddt.unpack
    def test_nothing_is_an_error_that_names_the_three_ways(self, _name,
                                                           environ):
        error = self.refused(environ)
        for way in ('OS_*', 'OS_CLOUD', 'OS_AUTH_TYPE=none', '[nova_snap]',
                    '[service_user]'):
            self.assertIn(way, str(error))


@ddt.ddt
class VariablesTestCase(CredentialsTestCase):

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
        # Old openrc files have it beside a password.
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


class GlanceTestCase(CredentialsTestCase):

    def test_the_file_says_where_glance_is(self):
        found = self.load(PASSWORD, """
[glance]
service_type = image-two
service_name = glance-two
valid_interfaces = public
region_name = RegionOne
endpoint_override = http://glance.test
status_code_retries = 7
""")
        self.assertEqual({'service_type': 'image-two',
                          'service_name': 'glance-two',
                          'interface': ['public'],
                          'region_name': 'RegionOne',
                          'endpoint_override': 'http://glance.test'},
                         found.adapter_options)

    def test_without_it_the_catalog_is_asked_as_nova_asks_it(self):
        found = self.load(PASSWORD)
        self.assertEqual({'service_type': 'image',
                          'interface': ['internal', 'public']},
                         found.adapter_options)

    def test_a_variable_goes_before_the_region_of_the_file(self):
        found = self.load({**PASSWORD, 'OS_REGION_NAME': 'RegionTwo'},
                          '[glance]\nregion_name = RegionOne\n')
        self.assertEqual('RegionTwo', found.adapter_options['region_name'])

    def test_its_session_serves_where_the_place_says_nothing(self):
        found = self.load(PASSWORD, """
[glance]
cafile = /glance.pem
timeout = 30
collect_timing = true
""")
        self.assertEqual({'verify': '/glance.pem', 'cert': None,
                          'timeout': 30.0, 'collect_timing': True},
                         found.session_options)

    def test_the_session_of_the_place_goes_before_it(self):
        found = self.load(text='[glance]\ncafile = /glance.pem\n'
                          + NOVA_SNAP + 'cafile = /ours.pem\n')
        self.assertEqual('/ours.pem', found.session_options['verify'])

    def test_the_old_names_of_nova_are_understood(self):
        found = self.load(PASSWORD, '[glance]\napi_insecure = true\n'
                          '[ssl]\ncert_file = /c.pem\n')
        self.assertEqual((False, '/c.pem'),
                         (found.session_options['verify'],
                          found.session_options['cert']))

    def test_what_nobody_set_is_left_to_the_session(self):
        self.assertEqual({'verify': True, 'cert': None},
                         self.load(PASSWORD).session_options)


class OptionsTestCase(CredentialsTestCase):

    def test_no_keystone_by_option(self):
        found = self.load(text='[nova_snap]\nauth_type = none\n'
                          'endpoint = http://glance.test:9292\n')
        self.assertEqual('http://glance.test:9292', found.auth.endpoint)

    def test_no_keystone_and_no_endpoint_is_refused(self):
        error = self.refused(text='[nova_snap]\nauth_type = none\n')
        self.assertIn('[nova_snap]endpoint', str(error))

    def test_the_options_may_stand_in_another_section(self):
        found = self.load(text="""
[nova_snap]
auth_section = keystone_authtoken
[keystone_authtoken]
auth_type = password
auth_url = http://keystone.test:5000
username = borrowed
""")
        self.assertEqual('borrowed', found.auth._username)

    def test_what_is_missing_is_named(self):
        error = self.refused(text='[service_user]\nauth_type = password\n')
        self.assertEqual('[service_user]auth_type', error.option)
        self.assertIn('auth_url', str(error))

    def test_a_secret_is_in_no_representation(self):
        found = self.load(text=NOVA_SNAP)
        self.assertNotIn('secret', repr(found))


class CloudsTestCase(CredentialsTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).join('clouds.yaml')
        with open(self.path, 'w') as stream:
            stream.write(CLOUDS)

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

    def test_the_variables_of_this_process_are_not_asked(self):
        with mock.patch.dict(os.environ, OS_CLOUD='lab',
                             OS_CLIENT_CONFIG_FILE=self.path, **PASSWORD):
            self.refused({})


class NothingSentTestCase(base.BaseTestCase):

    def test_loading_talks_to_nobody(self):
        case = CredentialsTestCase('load')
        self.addCleanup(case.doCleanups)
        with requests_mock.Mocker() as wire:
            case.load(PASSWORD)
        self.assertEqual([], wire.request_history)
