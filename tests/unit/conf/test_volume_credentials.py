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

from nova_snap.conf import credentials as credentials_module
from nova_snap import errors
from tests.unit.conf import test_credentials

NOVA_SNAP = test_credentials.NOVA_SNAP
PASSWORD = test_credentials.PASSWORD
SERVICE_USER = test_credentials.SERVICE_USER
CINDER = """
[cinder]
auth_type = password
auth_url = http://keystone.test:5000
username = cinder-user
password = secret-of-cinder
"""


class VolumesTestCase(test_credentials.CredentialsTestCase):

    def volumes(self, text, environ=()):
        return credentials_module.load_for_volumes(
            self.parse(text), dict(environ)
        )

    def test_the_order_of_the_places(self):
        everything = NOVA_SNAP + CINDER + SERVICE_USER
        for text, environ, source in (
                (everything, PASSWORD, 'the OS_* variables'),
                (everything, {}, 'the options of [nova_snap]'),
                (CINDER + SERVICE_USER, {}, 'the options of [cinder]'),
                (SERVICE_USER, {}, 'the options of [service_user]')):
            self.assertEqual(source, self.volumes(text, environ).source)

    def test_glance_is_not_reached_as_cinder_is(self):
        found = self.load(None, CINDER + SERVICE_USER)
        self.assertEqual('the options of [service_user]', found.source)

    def test_nothing_is_an_error(self):
        self.assertRaises(errors.ConfigError, self.volumes, '')

    def test_nova_s_defaults_say_where_cinder_is(self):
        self.assertEqual(
            {'service_type': 'volumev3', 'interface': 'publicURL'},
            self.volumes(SERVICE_USER).adapter_options)

    def test_the_file_says_where_cinder_is(self):
        self.assertEqual(
            {'service_type': 'block-storage', 'service_name': 'fast',
             'interface': 'internalURL', 'region_name': 'RegionTwo',
             'endpoint_template': 'http://cinder.test/v3/%(project_id)s',
             'debug': True},
            self.volumes(SERVICE_USER + '[cinder]\n'
                         'catalog_info = block-storage:fast:internalURL\n'
                         'endpoint_template = http://cinder.test/v3/'
                         '%(project_id)s\n'
                         'os_region_name = RegionTwo\ndebug = true\n'
                         ).adapter_options)

    def test_a_variable_goes_before_the_region_of_the_file(self):
        found = self.volumes('[cinder]\nos_region_name = RegionTwo\n', {
            **PASSWORD, 'OS_REGION_NAME': 'RegionOne',
            'OS_INTERFACE': 'internal'}).adapter_options
        self.assertEqual(('RegionOne', ['internal']),
                         (found['region_name'], found['interface']))

    def test_an_endpoint_of_glance_is_not_taken_for_cinder(self):
        found = self.volumes('', {'OS_AUTH_TYPE': 'none',
                                  'OS_ENDPOINT': 'http://glance.test'})
        self.assertNotIn('service_type', found.adapter_options)

    def test_an_endpoint_in_its_own_group_is(self):
        found = self.volumes('[cinder]\nauth_type = none\n'
                             'endpoint = http://cinder.test/v3\n')
        self.assertIn('service_type', found.adapter_options)

    def test_its_session_serves_where_the_place_says_nothing(self):
        found = self.volumes(SERVICE_USER + '[cinder]\ntimeout = 7\n')
        self.assertEqual(7, found.session_options['timeout'])
