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

"""A retried upload made an active image of what was left of the file.

Nova's GlanceClientWrapper.call hands the same open file to each attempt. The
first one breaks off half way and Glance puts the image back to queued; the
second one goes on reading where the first had stopped; Glance takes the rest
for the whole, and Nova does not compare.
"""

import hashlib

from glanceclient import exc as glance_exc
from glanceclient.v2 import client as glance_client

from tests.functional import glance_base
from tests.lab import proxy


class TruncatedRetryTestCase(glance_base.GlanceTest):

    def setUp(self):
        super().setUp()
        self.image_id = self.queued()
        self.fault = self.proxy.inject(proxy.Fault(
            'PUT', proxy.FILE, drop_after=glance_base.HALF))

    def upload_as_upstream(self, **options):
        """Upload as nova/image/glance.py does; see GlanceClientWrapper."""
        client = glance_client.Client(
            session=self.session(), endpoint_override=self.proxy.endpoint)
        with open(self.path, 'rb') as image_file:
            self.assertRaises(
                (glance_exc.CommunicationError, OSError),
                client.images.upload, self.image_id, image_file, **options)
            self.await_status(self.image_id, 'queued')
            client.images.upload(self.image_id, image_file, **options)

    def test_upstream_leaves_a_truncated_image_that_is_active(self):
        """Not a wish: what this Glance takes, so that ours is a real test."""
        self.upload_as_upstream()

        found = self.direct.get(self.image_id)
        self.assertEqual('active', found.status)
        self.assertLess(found.size, glance_base.DATA_BYTES)
        self.assertNotEqual(
            hashlib.sha512(glance_base.data()).hexdigest(),
            found.hash_value)

    def test_a_declared_size_lets_glance_refuse_it(self):
        self.assertRaises(glance_exc.HTTPBadRequest, self.upload_as_upstream,
                          image_size=glance_base.DATA_BYTES)

        self.assert_nothing_stored(self.image_id)

    def test_ours_is_whole(self):
        told = []

        image = self.images.upload(
            self.image_id, self.source(),
            progress=lambda done, total: told.append(done))

        self.assertTrue(self.fault.happened.is_set())
        self.assertEqual(2, len(self.puts()))
        self.assertEqual('active', image.status)
        self.assert_whole(self.image_id)
        # It went back to the first byte in between.
        self.assertEqual(2, told.count(told[0]))
