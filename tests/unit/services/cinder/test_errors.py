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

from cinderclient import exceptions as cinder_exc
import ddt
from keystoneauth1 import exceptions as ksa_exc
from oslotest import base

from nova_snap import errors
from nova_snap.services.cinder import errors as cinder_errors


@ddt.ddt
class TranslatedTestCase(base.BaseTestCase):

    def translate(self, error):
        def fail():
            with cinder_errors.translated('show it'):
                raise error

        return self.assertRaises(errors.SnapError, fail)

    @ddt.data(
        (400, errors.VolumeServiceError),
        (401, errors.VolumeServiceRefused),
        (403, errors.VolumeServiceRefused),
        (404, errors.VolumeGone),
        (408, errors.VolumeServiceUnavailable),
        (409, errors.VolumeServiceError),
        (410, errors.VolumeGone),
        (413, errors.VolumeQuotaExceeded),
        (429, errors.VolumeServiceUnavailable),
        (500, errors.VolumeServiceUnavailable),
        (501, errors.VolumeServiceError),
        (502, errors.VolumeServiceUnavailable),
        (503, errors.VolumeServiceUnavailable),
        (504, errors.VolumeServiceUnavailable),
        (507, errors.VolumeQuotaExceeded),
    )
    @ddt.unpack
    def test_each_status_has_its_class(self, status, kind):
        for error in (cinder_exc.ClientException(status, 'so it is'),
                      ksa_exc.HttpError('so it is', http_status=status)):
            raised = self.translate(error)

            self.assertIs(kind, type(raised))
            self.assertEqual(('show it', status),
                             (raised.call, raised.status))
            self.assertIs(error, raised.__cause__)

    def test_what_cinder_says_is_told_with_the_id_of_its_log(self):
        raised = self.translate(cinder_exc.ClientException(
            400, 'so\n it is', request_id='req-1'))

        self.assertEqual('so it is, request req-1 (HTTP 400)', raised.reason)

    def test_refused_credentials_are_named(self):
        raised = self.translate(cinder_exc.ClientException(401, 'no'))

        for place in ('OS_*', 'clouds.yaml', '[nova_snap]', '[cinder]',
                      '[service_user]'):
            self.assertIn(place, str(raised))

    @ddt.named_data(
        ['no address', cinder_exc.EndpointNotFound('none'),
         errors.VolumeServiceAbsent],
        ['no version', cinder_exc.UnsupportedVersion('2'),
         errors.VolumeServiceAbsent],
        ['no endpoint in the catalog', ksa_exc.EndpointNotFound('volumev3'),
         errors.VolumeServiceAbsent],
        ['no credentials', ksa_exc.MissingAuthPlugin(),
         errors.VolumeServiceRefused],
        ['no answer', ksa_exc.ConnectFailure('refused'),
         errors.VolumeServiceUnavailable],
        ['a certificate that is not there', OSError('/missing'),
         errors.VolumeServiceError],
        ['something it does not name', ksa_exc.ClientException('odd'),
         errors.VolumeServiceError],
    )
    def test_where_there_is_no_answer(self, error, kind):
        raised = self.translate(error)

        self.assertIs(kind, type(raised))
        self.assertIsNone(raised.status)

    def test_an_absent_cinder_says_where_to_look(self):
        self.assertIn('[cinder]catalog_info',
                      str(cinder_errors.absent('there is none')))

    @ddt.data(ValueError(), errors.StorageError(reason='x'))
    def test_what_is_not_of_the_service_passes(self, error):
        def fail():
            with cinder_errors.translated('show it'):
                raise error

        self.assertIs(error, self.assertRaises(type(error), fail))
