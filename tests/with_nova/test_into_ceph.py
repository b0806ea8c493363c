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

"""Images that nova-compute writes into Ceph, through Nova's own manager."""

from nova_snap.model import ceph as ceph_model
from tests.fakes.ceph import cluster as fake_cluster
from tests.fakes.ceph import disks as fake_disks
from tests.fakes.ceph import rbd as fake_rbd
from tests.flow import test_direct
from tests.with_nova import scene
from tests.with_nova import test_snapshot

IMAGE = scene.IMAGE


class IntoCephTest(test_snapshot.SnapshotTestCase):

    def setUp(self):
        super().setUp()
        self.fake.ceph = self.glance.ceph = fake_disks.ImagesCluster()
        self.glance.stores = [test_direct.STORE]
        self.flags(deliver='rbd', live_method='backup', group='nova_snap')
        # The fake makes no socket, and the folders of a test lie deep.
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.model.layer.LONGEST_SOCKET', 4096))
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.host.rbd.Ceph',
            lambda *where, **bounds: fake_rbd.FakeCeph(self.fake.ceph,
                                                       self.calls)))

    def assert_done(self, image_id=IMAGE):
        image = self.glance.images[image_id]
        self.assertEqual('active', image.status)
        self.assertEqual(('raw', 'bare'), (image['disk_format'],
                                           image['container_format']))
        self.assertIsNone(self.read().task_state)
        self.assert_guest_whole()
        self.assert_settled()

    def is_sent(self):
        return any(method == 'PUT' for method, _, _ in self.glance.requests)


class IntoCephTestCase(IntoCephTest):

    def test_its_data_are_written_and_the_states_are_novas(self):
        self.image_create(self.start_manager())
        self.assert_done()
        self.assertFalse(self.is_sent())
        (location,) = self.glance.images[IMAGE]['locations']
        self.assertEqual(
            f'rbd://{fake_cluster.FSID}/images/{IMAGE}/'
            f'{ceph_model.GLANCE_SNAPSHOT}', location['url'])
        self.assertEqual(
            [('image_snapshot', 'image_snapshot_pending'),
             ('image_pending_upload', 'image_snapshot'),
             *test_snapshot.UPLOADED, (None, 'image_uploading')], self.saved)

    def test_where_glance_forbids_locations_it_is_sent(self):
        self.glance.is_service = self.glance.shows_locations = False
        self.image_create(self.start_manager())
        self.assert_done()
        self.assertTrue(self.is_sent())
        self.assertEqual((), self.fake.ceph.left(()))

    def tell_stores_to(self, token):
        """Let Glance tell its stores to one user; return who asks."""
        stores, asked = self.glance.stores, []

        def tell(words):
            if words.endswith('/stores/detail'):
                _, _, headers = self.glance.requests[-1]
                asked.append(headers['X-Auth-Token'])
                self.glance.stores = stores if asked[-1] == token else None

        self.glance.then = tell
        return asked

    def test_the_pool_is_told_to_the_service_user(self):
        self.send_service_token()
        asked = self.tell_stores_to('service-token')
        self.image_create(self.start_manager())
        self.assert_done()
        self.assertFalse(self.is_sent())
        self.assertEqual(['user-token', 'service-token'], asked)

    def test_without_such_a_user_the_image_is_sent(self):
        asked = self.tell_stores_to('service-token')
        self.image_create(self.start_manager())
        self.assertEqual('active', self.glance.images[IMAGE].status)
        self.assertTrue(self.is_sent())
        self.assertEqual(['user-token'], asked)

    def test_or_the_operator_tells_it(self):
        self.flags(rbd_glance_pool='images', group='nova_snap')
        self.tell_stores_to('service-token')
        self.image_create(self.start_manager())
        self.assert_done()
        self.assertFalse(self.is_sent())
