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

import logging

import ddt
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import noauth
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import client as client_module
from nova_snap.services import sessions
from tests.fakes.cinder import mocked as fake_cinder
from tests.unit.services import fake_keystone

SPEC = volumes_model.SnapshotSpec(fake_cinder.VOLUME, 'nightly', None,
                                  'a-record')


def make_client(auth, **options):
    return client_module.Client(sessions.make_session(auth, {}), options,
                                auth)


def ask(client):
    return client.ask('limits', lambda cinder: cinder.limits.get())


class ClientBase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.cinder = fake_cinder.FakeCinder(self.http)
        self.keystone = fake_keystone.FakeKeystone(self.http)

    def fails(self, error, client):
        return self.assertRaises(error, ask, client)


@ddt.ddt
class VersionTestCase(ClientBase):

    @ddt.data(('3.71', 'volume 3.66'), ('3.44', 'volume 3.44'),
              ('', None))
    @ddt.unpack
    def test_the_newest_that_both_know_is_spoken(self, newest, spoken):
        self.cinder.newest = newest
        fake_cinder.make_volumes().create_snapshot(SPEC)
        [(_, _, version)] = self.cinder.asked
        self.assertEqual(spoken, version)
        # Until 3.66 a volume in use is snapshotted by force alone.
        [body] = self.cinder.bodies
        self.assertEqual(newest == '3.71', 'force' not in body)
        self.assertTrue(body.get('force', True))


@ddt.ddt
class WhereTestCase(ClientBase):

    def test_there_is_no_catalog(self):
        error = self.fails(errors.VolumeServiceAbsent,
                           make_client(noauth.NoAuth()))
        self.assertIn('no catalog', str(error))

    def test_there_is_no_catalog_but_a_template(self):
        ask(make_client(noauth.NoAuth(),
                        endpoint_template=fake_cinder.ENDPOINT))
        [(*_, version)] = self.cinder.asked
        self.assertEqual('volume 3.66', version)

    @ddt.data('%(region)s', '%(project_id)', '100%')
    def test_a_template_that_cannot_be_filled(self, end):
        error = self.fails(errors.ConfigError, make_client(
            noauth.NoAuth(), endpoint_template=f'{fake_cinder.ROOT}/{end}'))
        self.assertIn('endpoint_template', str(error))

    def test_a_template_is_filled_with_our_project(self):
        ask(make_client(fake_keystone.make_auth(fake_cinder.PROJECT),
                        endpoint_template=f'{fake_cinder.ROOT}/v3/'
                        '%(project_id)s'))
        self.assertEqual(1, self.cinder.requests('GET', '/limits'))

    def by_catalog(self, *services):
        self.keystone.services = dict.fromkeys(services,
                                               fake_cinder.ENDPOINT)
        return make_client(fake_keystone.make_auth(fake_cinder.PROJECT),
                           service_type='volumev3', interface='publicURL')

    @ddt.data((), ('image',))
    def test_a_catalog_without_cinder(self, services):
        error = self.fails(errors.VolumeServiceAbsent,
                           self.by_catalog(*services))
        self.assertIn('catalog_info', str(error))

    @ddt.data('volumev3', 'block-storage')
    def test_a_catalog_with_cinder_under_either_name(self, service):
        ask(self.by_catalog(service))
        self.assertEqual([('GET', '/limits', 'volume 3.66')],
                         self.cinder.asked)


class AskTestCase(ClientBase):

    def setUp(self):
        super().setUp()
        self.client = make_client(noauth.NoAuth(),
                                  endpoint_template=fake_cinder.ENDPOINT)

    def test_it_is_asked_once(self):
        self.cinder.troubles = [503]

        self.fails(errors.VolumeServiceUnavailable, self.client)

        self.assertEqual(1, self.cinder.requests('GET', '/limits'))

    def test_what_is_found_is_kept(self):
        ask(self.client)
        before = len(self.http.request_history)
        ask(self.client)

        self.assertEqual(before + 1, len(self.http.request_history))

    def test_a_certificate_that_is_not_there_is_an_error_of_cinder(self):
        auth = noauth.NoAuth()
        client = client_module.Client(
            sessions.make_session(auth, {'verify': '/missing.pem'}),
            {'endpoint_template': 'https://127.0.0.1:9/v3'}, auth)
        self.http.stop()
        self.addCleanup(self.http.start)

        error = self.fails(errors.VolumeServiceError, client)

        self.assertIn('/missing.pem', str(error))
        self.assertNotIsInstance(error, errors.Retriable)

    def test_a_keystone_that_is_silent(self):
        self.http.post(f'{fake_keystone.URL}/auth/tokens',
                       exc=ksa_exc.ConnectFailure('refused'))

        self.fails(errors.VolumeServiceUnavailable,
                   make_client(fake_keystone.make_auth(),
                               service_type='volumev3'))


class DebugTestCase(base.BaseTestCase):

    def test_each_request_is_logged_whatever_else_is(self):
        logger = logging.getLogger('cinderclient')
        self.addCleanup(logger.setLevel, logger.level)
        make_client(noauth.NoAuth(), debug=True)
        self.assertEqual(logging.DEBUG, logger.level)
