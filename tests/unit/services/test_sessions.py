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
import fixtures
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import noauth
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap.services import sessions
from tests.unit.services import slow


class SessionTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.http.get('http://x/', headers={
            'x-openstack-request-id': 'req-of-theirs'})

    def get(self, **options):
        sessions.make_session(noauth.NoAuth(), options).get('http://x/')
        return self.http.last_request

    def test_there_is_always_a_timeout(self):
        for unset in ({}, {'timeout': None}, {'timeout': 0}):
            self.assertEqual(60, self.get(**unset).timeout)

    def test_the_operators_timeout_counts(self):
        self.assertEqual(7, self.get(timeout=7).timeout)

    def test_what_the_operator_says_of_tls_is_kept(self):
        request = self.get(verify='/ca.pem', cert=('/c', '/k'))

        self.assertEqual('/ca.pem', request.verify)
        self.assertEqual(('/c', '/k'), request.cert)

    def test_nothing_is_retried_in_it(self):
        session = sessions.make_session(None, {'connect_retries': 5})

        self.assertEqual(0, session._connect_retries)

    def test_the_services_see_who_asks(self):
        self.assertRegex(self.get().headers['User-Agent'],
                         r'^nova_snap/\S+')

    def test_request_ids_are_in_the_debug_log(self):
        log = self.useFixture(fixtures.FakeLogger(level=logging.DEBUG))

        self.get()

        self.assertIn('req-of-theirs', log.output)


@ddt.ddt
class EndTestCase(base.BaseTestCase):
    """An answer that comes a byte a second."""

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.slow = slow.Slow(self)

    def get(self, **options):
        return sessions.make_session(noauth.NoAuth(), options).get(
            'http://x/')

    @ddt.data(200, 500)
    def test_it_is_given_up(self, status):
        self.http.get('http://x/', body=self.slow.body(b'.' * 1000),
                      status_code=status)
        self.assertRaises(ksa_exc.ConnectTimeout, self.get, timeout=60)
        self.assertLess(self.slow.seconds, 60 + sessions.PIECE_BYTES + 1)

    def test_one_that_is_in_time_is_whole(self):
        self.http.get('http://x/', body=self.slow.body(b'0123456789' * 10))
        self.assertEqual('0123456789' * 10, self.get(timeout=200).text)
        self.assertEqual(100, self.slow.seconds)

    def test_our_own_timeout_counts_where_none_is_set(self):
        self.http.get('http://x/', body=self.slow.body(b'.' * 200))
        self.assertRaises(ksa_exc.ConnectTimeout, self.get)
