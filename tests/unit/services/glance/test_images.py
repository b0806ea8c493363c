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

import dataclasses
from unittest import mock

import ddt
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import fixture as ksa_fixture
from keystoneauth1.identity import v3
from keystoneauth1 import noauth
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image as image_model
from nova_snap.services import identity
from tests.fakes.glance import mocked as fake_glance
from tests.unit.services import fake_keystone

KEYSTONE = 'http://keystone.test:5000/v3'
IMAGES = f'{fake_glance.ENDPOINT}/v2/images'
SPEC = image_model.ImageSpec(
    image_id='an-id', name='a-snapshot', disk_format='qcow2',
    container_format='bare', min_disk=1, min_ram=2, owner='shop',
    visibility='private', properties={
        'instance_uuid': 'an-instance', 'image_type': 'snapshot',
        # Names that glanceclient would take for its own.
        'backend': 'blue', 'session': 'green'})


class ImagesBase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = fake_glance.Clock()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.glance = fake_glance.FakeGlance(self.http, self.clock)
        self.images = fake_glance.make_images(self.clock)

    def methods(self):
        return [request.method for request in self.http.request_history]


@ddt.ddt
class CheckTestCase(ImagesBase):

    def setUp(self):
        super().setUp()
        self.token = ksa_fixture.V3Token(project_id='shop')
        self.token.set_project_scope(id='shop')
        self.token.add_role(name='member')
        service = self.token.add_service('image')
        service.add_standard_endpoints(
            public=f'{fake_glance.ENDPOINT}/v2/',
            internal='http://internal.test/')
        self.http.get(KEYSTONE, json={
            'version': ksa_fixture.V3Discovery(KEYSTONE)})
        self.http.post(f'{KEYSTONE}/auth/tokens', json=self.token,
                       headers={'X-Subject-Token': 'a-token'})

    def sign_in(self, **options):
        return fake_glance.make_images(
            self.clock, auth=v3.Password(
                KEYSTONE, username='ann', password='x', project_id='shop',
                user_domain_id='default'), **options)

    def test_a_glance_that_answers_is_fine(self):
        self.images.check()

        self.assertEqual(['GET'], self.methods())

    def test_it_asks_once(self):
        self.http.get(IMAGES, exc=fake_glance.lost())

        self.assertRaises(errors.ImageServiceUnavailable, self.images.check)
        self.assertEqual([], self.clock.sleeps)

    @ddt.data({'connect_retries': 1}, {'status_code_retries': 1})
    def test_options_that_retry_do_not_count(self, options):
        self.http.get(IMAGES, [{'exc': fake_glance.lost()}]
                      if 'connect_retries' in options
                      else [{'status_code': 503}])

        self.assertRaises(
            errors.ImageServiceUnavailable,
            fake_glance.make_images(self.clock, **options).check)
        self.assertEqual(['GET'], self.methods())

    @ddt.named_data(
        ['some web page', {'text': '<html>hello</html>'}],
        ['some JSON', {'json': {'hello': 'world'}}],
        ['a list', {'json': []}],
    )
    def test_what_is_no_glance_is_refused(self, answer):
        self.http.get(IMAGES, **answer)

        refused = self.assertRaises(errors.ImageServiceError,
                                    self.images.check)

        self.assertIn(fake_glance.ENDPOINT, str(refused))

    def test_refused_credentials_are_refused(self):
        self.http.get(IMAGES, status_code=401)

        self.assertRaises(errors.ImageServiceRefused, self.images.check)

    def test_the_catalog_says_where_glance_is(self):
        self.sign_in().check()

        self.assertEqual(f'{IMAGES}?limit=1',
                         self.http.last_request.url)

    def test_an_address_may_end_in_a_version(self):
        self.sign_in(endpoint_override=f'{fake_glance.ENDPOINT}/v2').check()

        self.assertEqual(f'{IMAGES}?limit=1', self.http.last_request.url)

    def test_a_catalog_without_glance_is_refused(self):
        refused = self.assertRaises(
            errors.ImageServiceError,
            self.sign_in(region_name='elsewhere').check)

        self.assertIn('region_name', str(refused))

    def test_without_a_catalog_or_an_address_it_is_refused(self):
        refused = self.assertRaises(
            errors.ImageServiceError,
            fake_glance.make_images(self.clock, auth=noauth.NoAuth()).check)

        self.assertIn('endpoint_override', str(refused))

    def test_a_password_that_is_wrong_is_refused(self):
        self.http.post(f'{KEYSTONE}/auth/tokens', status_code=401)

        refused = self.assertRaises(errors.ImageServiceRefused,
                                    self.sign_in().check)

        self.assertIn('OS_*', str(refused))

    def test_a_keystone_that_is_silent_is_unavailable(self):
        self.http.post(f'{KEYSTONE}/auth/tokens', exc=fake_glance.lost())

        self.assertRaises(errors.ImageServiceUnavailable,
                          self.sign_in().check)

    def test_an_image_for_our_own_project_takes_no_role(self):
        self.sign_in().check('shop')

    def test_an_image_for_another_project_takes_a_role(self):
        refused = self.assertRaises(errors.ImageServiceRefused,
                                    self.sign_in().check, 'bank')

        self.assertIn('bank', str(refused))
        self.assertIn('role admin', str(refused))

    @ddt.data('admin', 'service')
    def test_with_the_role_an_image_may_be_for_another_project(self, role):
        self.token.add_role(name=role)

        self.sign_in().check('bank')

    def test_without_keystone_no_role_is_missing(self):
        self.images.check('bank')


