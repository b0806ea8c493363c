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
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import noauth
from keystoneauth1 import session
from oslotest import base
import requests
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.services.glance import errors as glance_errors

URL = 'http://glance.test/v2/images/an-id'
PAGE = """<html>
 <head>
  <title>413 Request Entity Too Large</title>
 </head>
 <body>
  <h1>413 Request Entity Too Large</h1>
  Image exceeds the quota of &#x27;shop&#x27;.<br /><br />
 </body>
</html>"""


@ddt.ddt
class TranslatedTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())

    def ask(self, *, image_id='an-id', **answer):
        self.http.get(URL, **answer)
        client = session.Session(auth=noauth.NoAuth())
        with glance_errors.translated('show it', image_id=image_id):
            client.get(URL)

    def fails(self, **kwargs):
        return self.assertRaises(errors.SnapError, self.ask, **kwargs)

    def translate(self, error):
        def fail():
            with glance_errors.translated('show it'):
                raise error

        return self.assertRaises(errors.SnapError, fail)

    @ddt.data(
        (400, errors.ImageServiceError),
        (401, errors.ImageServiceRefused),
        (403, errors.ImageServiceRefused),
        (404, errors.ImageGone),
        (408, errors.ImageServiceUnavailable),
        (409, errors.ImageServiceError),
        (410, errors.ImageGone),
        (413, errors.ImageQuotaExceeded),
        (415, errors.ImageServiceError),
        (418, errors.ImageServiceError),
        (429, errors.ImageServiceUnavailable),
        (500, errors.ImageServiceUnavailable),
        (501, errors.ImageServiceError),
        (502, errors.ImageServiceUnavailable),
        (503, errors.ImageServiceUnavailable),
        (504, errors.ImageServiceUnavailable),
        (507, errors.ImageQuotaExceeded),
    )
    @ddt.unpack
    def test_each_status_has_its_class(self, status, kind):
        raised = self.fails(status_code=status)

        self.assertIs(kind, type(raised))
        self.assertEqual(status, raised.status)
        self.assertEqual('show it', raised.call)
        self.assertIsInstance(raised.__cause__, ksa_exc.HttpError)

    @ddt.data(404, 410)
    def test_an_address_that_is_not_there_is_no_image(self, status):
        raised = self.fails(status_code=status, image_id=None)

        self.assertIs(errors.ImageServiceError, type(raised))

    @ddt.named_data(
        ['a page of Glance', PAGE, 'text/html; charset=UTF-8',
         "Image exceeds the quota of 'shop'. (HTTP 413)"],
        ['plain text', 'no  room\n', 'text/plain', 'no room (HTTP 413)'],
        ['an empty page', '', 'text/html',
         'Request Entity Too Large (HTTP 413)'],
        ['a page without words', '<html><h1>413</h1></html>', 'text/html',
         'Request Entity Too Large (HTTP 413)'],
        ['JSON of keystone', '{"error": {"message": "no room"}}',
         'application/json', 'no room (HTTP 413)'],
        ['bytes of a proxy', 'no room', None,
         'Request Entity Too Large (HTTP 413)'],
    )
    def test_what_the_service_says_is_told(self, page, content_type,
                                           expected):
        raised = self.fails(
            status_code=413, text=page,
            headers={'Content-Type': content_type} if content_type else {})

        self.assertEqual(f'Glance is out of quota or space: {expected}',
                         str(raised))

    def test_a_long_page_is_cut(self):
        raised = self.fails(status_code=500, text='word ' * 10000,
                            headers={'Content-Type': 'text/plain'})

        self.assertLess(len(raised.reason), 350)

    def test_refused_credentials_are_named(self):
        raised = self.fails(status_code=401, text='<h1>401</h1>browser',
                            headers={'Content-Type': 'text/html'})

        for place in ('OS_*', 'clouds.yaml', '[nova_snap]', '[service_user]'):
            self.assertIn(place, str(raised))
        self.assertNotIn('browser', str(raised))

    @ddt.named_data(
        ['a port that is closed',
         requests.exceptions.ConnectionError('refused')],
        ['no answer in time', requests.exceptions.ReadTimeout('silence')],
        ['no connection in time',
         requests.exceptions.ConnectTimeout('silence')],
        ['an answer that ends in the middle',
         requests.exceptions.ChunkedEncodingError('cut')],
        ['a TLS connection that is cut',
         requests.exceptions.SSLError('EOF occurred')],
    )
    def test_may_be_tried_again_after(self, error):
        raised = self.fails(exc=error)

        self.assertIs(errors.ImageServiceUnavailable, type(raised))
        self.assertIsNone(raised.status)

    @ddt.named_data(
        ['a certificate that is not trusted', requests.exceptions.SSLError(
            '[SSL: CERTIFICATE_VERIFY_FAILED] self-signed')],
        ['an address that is none',
         requests.exceptions.InvalidURL('no host given')],
        ['an address without http',
         requests.exceptions.MissingSchema('no scheme')],
    )
    def test_is_not_tried_again_after(self, error):
        raised = self.fails(exc=error)

        self.assertIs(errors.ImageServiceError, type(raised))

    @ddt.named_data(
        ['no plugin', ksa_exc.MissingAuthPlugin()],
        ['no token to be had', ksa_exc.AuthorizationFailure('no')],
    )
    def test_missing_credentials_are_refused_with_a_remedy(self, error):
        raised = self.translate(error)

        self.assertIsInstance(raised, errors.ImageServiceRefused)
        self.assertIn('OS_*', str(raised))

    @ddt.named_data(
        ['no endpoint in the catalog', ksa_exc.EndpointNotFound('image'),
         errors.ImageServiceError],
        ['something it does not name', ksa_exc.ClientException('odd'),
         errors.ImageServiceError],
        ['a keystone that is silent', ksa_exc.DiscoveryFailure('refused'),
         errors.ImageServiceUnavailable],
    )
    def test_what_keystone_lacks(self, error, kind):
        self.assertIs(kind, type(self.translate(error)))

    @ddt.data(ValueError, KeyError, errors.StorageError)
    def test_what_is_not_of_the_service_passes(self, kind):
        def fail():
            with glance_errors.translated('show it'):
                raise kind(**({'reason': 'x'} if kind is errors.StorageError
                              else {}))

        self.assertRaises(kind, fail)
