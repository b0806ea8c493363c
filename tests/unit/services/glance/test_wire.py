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
from keystoneauth1 import noauth
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import sessions
from tests.unit.services import fake_keystone
from tests.unit.services.glance import fake_glance

IMAGES = f'{fake_glance.ENDPOINT}/v2/images'


def make_wire(auth=None, session=(), **options):
    return wire_module.Wire(
        sessions.make_session(auth, dict(session)),
        {'endpoint_override': fake_glance.ENDPOINT, **options},
        sessions.Timeouts())


@ddt.ddt
class WireTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.wire = make_wire(noauth.NoAuth())

    @ddt.data({}, {'id': 'an-id'}, {'status': 'active'}, [], 'an-id')
    def test_what_has_not_what_each_image_has_is_no_image(self, answer):
        self.http.get(f'{IMAGES}/an-id', json=answer)

        error = self.assertRaises(errors.ImageServiceError, self.wire.look,
                                  'an-id')

        self.assertIn('not an image service', str(error))

    def test_an_image_that_is_not_there_is_none(self):
        self.http.get(f'{IMAGES}/an-id', status_code=404)

        self.assertIsNone(self.wire.look('an-id'))

    def test_nothing_is_tried_twice(self):
        self.http.get(f'{IMAGES}/an-id', status_code=503)

        self.assertRaises(errors.ImageServiceUnavailable, self.wire.look,
                          'an-id')
        self.assertEqual(1, len(self.http.request_history))

    def test_a_certificate_that_is_not_there_is_an_error_of_glance(self):
        wire = make_wire(noauth.NoAuth(), {'verify': '/missing.pem'},
                         endpoint_override='https://127.0.0.1:9')
        self.http.stop()
        self.addCleanup(self.http.start)

        error = self.assertRaises(errors.ImageServiceError, wire.probe)

        self.assertIn('/missing.pem', str(error))
        self.assertNotIsInstance(error, errors.Retriable)

    def test_we_are_whom_the_request_is_signed_by(self):
        fake_keystone.FakeKeystone(self.http)

        self.assertEqual('infra', make_wire(
            fake_keystone.make_auth()).who().project_id)
        wire = wire_module.Wire(
            sessions.make_session(fake_keystone.make_auth(), {}),
            {'auth': fake_keystone.make_auth('theirs')},
            sessions.Timeouts())
        self.assertEqual('theirs', wire.who().project_id)


class BodyTestCase(base.BaseTestCase):

    def test_it_is_read_once(self):
        chunks = [b'aa', b'b', b'']
        body = wire_module.Body(lambda size: chunks.pop(0), 3)

        self.assertEqual([b'aa', b'b'], list(body))
        self.assertEqual(3, body.sent)
        self.assertRaises(errors.ImageServiceUnavailable, list, body)
