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

import ddt
import fixtures
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

    def test_the_file_may_name_several_services(self):
        found = self.load(PASSWORD, """
[glance]
api_servers = http://one.test:9292,http://two.test:9292
""")
        self.assertEqual(['http://one.test:9292', 'http://two.test:9292'],
                         found.adapter_options['endpoints'])

    def test_what_comes_with_the_credentials_goes_before_them(self):
        found = self.load(
            {'OS_AUTH_TYPE': 'none', 'OS_ENDPOINT': 'http://theirs.test'}, """
[glance]
api_servers = http://one.test:9292,http://two.test:9292
""")
        self.assertNotIn('endpoints', found.adapter_options)

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

    def test_what_is_not_set_is_left_to_the_session(self):
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


class NothingSentTestCase(base.BaseTestCase):

    def test_loading_sends_nothing(self):
        case = CredentialsTestCase('load')
        self.addCleanup(case.doCleanups)
        with requests_mock.Mocker() as wire:
            case.load(PASSWORD)
        self.assertEqual([], wire.request_history)
