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

import functools
import json
import logging

from cinderclient.contrib import noauth
import ddt
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import fixture as ksa_fixture
from keystoneauth1.identity import v3
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services import signed_out
from tests.unit.services.cinder import fake_cinder
from tests.unit.services.glance import fake_glance

KEYSTONE = 'http://keystone.test:5000/v3'
VOLUME = fake_cinder.VOLUME
SPEC = volumes_model.SnapshotSpec(VOLUME, 'snapshot for nightly', 'of mine',
                          'a-record')


class VolumesBase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = fake_glance.Clock()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.cinder = fake_cinder.FakeCinder(self.http)
        self.volumes = fake_cinder.make_volumes(self.clock)


@ddt.ddt
class LookTestCase(VolumesBase):

    def test_a_volume(self):
        self.assertEqual(
            volumes_model.Volume(
                volume_id=VOLUME, name='root', description='of mine',
                status='in-use', size_gib=3, volume_type='fast',
                project_id=fake_cinder.PROJECT,
                attachments={'an-instance': '/dev/vda'},
                image_metadata={'os_distro': 'debian', 'min_disk': '1'}),
            self.volumes.volume(VOLUME))

    def test_a_volume_that_is_not_there(self):
        self.assertIsNone(self.volumes.volume('another'))

    def test_a_snapshot_that_is_not_there(self):
        self.assertIsNone(self.volumes.snapshot('another'))

    def test_the_limits(self):
        self.assertEqual(
            volumes_model.SnapshotLimits(3, 10), self.volumes.limits()
        )

    @ddt.data((10, 2, 0), (4, 2, 1), (-1, 2, 0), (3, 1, 1))
    @ddt.unpack
    def test_what_is_missing(self, maximum, wanted, missing):
        self.assertEqual(missing, volumes_model.SnapshotLimits(
            3, maximum).missing(wanted))

    @ddt.data(503, 500, 502, fake_cinder.lost())
    def test_silence_is_asked_again(self, trouble):
        self.cinder.troubles = [trouble, trouble]
        self.assertIsNotNone(self.volumes.volume(VOLUME))
        self.assertEqual([1.0, 2.0], self.clock.sleeps)

    @ddt.data(
        (503, errors.VolumeServiceUnavailable, 'planted'),
        (401, errors.VolumeServiceRefused, '[cinder]'),
        (403, errors.VolumeServiceRefused, 'planted'),
        (413, errors.VolumeQuotaExceeded, 'planted'),
        (400, errors.VolumeServiceError, 'req-1'))
    @ddt.unpack
    def test_answers_are_told_apart(self, status, kind, words):
        self.cinder.troubles = [status] * 9
        error = self.assertRaises(kind, self.volumes.limits) \
            if status != 503 else self.assertRaises(
                kind, self.volumes.volume, VOLUME)
        self.assertIs(kind, type(error))
        self.assertIn(words, str(error))
        self.assertEqual(status, error.status)

    def test_what_answers_is_no_cinder(self):
        self.http.get(f'{fake_cinder.ENDPOINT}/limits', text='{"a": 1}')
        error = self.assertRaises(errors.VolumeServiceError,
                                  self.volumes.check)
        self.assertIn('not a volume service', str(error))


@ddt.ddt
class VersionTestCase(VolumesBase):

    @ddt.data(('3.71', 'volume 3.66'), ('3.44', 'volume 3.44'),
              ('', None))
    @ddt.unpack
    def test_the_newest_that_both_know_is_spoken(self, newest, spoken):
        self.cinder.newest = newest
        self.volumes.create_snapshot(SPEC)
        [(_, _, version)] = self.cinder.asked
        self.assertEqual(spoken, version)
        # Until 3.66 a volume in use is snapshotted by force alone.
        [body] = self.cinder.bodies
        self.assertEqual(newest == '3.71', 'force' not in body)
        self.assertTrue(body.get('force', True))


