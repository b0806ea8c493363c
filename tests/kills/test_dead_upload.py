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

"""A worker of Glance is killed while it takes an image."""

import dataclasses
import json
import time

from nova_snap.model import consistency as consistency_model
from nova_snap import units
from tests.functional import base
from tests.lab import glance as glance_module
from tests.lab import place
from tests.lab import process
from tests.lab import proxy

# Of the wait for Glance, its worker's return and the command's own time: less
# than what an image is given that no other can take the place of.
PATIENCE = 120


class DeadUploadTestCase(base.FunctionalTest):
    """On a Glance of its own, which no other test is asking."""

    def setUp(self):
        super().setUp()
        glance = glance_module.Glance(place.make_dir(self.folder / 'own'))
        self.addCleanup(glance.stop)
        self.lab = dataclasses.replace(self.lab, glance=glance.start())
        self._images_before = set()
        self.between = proxy.Proxy(glance.endpoint)
        self.addCleanup(self.between.stop)
        self.options['nova_snap']['endpoint'] = self.between.endpoint
        self.off = self.guest(boot=False).define()
        self.before = base.look(self.off)
        self.fault = self.between.inject(proxy.Fault(
            'PUT', proxy.FILE, call=self._kill_worker,
            call_after=units.MiB))

    def _kill_worker(self):
        """Kill it when it has the image in its hands."""
        process.wait_until(
            lambda: 'saving' in [image['status']
                                 for image in self.images().values()],
            timeout=PATIENCE, what='the image to be saving')
        self.lab.glance.kill_worker()

    def _delete_images(self):
        """Do nothing: they go with their Glance."""

    def test_it_is_sent_again_as_another_image(self):
        began = time.monotonic()
        done = self.nova_snap('image-create', self.off.spec.name, 'nightly',
                              '--json')
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertTrue(self.fault.happened.is_set())
        self.assertLess(time.monotonic() - began, PATIENCE)
        (image,) = json.loads(done.stdout)['images']
        first, second = self.between.requests('PUT', proxy.FILE)
        self.assertNotIn(image['image_id'], first.path)
        self.assertIn(image['image_id'], second.path)
        for words in ('waiting until', 'stays saving', 'It is deleted',
                      image['image_id']):
            self.assertIn(words, done.stderr)
        self.assertEqual(
            consistency_model.NOT_FROZEN,
            consistency_model.said(image['image_id'],
                                   self.image(image['image_id'])))
        self.assert_nothing_left(image['image_id'])
        self.assert_guest_untouched(self.off, self.before)
