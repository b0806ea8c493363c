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
import typing as ty

from keystoneauth1 import noauth
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module
from nova_snap.services import sign_in
from nova_snap.services import signed_out
from tests.fakes.cinder import mocked as fake_cinder
from tests.fakes.glance import mocked as fake_glance
from tests.unit import settings

REASON = errors.ConfigError(option='auth_type', reason='is not set')


@dataclasses.dataclass
class Credentials:

    auth: ty.Any
    session_options: dict
    adapter_options: dict


def find_none():
    raise REASON


class SignInTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.settings = settings.make()

    def glance(self):
        return Credentials(noauth.NoAuth(), {'timeout': 7},
                           {'endpoint_override': fake_glance.ENDPOINT})

    def cinder(self):
        return Credentials(noauth.NoAuth(), {'timeout': 8},
                           {'endpoint_template': fake_cinder.ENDPOINT})

    def test_glance_is_reached_as_the_credentials_say(self):
        fake_glance.FakeGlance(self.http, fake_glance.Clock())
        images = sign_in.images(self.glance, self.settings)

        images.check()

        self.assertIs(images_module.Images, type(images))
        self.assertEqual(7, self.http.last_request.timeout)

    def test_cinder_is_reached_as_the_credentials_say(self):
        fake_cinder.FakeCinder(self.http)
        volumes = sign_in.volumes(self.cinder, self.settings)

        volumes.check()

        self.assertIs(volumes_module.Volumes, type(volumes))
        self.assertEqual(8, self.http.last_request.timeout)

    def test_the_operator_says_what_glance_is_worth(self):
        policy = sign_in.images_policy(settings.make(
            glance_num_retries=5, verify_upload=False))

        self.assertEqual((5, False), (policy.num_retries, policy.verify))

    def test_the_operator_says_how_often_cinder_is_asked(self):
        cinder = fake_cinder.FakeCinder(self.http)
        cinder.troubles = [503] * 9
        volumes = sign_in.volumes(self.cinder, settings.make(
            cinder_http_retries=0))

        self.assertRaises(errors.VolumeServiceUnavailable, volumes.limits)
        self.assertEqual(1, cinder.requests('GET', '/limits'))

    def test_nothing_is_sent_by_it(self):
        sign_in.images(self.glance, self.settings)
        sign_in.volumes(self.cinder, self.settings)

        self.assertEqual([], self.http.request_history)

    def test_without_credentials_each_call_says_why(self):
        for made, kind in (
                (sign_in.images(find_none, self.settings),
                 signed_out.SignedOut),
                (sign_in.volumes(find_none, self.settings),
                 signed_out.SignedOutOfCinder)):
            self.assertIsInstance(made, kind)
            self.assertIs(REASON, self.assertRaises(errors.ConfigError,
                                                    made.check))

    def test_credentials_that_must_be_there_are_missed_at_once(self):
        self.assertIs(REASON, self.assertRaises(
            errors.ConfigError, sign_in.images, find_none, self.settings,
            required=True))
