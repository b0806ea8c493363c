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

from cinderclient.contrib import noauth
import ddt
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.model import volumes as volumes_model
from tests.fakes.cinder import mocked as fake_cinder
from tests.fakes.glance import mocked as fake_glance
from tests.unit.services import fake_keystone

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

    def test_a_volume_is_read_as_cinder_says_it(self):
        self.assertEqual(
            volumes_model.Volume(
                volume_id=VOLUME, name='root', description='of mine',
                status='in-use', size_gib=3,
                project_id=fake_cinder.PROJECT,
                attachments={'an-instance': '/dev/vda'},
                image_metadata={'os_distro': 'debian', 'min_disk': '1'}),
            self.volumes.volume(VOLUME))

    def test_a_volume_that_is_not_there(self):
        self.assertIsNone(self.volumes.volume('another'))

    def test_a_snapshot_that_is_not_there(self):
        self.assertIsNone(self.volumes.snapshot('another'))

    def test_the_limits_are_those_of_the_project(self):
        self.assertEqual(
            volumes_model.SnapshotLimits(3, 10), self.volumes.limits()
        )

    @ddt.data((10, 2, 0), (4, 2, 1), (-1, 2, 0), (3, 1, 1))
    @ddt.unpack
    def test_the_room_in_the_quota_is_counted(self, maximum, wanted, missing):
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

    def test_what_is_raised_is_why_it_was_not_made(self):
        self.cinder.keeps_lost = False
        self.cinder.troubles = [504, None, 403, None]
        error = self.assertRaises(errors.VolumeServiceUnavailable,
                                  self.volumes.create_snapshot, SPEC)
        self.assertEqual(504, error.status)
        self.assertIn('create a snapshot', error.call)

    @ddt.data(503, 429)
    def test_what_was_not_taken_is_asked_for_again(self, status):
        self.cinder.keeps_lost = False
        self.cinder.troubles = [status]
        self.volumes.create_snapshot(SPEC)
        self.assertEqual(2, self.cinder.requests('POST'))

    def test_unless_it_cannot_be_seen_whether_it_is_there(self):
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

    def test_a_quota_that_is_full_is_said(self):
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

    def test_a_snapshot_that_is_deleted_goes(self):
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


class ProjectsTestCase(VolumesBase):
    """What Cinder makes belongs to the project of the token."""

    def setUp(self):
        super().setUp()
        self.keystone = fake_keystone.FakeKeystone(self.http)
        self.volumes = fake_cinder.make_volumes(
            self.clock, endpoint_template=f'{fake_cinder.ROOT}/v3/'
            '%(project_id)s', auth=fake_keystone.make_auth())

    def test_in_our_own_project_nothing_is_asked(self):
        self.assertIs(self.volumes, self.volumes.acting_in('infra'))
        self.assertIs(self.volumes, self.volumes.acting_in(None))

    def test_another_in_which_the_user_has_a_role(self):
        there = self.volumes.acting_in(fake_cinder.PROJECT)
        self.assertEqual(fake_cinder.PROJECT, there.project_id())
        there.create_snapshot(SPEC)
        self.assertEqual(1, self.cinder.requests('POST'))
        self.assertEqual([['password'], ['token']], self.keystone.methods())
        self.assertIs(there, self.volumes.acting_in(fake_cinder.PROJECT))

    def test_another_in_which_it_has_none(self):
        self.keystone.foreign = {'shop'}
        error = self.assertRaises(errors.VolumeServiceRefused,
                                  self.volumes.acting_in, 'shop')
        user = fake_keystone.USER
        for word in ('infra', 'role member', '"openstack role add --project '
                     f'shop --user {user} member"'):
            self.assertIn(word, str(error))

    def test_without_keystone_there_are_no_projects(self):
        volumes = fake_cinder.make_volumes(self.clock)
        self.assertIs(volumes, volumes.acting_in('shop'))
        self.assertIsNone(volumes.project_id())

    def test_credentials_that_are_of_one_project(self):
        volumes = fake_cinder.make_volumes(
            self.clock, auth=noauth.CinderNoAuthPlugin(
                'operator', 'infra', endpoint=f'{fake_cinder.ROOT}/v3'))
        self.assertIs(volumes, volumes.acting_in('infra'))
        error = self.assertRaises(errors.VolumeServiceRefused,
                                  volumes.acting_in, 'shop')
        self.assertIn('of one project', str(error))