@ddt.ddt
class CreateTestCase(VolumesBase):

    def test_it_carries_our_record(self):
        made = self.volumes.create_snapshot(SPEC)
        self.assertEqual(('snapshot-1', 'creating', VOLUME),
                         (made.snapshot_id, made.status, made.volume_id))
        self.assertEqual({'nova_snap_record': 'a-record'},
                         self.cinder.bodies[0]['metadata'])
        self.assertEqual('snapshot for nightly',
                         self.cinder.bodies[0]['name'])
        self.assertTrue(SPEC.is_of(made))

    @ddt.data(500, 502, 504, 503, fake_cinder.lost())
    def test_an_answer_that_was_lost_is_looked_up(self, trouble):
        self.cinder.troubles = [trouble]
        made = self.volumes.create_snapshot(SPEC)
        self.assertEqual('snapshot-1', made.snapshot_id)
        self.assertEqual(1, self.cinder.requests('POST'))

    def test_one_that_shows_later_is_waited_for(self):
        self.cinder.troubles = [fake_cinder.lost()]
        self.cinder.keeps_lost = False
        self.clock.after(0.5, lambda: self.cinder.snapshots.update(late={
            'id': 'late', 'status': 'creating', 'size': 3,
            'volume_id': VOLUME, 'name': SPEC.name,
            'metadata': SPEC.metadata}))
        made = self.volumes.create_snapshot(SPEC)
        self.assertEqual('late', made.snapshot_id)
        self.assertEqual(1, self.cinder.requests('POST'))

    @ddt.data(500, 502, 504, fake_cinder.lost())
    def test_it_is_not_asked_for_twice(self, trouble):
        self.cinder.keeps_lost = False
        self.cinder.troubles = [trouble]
        self.assertRaises(errors.VolumeServiceUnavailable,
                          self.volumes.create_snapshot, SPEC)
        self.assertEqual(1, self.cinder.requests('POST'))
        self.assertEqual([1.0, 2.0], self.clock.sleeps)

    @ddt.data(503, 429)
    def test_what_was_not_taken_is_asked_for_again(self, status):
        self.cinder.keeps_lost = False
        self.cinder.troubles = [status]
        self.volumes.create_snapshot(SPEC)
        self.assertEqual(2, self.cinder.requests('POST'))

    def test_unless_nobody_can_tell_whether_it_is_there(self):
        self.cinder.keeps_lost = False
        self.cinder.troubles = [503, 403, 403, 403]
        self.assertRaises(errors.VolumeServiceUnavailable,
                          self.volumes.create_snapshot, SPEC)
        self.assertEqual(1, self.cinder.requests('POST'))

    def test_it_may_have_been_renamed(self):
        self.volumes.create_snapshot(SPEC)
        self.cinder.snapshots['snapshot-1']['name'] = 'theirs'
        self.assertIsNotNone(self.volumes.find_snapshot(SPEC))

    def test_another_record_s_is_not_taken_for_it(self):
        other = volumes_model.SnapshotSpec(VOLUME, SPEC.name, None, 'another')
        self.volumes.create_snapshot(other)
        self.assertIsNone(self.volumes.find_snapshot(SPEC))
        self.assertIsNotNone(self.volumes.find_snapshot(other))

    def test_over_quota(self):
        self.cinder.troubles = [413]
        self.cinder.keeps_lost = False
        self.assertRaises(errors.VolumeQuotaExceeded,
                          self.volumes.create_snapshot, SPEC)
        self.assertEqual([], self.clock.sleeps)


@ddt.ddt
class DeleteTestCase(VolumesBase):

    def setUp(self):
        super().setUp()
        self.made = self.volumes.create_snapshot(SPEC).snapshot_id
        self.cinder.snapshots[self.made]['status'] = 'available'

    def test_it_goes(self):
        self.volumes.delete_snapshot(self.made)
        self.assertEqual('deleting',
                         self.cinder.snapshots[self.made]['status'])

    def test_one_that_is_gone(self):
        self.volumes.delete_snapshot('another')

    def test_one_that_is_being_created(self):
        self.cinder.snapshots[self.made]['status'] = 'creating'
        error = self.assertRaises(errors.VolumeServiceError,
                                  self.volumes.delete_snapshot, self.made)
        self.assertIn('in the wrong state', str(error))

    def test_an_answer_that_was_lost(self):
        self.cinder.troubles = [504]
        self.cinder.snapshots[self.made]['status'] = 'deleting'
        self.volumes.delete_snapshot(self.made)


