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
import io
import re
from unittest import mock

import ddt
from keystoneauth1 import noauth
from keystoneauth1 import session
from oslotest import base
import requests
import requests_mock
from requests_mock.contrib import fixture as requests_fixture
import urllib3

from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import sessions
from nova_snap.transfer import source as source_module
from tests.fakes.glance import mocked as fake_glance
from tests.unit.services import fake_keystone
from tests.unit.services import slow

IMAGES = f'{fake_glance.ENDPOINT}/v2/images'
SPEC = image_model.ImageSpec(
    image_id='an-id', name='nightly', disk_format='raw',
    container_format='bare', min_disk=1, min_ram=0, owner=None,
    visibility='private', properties={})


class _Cut(io.RawIOBase):
    """An answer whose connection breaks."""

    def read(self, size=-1):
        raise urllib3.exceptions.ProtocolError('broken')


def make_wire(auth, session_options=(), **options):
    return wire_module.Wire(
        sessions.make_session(auth, dict(session_options)),
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

    @ddt.data(400, 404, 408, 409, 410, 413, 415, 429, 500, 503, 504, 507)
    def test_every_status_of_a_failure_is_told(self, status):
        self.http.post(IMAGES, status_code=status)

        error = self.assertRaises(errors.ImageServiceError, self.wire.post,
                                  SPEC)

        self.assertEqual(status, error.status)

    @ddt.named_data(
        ['JSON without an error', {'json': {'message': 'no'}}],
        ['a list', {'json': ['no']}],
        ['JSON that is none', {'text': '{'}],
        ['another encoding', {'content': 'für später'.encode('latin-1')}],
    )
    def test_a_failure_may_come_with(self, page):
        for content_type in ('application/json', 'text/html', 'text/plain'):
            self.http.post(IMAGES, status_code=503, **page,
                           headers={'Content-Type': content_type})

            self.assertRaises(errors.ImageServiceUnavailable,
                              self.wire.post, SPEC)

    def test_each_request_ends_where_the_session_would_wait_for_ever(self):
        # As Nova's session does, which has no timeout of its own.
        self.wire = wire_module.Wire(
            session.Session(noauth.NoAuth()),
            {'endpoint_override': fake_glance.ENDPOINT},
            sessions.Timeouts(answer=7))
        fake_glance.FakeGlance(self.http, fake_glance.Clock())

        self.wire.post(SPEC)
        self.wire.patch('an-id', {'colour': 'blue'})
        self.wire.look('an-id')
        self.wire.delete('an-id')

        self.assertEqual([('POST', 7), ('PATCH', 7), ('GET', 7),
                          ('DELETE', 7)],
                         [(request.method, request.timeout)
                          for request in self.http.request_history])

    def test_each_answer_ends_where_the_session_would_wait_for_ever(self):
        self.wire = wire_module.Wire(
            session.Session(noauth.NoAuth()),
            {'endpoint_override': fake_glance.ENDPOINT},
            sessions.Timeouts(answer=7))
        self.http.get(f'{IMAGES}/an-id',
                      body=slow.Slow(self).body(b'{"id": "an-id"}' * 99))

        self.assertRaises(errors.ImageServiceUnavailable, self.wire.look,
                          'an-id')

    def test_each_call_is_one_request(self):
        fake_glance.FakeGlance(self.http, fake_glance.Clock())

        self.wire.probe()
        self.wire.post(SPEC)
        self.wire.patch('an-id', {'colour': 'blue', 'a/b~c': 'x'})
        self.wire.look('an-id')
        self.wire.delete('an-id')

        self.assertEqual(
            [('GET', '/v2/images?limit=1'), ('POST', '/v2/images'),
             ('PATCH', '/v2/images/an-id'), ('GET', '/v2/images/an-id'),
             ('DELETE', '/v2/images/an-id')],
            [(request.method, request.path_url)
             for request in self.http.request_history])

    @ddt.data('backend', 'session', 'self_', 'items', 'changes', 'schema_url')
    def test_a_property_may_have_any_name(self, name):
        glance = fake_glance.FakeGlance(self.http, fake_glance.Clock())

        made = self.wire.post(dataclasses.replace(
            SPEC, properties={name: 'blue'}))

        self.assertEqual('blue', glance.images['an-id'][name])
        self.assertEqual({name: 'blue'}, made.properties)
        # And the next image has not what was asked for this one.
        self.wire.post(dataclasses.replace(SPEC, image_id='another'))
        self.assertNotIn(name, glance.images['another'])

    @ddt.data('<html>hello</html>', '[]', '{"id": "an-id"}')
    def test_what_is_no_glance_has_changed_nothing(self, page):
        self.http.patch(f'{IMAGES}/an-id', text=page)

        error = self.assertRaises(errors.ImageServiceError, self.wire.patch,
                                  'an-id', {'colour': 'blue'})

        self.assertIn('not an image service', str(error))

    def test_an_answer_that_is_cut_may_be_another_when_asked_again(self):
        for content_type in ('application/json', 'application/octet-stream'):
            self.http.get(f'{IMAGES}/an-id', body=_Cut(),
                          headers={'Content-Type': content_type})

            self.assertRaises(errors.ImageServiceUnavailable,
                              self.wire.look, 'an-id')

    def test_glance_sees_who_asks(self):
        self.http.get(f'{IMAGES}/an-id', status_code=404)

        self.wire.look('an-id')

        self.assertIn('nova_snap/',
                      self.http.last_request.headers['User-Agent'])

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


class SenderTestCase(base.BaseTestCase):
    """What sends the data shares nothing with what asks for records."""

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        fake_keystone.FakeKeystone(self.http)
        self.auth = fake_keystone.make_auth()
        self.session = sessions.make_session(
            self.auth, {'additional_headers': {'X-Of': 'the operator'}})
        self.sent = self.http.put(
            f'{fake_glance.ENDPOINT}/infra/v2/images/an-id/file',
            status_code=204)

    def sender(self):
        return wire_module.Wire(
            self.session, {'endpoint_override':
                           fake_glance.ENDPOINT + '/%(project_id)s'},
            sessions.Timeouts()).sender('an-id')

    def test_it_does_not_sign_in(self):
        with self.sender() as put:
            # To wait for it would be without end.
            with self.auth._lock:
                put(wire_module.Body(io.BytesIO(b'abc').read, 3))

        request = self.sent.last_request
        self.assertEqual(self.auth.get_token(self.session),
                         request.headers['X-Auth-Token'])
        self.assertEqual('the operator', request.headers['X-Of'])
        self.assertIn('nova_snap/', request.headers['User-Agent'])

    def test_its_connections_are_its_own(self):
        with self.sender() as put, \
                mock.patch.object(self.session.session, 'request',
                                  autospec=True) as shared:
            put(wire_module.Body(io.BytesIO(b'abc').read, 3))

        shared.assert_not_called()
        self.assertEqual(1, self.sent.call_count)

    def test_a_certificate_of_the_user_goes_with_it(self):
        self.auth.get_connection_params = lambda *args, **kwargs: {
            'cert': 'user.pem'}
        with self.sender() as put:
            put(wire_module.Body(io.BytesIO(b'abc').read, 3))

        self.assertEqual('user.pem', self.sent.last_request.cert)


@ddt.ddt
class SeveralTestCase(base.BaseTestCase):
    """Several services share a database, as [glance]api_servers has it."""

    ENDPOINTS = ('http://one.test/v2/', 'http://two.test', 'http://three.test')

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.wire = make_wire(noauth.NoAuth(), endpoints=self.ENDPOINTS)

    def look(self, count):
        """Ask so often, and return where it was asked."""
        for _ in range(count):
            try:
                self.wire.look('an-id')
            except errors.ImageServiceError:
                pass
        return [request.hostname for request in self.http.request_history]

    @ddt.named_data(
        ['silence', {'exc': requests.exceptions.ConnectTimeout()}],
        ['a broken connection',
         {'exc': requests.exceptions.ConnectionError()}],
        ['a service that is stopped', {'status_code': 503}],
    )
    def test_the_next_one_is_asked_after(self, answer):
        self.http.get(requests_mock.ANY, **answer)

        asked = self.look(6)

        self.assertEqual({'one.test', 'two.test', 'three.test'},
                         set(asked[:3]))
        self.assertEqual(asked[:3], asked[3:])

    @ddt.data(200, 404, 403, 500)
    def test_one_that_answers_is_asked_again(self, status):
        self.http.get(requests_mock.ANY, status_code=status)

        self.assertEqual(1, len(set(self.look(4))))

    def test_the_first_one_is_not_always_the_same(self):
        self.http.get(requests_mock.ANY, status_code=404)
        for _ in range(100):
            self.wire = make_wire(noauth.NoAuth(), endpoints=self.ENDPOINTS)
            asked = self.look(1)

        self.assertEqual(3, len(set(asked)))

    def test_with_one_of_two_dead_a_snapshot_is_uploaded(self):
        dead = 'http://dead.test'
        self.http.register_uri(
            requests_mock.ANY, re.compile(f'{dead}/'),
            exc=requests.exceptions.ConnectionError)
        for _ in range(20):
            clock = fake_glance.Clock()
            fake_glance.FakeGlance(self.http, clock)
            images = fake_glance.make_images(
                clock, endpoints=[dead, fake_glance.ENDPOINT])
            images.check()
            images.create(SPEC)

            self.assertEqual('active', images.upload(
                'an-id', source_module.NoData()).status)


class SignInTestCase(base.BaseTestCase):
    """What fails at Keystone is not said of Glance."""

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.keystone = fake_keystone.FakeKeystone(self.http)
        self.wire = make_wire(fake_keystone.make_auth())

    def fails(self, kind):
        """Return what is said of each call, which all say the same."""
        said = {str(self.assertRaises(kind, call)) for call in (
            self.wire.probe, self.wire.who,
            lambda: self.wire.look('an-id'),
            lambda: self.wire.post(SPEC),
            lambda: self.wire.delete('an-id'),
            lambda: self.wire.patch('an-id', {'colour': 'blue'}),
            lambda: self.wire.sender('an-id').__enter__())}
        self.assertEqual(1, len(said))
        return said.pop()

    def test_a_keystone_that_is_silent(self):
        self.http.register_uri(
            requests_mock.ANY, re.compile('keystone.test'),
            exc=requests.exceptions.ConnectionError('refused'))

        said = self.fails(errors.ImageServiceUnavailable)

        self.assertTrue(said.startswith('Keystone does not answer'), said)
        self.assertNotIn('Glance', said)

    def test_a_password_that_is_wrong(self):
        self.keystone.foreign.add('infra')

        said = self.fails(errors.ImageServiceRefused)

        self.assertTrue(said.startswith('Keystone refuses sign in'), said)
        self.assertIn('OS_*', said)
        self.assertNotIn('role', said)

    def test_an_address_of_keystone_without_http(self):
        self.wire = make_wire(fake_keystone.make_auth(
            url='keystone.test:5000/v3'))

        said = self.fails(errors.ImageServiceError)

        self.assertEqual(
            'Keystone failed at sign in: the address of the service does not '
            'begin with http:// or https:// (keystone.test:5000/v3)', said)

    def test_a_glance_that_is_silent(self):
        self.http.register_uri(
            requests_mock.ANY, re.compile(fake_glance.ENDPOINT),
            exc=requests.exceptions.ConnectionError('refused'))

        error = self.assertRaises(errors.ImageServiceUnavailable,
                                  self.wire.probe)

        self.assertTrue(str(error).startswith('Glance does not answer'))


class BodyTestCase(base.BaseTestCase):

    def test_it_is_read_once(self):
        chunks = [b'aa', b'b', b'']
        body = wire_module.Body(lambda size: chunks.pop(0), 3)

        self.assertEqual([b'aa', b'b'], list(body))
        self.assertEqual(3, body.sent)
        self.assertRaises(errors.ImageServiceUnavailable, list, body)