@ddt.ddt
class CreateTestCase(ImagesBase):

    def test_the_record_is_what_was_asked_for(self):
        image = self.images.create(SPEC)

        self.assertEqual({
            'id': 'an-id', 'name': 'a-snapshot', 'disk_format': 'qcow2',
            'container_format': 'bare', 'min_disk': 1, 'min_ram': 2,
            'owner': 'shop', 'visibility': 'private',
            'instance_uuid': 'an-instance', 'image_type': 'snapshot',
            'backend': 'blue', 'session': 'green',
        }, self.http.last_request.json())
        self.assertEqual('queued', image.status)

    def test_no_owner_is_ours(self):
        self.images.create(dataclasses.replace(SPEC, owner=None))

        self.assertNotIn('owner', self.http.last_request.json())

    def test_it_may_be_asked_for_again(self):
        self.images.create(SPEC)

        self.assertEqual('queued', self.images.create(SPEC).status)
        self.assertEqual(1, len(self.glance.images))

    def test_an_image_of_another_instance_is_not_ours(self):
        self.images.create(SPEC)
        other = dataclasses.replace(
            SPEC, properties={**SPEC.properties, 'instance_uuid': 'other'})

        refused = self.assertRaises(errors.ImageServiceError,
                                    self.images.create, other)

        self.assertEqual(409, refused.status)

    def test_a_lost_answer_is_looked_up(self):
        def create(request, context):
            self.glance.images['an-id'] = {**request.json(),
                                           'status': 'queued'}
            raise fake_glance.lost()

        self.http.post(IMAGES, json=create)

        self.assertEqual('queued', self.images.create(SPEC).status)
        self.assertEqual(['POST', 'GET'], self.methods())

    def test_a_lost_request_is_repeated(self):
        self.http.post(IMAGES, [{'exc': fake_glance.lost()},
                                {'status_code': 201, 'json': {
                                    'id': 'an-id', 'status': 'queued'}}])

        self.assertEqual('queued', self.images.create(SPEC).status)
        self.assertEqual(['POST', 'GET', 'POST'], self.methods())
        self.assertEqual([1], self.clock.sleeps)

    def test_a_glance_that_stays_silent_is_given_up(self):
        self.http.post(IMAGES, exc=fake_glance.lost())

        self.assertRaises(errors.ImageServiceUnavailable, self.images.create,
                          SPEC)
        self.assertEqual(3, self.methods().count('POST'))

    def test_a_role_that_is_missing_is_named(self):
        self.http.post(IMAGES, status_code=403, text='not owned by you',
                       headers={'Content-Type': 'text/plain'})

        refused = self.assertRaises(errors.ImageServiceRefused,
                                    self.images.create, SPEC)

        for word in ('project shop', 'admin', 'service', 'not owned by you'):
            self.assertIn(word, str(refused))
        self.assertEqual(['POST'], self.methods())

    def test_a_remark_that_glance_protects_is_left_out(self):
        create = self.glance.images
        said = {**SPEC.properties, **consistency_model.say('an-id', 'none')}

        def protect(request, context):
            values = request.json()
            if consistency_model.PROPERTY in values:
                context.status_code = 403
                return {}
            create['an-id'] = {**values, 'status': 'queued'}
            context.status_code = 201
            return create['an-id']

        self.http.post(IMAGES, json=protect)

        self.images.create(dataclasses.replace(SPEC, properties=said))

        self.assertEqual(SPEC.properties,
                         {name: value for name, value
                          in create['an-id'].items() if name in said})
        self.assertEqual(['POST', 'POST'], self.methods())

    def test_for_ourselves_glances_own_words_are_told(self):
        self.http.post(IMAGES, status_code=403, text='read only',
                       headers={'Content-Type': 'text/plain'})

        refused = self.assertRaises(
            errors.ImageServiceRefused, self.images.create,
            dataclasses.replace(SPEC, owner=None))

        self.assertIn('read only', str(refused))
        self.assertNotIn('admin', str(refused))

    @ddt.data((413, errors.ImageQuotaExceeded),
              (400, errors.ImageServiceError),
              (401, errors.ImageServiceRefused))
    @ddt.unpack
    def test_what_glance_will_not_make_is_not_asked_again(self, status,
                                                          kind):
        self.http.post(IMAGES, status_code=status)

        self.assertRaises(kind, self.images.create, SPEC)
        self.assertEqual(['POST'], self.methods())