@ddt.ddt
class ProjectsTestCase(VolumesBase):
    """What Cinder makes belongs to the project of the token."""

    def setUp(self):
        super().setUp()
        self.tokens = []
        self.services = []
        self.http.post(f'{KEYSTONE}/auth/tokens', text=self._token,
                       headers={'X-Subject-Token': 'a-token'})
        self.http.get(KEYSTONE, json=ksa_fixture.V3Discovery(KEYSTONE))
        self.http.get('http://keystone.test:5000/', json={'versions': {
            'values': [ksa_fixture.V3Discovery(KEYSTONE)]}})
        self.forbidden = False
        self.volumes = fake_cinder.make_volumes(
            self.clock, endpoint_template=f'{fake_cinder.ROOT}/v3/'
            '%(project_id)s', auth=v3.Password(
                KEYSTONE, username='operator', password='p',
                user_domain_id='default', project_id='infra'))

    def _token(self, request, context):
        asked = request.json()['auth']
        self.tokens.append(asked)
        project = asked['scope']['project']['id']
        if self.forbidden and project != 'infra':
            context.status_code = 401
            return json.dumps({'error': {'message': 'no role'}})
        token = ksa_fixture.V3Token(project_id=project)
        token.set_project_scope(id=project)
        for service in self.services:
            token.add_service(service).add_standard_endpoints(
                public=fake_cinder.ENDPOINT, region='here')
        context.status_code = 201
        return json.dumps(token)

    def test_our_own(self):
        self.assertIs(self.volumes, self.volumes.acting_in('infra'))
        self.assertIs(self.volumes, self.volumes.acting_in(None))

    def test_another_in_which_the_user_has_a_role(self):
        there = self.volumes.acting_in(fake_cinder.PROJECT)
        self.assertEqual(fake_cinder.PROJECT, there.project_id())
        there.create_snapshot(SPEC)
        self.assertEqual(1, self.cinder.requests('POST'))
        self.assertEqual(['password'],
                         self.tokens[0]['identity']['methods'])
        self.assertEqual(['token'], self.tokens[1]['identity']['methods'])
        self.assertIs(there, self.volumes.acting_in(fake_cinder.PROJECT))

    def test_another_in_which_it_has_none(self):
        self.forbidden = True
        error = self.assertRaises(errors.VolumeServiceRefused,
                                  self.volumes.acting_in, 'shop')
        for word in ('infra', 'role member', 'openstack role add --project '
                     'shop'):
            self.assertIn(word, str(error))

    def test_nobody_keeps_projects(self):
        volumes = fake_cinder.make_volumes(self.clock)
        self.assertIs(volumes, volumes.acting_in('shop'))
        self.assertIsNone(volumes.project_id())

    def test_there_is_no_catalog(self):
        volumes = fake_cinder.make_volumes(self.clock,
                                           endpoint_template=None)
        del volumes._options['service_type']
        error = self.assertRaises(errors.VolumeServiceAbsent, volumes.check)
        self.assertIn('no catalog', str(error))

    def test_there_is_no_catalog_but_a_template(self):
        volumes = fake_cinder.make_volumes(self.clock)
        del volumes._options['service_type']
        volumes.create_snapshot(SPEC)
        [(*_, version)] = self.cinder.asked
        self.assertEqual('volume 3.66', version)

    def test_a_template_that_asks_for_what_nobody_knows(self):
        volumes = fake_cinder.make_volumes(
            self.clock, endpoint_template=f'{fake_cinder.ROOT}/%(region)s')
        error = self.assertRaises(errors.ConfigError, volumes.check)
        self.assertIn('endpoint_template', str(error))

    def by_catalog(self, *services):
        self.services = services
        return fake_cinder.make_volumes(
            self.clock, endpoint_template=None, auth=v3.Password(
                KEYSTONE, username='operator', password='p',
                user_domain_id='default', project_id=fake_cinder.PROJECT))

    @ddt.data((), ('image',))
    def test_a_catalog_without_cinder(self, services):
        error = self.assertRaises(errors.VolumeServiceAbsent,
                                  self.by_catalog(*services).check)
        self.assertIn('catalog_info', str(error))

    @ddt.data('volumev3', 'block-storage')
    def test_a_catalog_with_cinder_under_either_name(self, service):
        self.by_catalog(service).create_snapshot(SPEC)
        self.assertEqual([('POST', '/snapshots', 'volume 3.66')],
                         self.cinder.asked)

    def test_credentials_that_are_of_one_project(self):
        volumes = fake_cinder.make_volumes(
            self.clock, auth=noauth.CinderNoAuthPlugin(
                'operator', 'infra', endpoint=f'{fake_cinder.ROOT}/v3'))
        self.assertIs(volumes, volumes.acting_in('infra'))
        error = self.assertRaises(errors.VolumeServiceRefused,
                                  volumes.acting_in, 'shop')
        self.assertIn('of one project', str(error))


class DebugTestCase(base.BaseTestCase):

    def test_each_request_is_logged_whatever_else_is(self):
        logger = logging.getLogger('cinderclient')
        self.addCleanup(logger.setLevel, logger.level)
        fake_cinder.make_volumes(debug=True)
        self.assertEqual(logging.DEBUG, logger.level)


class SignedOutTestCase(base.BaseTestCase):

    def test_every_call_says_why(self):
        reason = errors.ConfigError(option='auth_type', reason='is not set')
        volumes = signed_out.SignedOutOfCinder(reason).acting_in('shop')
        for call in (
                volumes.check, volumes.project_id, volumes.limits,
                functools.partial(volumes.volume, 'v'),
                functools.partial(volumes.create_snapshot, SPEC),
                functools.partial(volumes.find_snapshot, SPEC),
                functools.partial(volumes.snapshot, 's'),
                functools.partial(volumes.delete_snapshot, 's')):
            self.assertIs(reason, self.assertRaises(errors.ConfigError,
                                                    call))

    def test_no_call_is_forgotten(self):
        self.assertEqual(
            {name for name in vars(volumes_module.Volumes)
             if not name.startswith('_')},
            {name for name in vars(signed_out.SignedOutOfCinder)
             if not name.startswith('_')})


class KeystoneTestCase(VolumesBase):

    def test_no_answer(self):
        self.http.post(f'{KEYSTONE}/auth/tokens',
                       exc=ksa_exc.ConnectFailure('refused'))
        volumes = fake_cinder.make_volumes(self.clock, auth=v3.Password(
            KEYSTONE, username='operator', password='p',
            user_domain_id='default', project_id='infra'))
        self.assertRaises(errors.VolumeServiceUnavailable, volumes.check)
