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

from cinderclient.contrib import noauth as cinder_noauth
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import noauth
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap.services import identity
from nova_snap.services import sessions
from tests.unit.services import fake_keystone


class IdentityTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        http = self.useFixture(requests_fixture.Fixture())
        self.keystone = fake_keystone.FakeKeystone(http)
        self.auth = fake_keystone.make_auth()
        self.session = sessions.make_session(self.auth, {})

    def test_keystone_says_user_project_and_roles(self):
        self.keystone.roles = ('member', 'reader')

        self.assertEqual(
            identity.Identity('infra', frozenset({'member', 'reader'}),
                              fake_keystone.USER),
            identity.who(self.session, self.auth))

    def test_without_roles_there_are_none(self):
        self.keystone.roles = ()

        self.assertEqual(frozenset(),
                         identity.who(self.session, self.auth).roles)

    def test_without_keystone_there_is_no_project(self):
        self.assertEqual(
            identity.Identity(None, None),
            identity.who(self.session, noauth.NoAuth()))

    def test_without_credentials_there_is_no_project(self):
        self.assertEqual(identity.Identity(None, None),
                         identity.who(self.session, None))

    def test_a_plugin_may_know_a_project_and_no_roles(self):
        auth = cinder_noauth.CinderNoAuthPlugin(
            'operator', 'infra', endpoint='http://cinder.test/v3')

        self.assertEqual(identity.Identity('infra', None, 'operator'),
                         identity.who(self.session, auth))

    def test_who_is_not_let_in_is_told_by_keystone(self):
        self.keystone.foreign = {'infra'}

        self.assertRaises(ksa_exc.Unauthorized, identity.who, self.session,
                          self.auth)

    def test_another_project_is_entered_by_a_token(self):
        auth = identity.within(self.session, self.auth, 'shop')

        self.assertEqual(
            'shop', identity.who(self.session, auth).project_id)
        self.assertEqual([['password'], ['token']], self.keystone.methods())

    def test_a_project_that_does_not_let_us_in_is_found_out_at_once(self):
        self.keystone.foreign = {'shop'}

        self.assertRaises(ksa_exc.Unauthorized, identity.within,
                          self.session, self.auth, 'shop')

    def test_credentials_of_one_project_lead_into_no_other(self):
        for auth in (None, noauth.NoAuth()):
            self.assertIsNone(identity.within(self.session, auth, 'shop'))
