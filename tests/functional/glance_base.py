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

"""What the tests of images share: a real Glance and a proxy before it.

It is the lab's Glance, started by the first test that needs it. libvirtd is
not: these tests have no guest.
"""

import fcntl
import functools
import hashlib
import os
import pathlib
import uuid

import fixtures
from keystoneauth1 import token_endpoint
from oslotest import base
import requests

from nova_snap.model import image as image_model
from nova_snap.services.glance import images as images_module
from nova_snap.services import sessions
from nova_snap.transfer import source as source_module
from nova_snap import units
from tests.lab import glance as glance_module
from tests.lab import place
from tests.lab import process
from tests.lab import proxy

# Far more than the buffers of two connections hold: half of it is half.
DATA_BYTES = 12 * units.MiB
HALF = DATA_BYTES // 2

# Seconds for an answer of a Glance on this machine.
TIMEOUT = 60


@functools.cache
def glance():
    """Start the lab's Glance, or find it."""
    run_dir = place.make_dir(pathlib.Path(
        os.environ.get('NOVA_SNAP_LAB_RUN') or place.default_run_dir()))
    with open(run_dir / 'start.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return glance_module.Glance(run_dir).start()


@functools.cache
def data():
    """Return bytes that are unlike any others, so no half is another."""
    return os.urandom(DATA_BYTES)


class GlanceTest(base.BaseTestCase):
    """A test on a real Glance, in a project of its own."""

    def setUp(self):
        super().setUp()
        self.glance = glance()
        self.proxy = proxy.Proxy(self.glance.endpoint)
        self.addCleanup(self.proxy.stop)
        self.project = uuid.uuid4().hex
        self.direct = self.make_images(endpoint=self.glance.endpoint)
        self.images = self.make_images()
        self.path = os.path.join(
            self.useFixture(fixtures.TempDir()).path, 'flat')
        with open(self.path, 'wb') as out:
            out.write(data())

    def session(self, *, roles='member,reader', endpoint=None,
                timeout=TIMEOUT):
        return sessions.make_session(
            token_endpoint.Token(
                endpoint or self.proxy.endpoint,
                f'ann:{self.project}:{roles}'),
            {'timeout': timeout})

    def make_images(self, *, policy=None, **session):
        return images_module.Images(self.session(**session), {}, policy=policy)

    def quick(self, **timeouts):
        """Return a policy of one attempt and few seconds."""
        return sessions.Policy(num_retries=0,
                               timeouts=sessions.Timeouts(**timeouts))

    def spec(self, **changes):
        return image_model.ImageSpec(**{
            'image_id': str(uuid.uuid4()), 'name': self.id()[-200:],
            'disk_format': 'raw', 'container_format': 'bare', 'min_disk': 1,
            'min_ram': 0, 'owner': self.project, 'visibility': 'private',
            'properties': {'instance_uuid': str(uuid.uuid4()),
                           'image_type': 'snapshot'}, **changes})

    def queued(self):
        """Make a record and return its id; it is deleted with the test."""
        spec = self.spec()
        self.direct.create(spec)
        self.addCleanup(self.direct.delete, spec.image_id)
        return spec.image_id

    def source(self, **options):
        return source_module.FileSource(self.path, **options)

    def puts(self):
        return self.proxy.requests('PUT', proxy.FILE)

    def await_status(self, image_id, status):
        """Wait as long as Glance takes to notice what happened."""
        process.wait_until(
            lambda: self.direct.get(image_id).status == status,
            timeout=TIMEOUT, what=f'image {image_id} to be {status}')

    def stored(self, image_id):
        """Return the bytes that Glance keeps for an image."""
        answer = requests.get(
            f'{self.glance.endpoint}/v2/images/{image_id}/file',
            headers={'X-Auth-Token': f'ann:{self.project}:member,reader'},
            timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content

    def assert_whole(self, image_id):
        """It is active, and Glance and we say the same of its bytes."""
        found = self.direct.get(image_id)
        self.assertEqual('active', found.status)
        self.assertEqual(DATA_BYTES, found.size)
        expected = hashlib.sha512(data()).hexdigest()
        self.assertEqual(expected, found.hash_value)
        self.assertEqual(
            expected, hashlib.sha512(self.stored(image_id)).hexdigest())

    def assert_nothing_stored(self, image_id):
        """It is not active, and its half is not kept."""
        found = self.direct.get(image_id)
        self.assertIn(found and found.status, ('queued', None))
        self.assertNotIn(image_id, [path.name for path
                                    in self.glance.data_files()])