class OtherCallsTestCase(ImagesBase):

    def setUp(self):
        super().setUp()
        self.glance.images['an-id'] = {
            'id': 'an-id', 'status': 'queued', 'colour': 'red'}

    def test_an_image_is_found(self):
        found = self.images.get('an-id')

        self.assertEqual({'colour': 'red'}, found.properties)

    def test_no_image_is_none(self):
        self.assertIsNone(self.images.get('no-such'))

    def test_a_look_is_repeated(self):
        self.glance.silent = 2

        self.assertIsNotNone(self.images.get('an-id'))
        self.assertEqual([1, 2], self.clock.sleeps)

    def test_a_look_that_stays_unanswered_is_not_an_absent_image(self):
        self.glance.silent = 3

        self.assertRaises(errors.ImageServiceUnavailable, self.images.get,
                          'an-id')

    def test_properties_are_added_and_replaced(self):
        self.images.set_properties('an-id', {'colour': 'blue', 'a/b~c': 'x'})

        self.assertEqual('blue', self.glance.images['an-id']['colour'])
        self.assertEqual([
            {'op': 'add', 'path': '/colour', 'value': 'blue'},
            {'op': 'add', 'path': '/a~1b~0c', 'value': 'x'},
        ], self.http.last_request.json())
        self.assertEqual(
            'application/openstack-images-v2.1-json-patch',
            self.http.last_request.headers['Content-Type'])

    def test_properties_of_no_image_are_an_error(self):
        gone = self.assertRaises(errors.ImageGone, self.images.set_properties,
                                 'no-such', {'colour': 'blue'})

        self.assertEqual('no-such', gone.image_id)

    def test_properties_are_set_again_after_a_lost_answer(self):
        self.glance.silent = 1

        self.images.set_properties('an-id', {'colour': 'blue'})

        self.assertEqual(['PATCH', 'PATCH'], self.methods())

    def test_an_image_is_deleted(self):
        self.images.delete('an-id')

        self.assertEqual({}, self.glance.images)

    def test_an_absent_image_is_deleted(self):
        self.images.delete('no-such')

    def test_a_lost_answer_to_a_delete_is_fine(self):
        def delete(request, context):
            del self.glance.images['an-id']
            raise fake_glance.lost()

        self.http.delete(f'{IMAGES}/an-id', [
            {'text': delete}, {'status_code': 404}])

        self.images.delete('an-id')

        self.assertEqual(['DELETE', 'DELETE'], self.methods())

    def test_an_image_in_use_is_an_error(self):
        self.http.delete(f'{IMAGES}/an-id', status_code=409)

        refused = self.assertRaises(errors.ImageServiceError,
                                    self.images.delete, 'an-id')

        self.assertNotIsInstance(refused, errors.Retriable)

    def test_a_plugin_that_fails_is_translated(self):
        auth = mock.create_autospec(noauth.NoAuth, instance=True)
        auth.get_headers.side_effect = ksa_exc.MissingAuthPlugin()
        images = fake_glance.make_images(
            self.clock, auth=auth, endpoint_override=fake_glance.ENDPOINT)

        self.assertRaises(errors.ImageServiceRefused, images.get, 'an-id')


@ddt.ddt
class HiddenTestCase(ImagesBase):
    """Glance says of a foreign image that it is not there."""

    def setUp(self):
        super().setUp()
        self.keystone = fake_keystone.FakeKeystone(self.http)
        self.keystone.services = {'image': fake_glance.ENDPOINT}
        self.images = fake_glance.make_images(
            self.clock, auth=fake_keystone.make_auth('infra'))

    def settle(self, owner):
        self.images.delete('an-id', owner=owner)
        self.images.discard_unfinished('an-id', owner=owner)

    def test_of_another_project_absence_is_not_known(self):
        for settle in (self.images.delete, self.images.discard_unfinished):
            refused = self.assertRaises(errors.ImageServiceRefused, settle,
                                        'an-id', owner='shop')
            self.assertIn('project shop', str(refused))

    def test_an_admin_sees_all_images(self):
        self.keystone.roles = ('admin', 'member')

        self.settle('shop')

    @ddt.data('infra', None)
    def test_of_our_project_or_an_unknown_one_it_is_gone(self, owner):
        self.settle(owner)

    def test_without_keystone_nothing_is_hidden(self):
        self.images = fake_glance.make_images(self.clock)

        self.settle('shop')

    def test_the_role_for_locations_is_given_to_the_user_that_we_are(self):
        self.assertIn(
            f'"openstack role add --user {fake_keystone.USER} --project '
            'infra service" makes us one', self.images.why_no_location())

    def test_without_keystone_no_role_is_to_be_given(self):
        self.assertNotIn('openstack', fake_glance.make_images(
            self.clock).why_no_location())

    def test_nova_compute_sends_a_service_along(self):
        said = fake_glance.make_images(self.clock, us=identity.Identity(
            'infra', frozenset(), 'tenant')).why_no_location()

        self.assertIn('send_service_user_token = true', said)
        self.assertNotIn('tenant', said)

    def test_who_asks_may_be_said_besides_the_session(self):
        # Nova's context signs each request and names no project to others.
        images = fake_glance.make_images(
            self.clock, us=identity.Identity('infra', frozenset({'member'})))

        self.assertRaises(errors.ImageServiceRefused, images.delete,
                          'an-id', owner='shop')
