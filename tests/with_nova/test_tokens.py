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

"""As whom Glance is asked, and for how long."""

import time

from nova import exception

from tests.with_nova import scene

IMAGE = scene.IMAGE

# Seconds that the user's token is good for, and in which the upload has not
# ended: the server reads so slowly.
LIFETIME = 1.0


class TokenTestCase(scene.SceneTestCase):

    def tokens(self):
        """Return which tokens came, each (user's, service's) once."""
        return {(headers.get('X-Auth-Token'), headers.get('X-Service-Token'))
                for _, _, headers in self.glance.requests}

    def run_out(self):
        """Let the user's token run out while the data is sent."""
        def upload_begins(words):
            if words.startswith('PUT'):
                self.glance.lifetime = 0

        self.glance.then = upload_begins

    def test_the_users(self):
        self.snapshot(self.start_driver())
        self.assertEqual({('user-token', None)}, self.tokens())

    def test_the_services_beside_it(self):
        self.send_service_token()
        self.snapshot(self.start_driver())
        self.assertEqual({('user-token', 'service-token')}, self.tokens())

    def test_it_runs_out_during_the_upload(self):
        self.send_service_token()
        self.glance.lifetime = LIFETIME
        self.glance.before_block = lambda: time.sleep(2 * LIFETIME)
        self.snapshot(self.start_driver())
        self.assertEqual('active', self.glance.images[IMAGE]['status'])
        self.assertFalse(self.glance.is_good({'X-Auth-Token': 'user-token'}))

    def test_it_runs_out_before_the_upload(self):
        self.send_service_token()
        self.run_out()
        self.snapshot(self.start_driver())
        self.assertEqual('active', self.glance.images[IMAGE]['status'])

    def test_it_runs_out_and_there_is_no_other(self):
        self.run_out()
        self.assertRaises(exception.NovaException, self.snapshot,
                          self.start_driver())
        self.assert_guest_whole()
        self.assert_settled()

    def test_the_request_is_known_by_its_id(self):
        self.snapshot(self.start_driver())
        self.assertEqual(
            {self.context.global_id},
            {headers.get('X-OpenStack-Request-ID')
             for _, _, headers in self.glance.requests})
