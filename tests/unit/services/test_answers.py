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

import json

import ddt
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import noauth
from keystoneauth1 import session
from oslotest import base
import requests

from nova_snap.services import answers

CREDENTIALS = 'an openrc file'
Meaning = answers.Meaning


def second_secret():
    """Make the error for a Keystone that wants more than a password."""
    response = requests.Response()
    response._content = json.dumps({
        'receipt': {'methods': ['password'],
                    'expires_at': '2030-01-01T00:00:00.000000Z'},
        'required_auth_methods': [['password', 'totp']]}).encode()
    return ksa_exc.MissingAuthMethods(response)


@ddt.ddt
class StatusTestCase(base.BaseTestCase):

    @ddt.data(
        (400, Meaning.LASTING), (401, Meaning.REFUSED),
        (403, Meaning.REFUSED), (404, Meaning.ABSENT),
        (408, Meaning.PASSING), (409, Meaning.LASTING),
        (410, Meaning.ABSENT), (413, Meaning.FULL), (415, Meaning.LASTING),
        (418, Meaning.LASTING), (429, Meaning.PASSING),
        (500, Meaning.PASSING), (501, Meaning.LASTING),
        (502, Meaning.PASSING), (503, Meaning.PASSING),
        (504, Meaning.PASSING), (507, Meaning.FULL), (599, Meaning.LASTING))
    @ddt.unpack
    def test_each_status_has_a_meaning(self, status, meaning):
        answer = answers.by_status(status, 'so it is', CREDENTIALS)

        self.assertEqual((meaning, status), (answer.meaning, answer.status))
        if status not in (401, 403):
            self.assertEqual(f'so it is (HTTP {status})', answer.reason)

    def test_what_is_forbidden_takes_a_role(self):
        answer = answers.by_status(403, 'so it is', CREDENTIALS)

        self.assertEqual('so it is (HTTP 403). The credentials need a role '
                         'that may do this', answer.reason)

    def test_credentials_that_are_not_accepted_have_a_place(self):
        answer = answers.by_status(401, 'ask your browser', CREDENTIALS)

        self.assertIn(CREDENTIALS, answer.reason)
        self.assertNotIn('browser', answer.reason)


@ddt.ddt
class ErrorTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['no plugin', ksa_exc.MissingAuthPlugin(), Meaning.REFUSED],
        ['no token', ksa_exc.AuthorizationFailure('no'), Meaning.REFUSED],
        ['a second secret that is wanted', second_secret(),
         Meaning.REFUSED],
        ['no endpoint in the catalog', ksa_exc.EndpointNotFound('image'),
         Meaning.NO_ENDPOINT],
        ['no catalog', ksa_exc.EmptyCatalog('none'), Meaning.NO_ENDPOINT],
        ['silence', ksa_exc.ConnectTimeout('silence'), Meaning.PASSING],
        ['a Keystone that is silent', ksa_exc.DiscoveryFailure('refused'),
         Meaning.PASSING],
        ['a certificate that is not trusted',
         ksa_exc.SSLError('CERTIFICATE_VERIFY_FAILED'),
         Meaning.LASTING],
        ['an address that is none', ksa_exc.UnknownConnectionError(
            'odd', requests.exceptions.InvalidURL('no host')),
         Meaning.LASTING],
        ['what it does not name', ksa_exc.ClientException('odd'),
         Meaning.LASTING],
        ['a file of a certificate that is not there',
         OSError('invalid path: /missing'), Meaning.LASTING],
    )
    def test_each_error_has_a_meaning(self, error, meaning):
        self.assertIsInstance(error, answers.FOREIGN)

        answer = answers.by_error(error, CREDENTIALS)

        self.assertEqual((meaning, None), (answer.meaning, answer.status))

    def test_missing_credentials_have_a_place(self):
        answer = answers.by_error(ksa_exc.MissingAuthPlugin(), CREDENTIALS)

        self.assertIn(CREDENTIALS, answer.reason)

    def test_an_answer_is_read_by_its_status(self):
        answer = answers.by_error(
            ksa_exc.RequestEntityTooLarge(details='no room'), CREDENTIALS)

        self.assertEqual(
            answers.Answer(Meaning.FULL, 'no room (HTTP 413)', 413), answer)

    @ddt.named_data(
        ['a port that is closed',
         "HTTPConnectionPool(host='glance', port=9292): Max retries exceeded "
         "with url: /v2/images?limit=1 (Caused by NewConnectionError("
         "\"HTTPConnection(host='glance', port=9292): Failed to establish a "
         'new connection: [Errno 111] Connection refused"))',
         'Connection refused'],
        ['a port that is closed, of an older urllib3',
         "HTTPConnectionPool(host='glance', port=9292): Max retries exceeded "
         "with url: /v2/images?limit=1 (Caused by NewConnectionError("
         "'<urllib3.connection.HTTPConnection object at 0x7f>: Failed to "
         "establish a new connection: [Errno 111] Connection refused'))",
         'Connection refused'],
        ['a connection that is cut',
         "('Connection aborted.', ConnectionResetError(104, 'Connection "
         "reset by peer'))", 'Connection reset by peer'],
        ['a server that hangs up',
         "('Connection aborted.', RemoteDisconnected('Remote end closed "
         "connection without response'))",
         'Remote end closed connection without response'],
        ['a certificate',
         "HTTPSConnectionPool(host='glance', port=9292): Max retries exceeded "
         "with url: / (Caused by SSLError(SSLCertVerificationError(1, '[SSL: "
         'CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed '
         "certificate (_ssl.c:992)')))",
         '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: '
         'self-signed certificate (_ssl.c:992)'],
        ['what has no cause',
         "HTTPConnectionPool(host='glance', port=9292): Read timed out.",
         "HTTPConnectionPool(host='glance', port=9292): Read timed out."],
    )
    def test_the_cause_of_silence_is_said_alone(self, said, expected):
        begins = 'Unable to establish connection to http://glance:9292'

        answer = answers.by_error(
            ksa_exc.ConnectFailure(f'{begins}: {said}'), CREDENTIALS)

        self.assertEqual(f'{begins}: {expected}', answer.reason)

    def test_an_error_is_a_sentence(self):
        self.assertEqual('one two', answers.one_line(' one\n two '))
        self.assertLess(len(answers.one_line('word ' * 10000)), 350)

    def test_no_word_is_cut_in_its_middle(self):
        for length in range(1, 40):
            said = answers.one_line(f'{"x" * length} ' + 'word ' * 100)

            self.assertTrue(said.endswith(' word ...'), said)

    def test_what_fits_is_not_cut(self):
        self.assertEqual('word ' * 59 + 'fits.',
                         answers.one_line('word ' * 59 + 'fits.'))

    def test_a_word_that_is_too_long_is_cut(self):
        self.assertLess(len(answers.one_line('x' * 10000)), 350)

    @ddt.data('glance:9292', 'glance.example.org', '10.0.0.1:9292/image')
    def test_an_address_without_http_is_said_as_that(self, address):
        error = self.assertRaises(
            ksa_exc.ClientException,
            session.Session(noauth.NoAuth()).get, '/v2/images',
            endpoint_override=address)

        answer = answers.by_error(error, CREDENTIALS)

        self.assertIs(Meaning.LASTING, answer.meaning)
        self.assertEqual(
            'the address of the service does not begin with http:// or '
            f'https:// ({address}/v2/images)', answer.reason)
