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

"""Root disks in Ceph, through Nova's own manager."""

import ddt
from nova import exception

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model import consistency as consistency_model
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import rbd as fake_rbd
from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.flow import test_direct
from tests.with_nova import scene
from tests.with_nova import test_snapshot

IMAGE = scene.IMAGE


@ddt.ddt
class DirectTestCase(test_snapshot.SnapshotTestCase):

    spec = fake_node.GuestSpec(nova=True, in_ceph=True, driver_format='raw',
                               layers=1)

    def setUp(self):
        super().setUp()
        self.fake.ceph.has_bindings = True
        self.glance.ceph = self.fake.ceph
        self.glance.stores = [test_direct.STORE]
        self.flags(images_type='rbd', images_rbd_pool='vms',
                   rbd_user=fake_disk_in_ceph.USER, group='libvirt')
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.host.rbd.Ceph',
            lambda *where, **bounds: fake_rbd.FakeCeph(self.fake.ceph,
                                                       self.calls)))
        # Nova asks for its bindings when it starts.
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.storage.rbd_utils.RBDDriver._check_for_import_failure',
            lambda driver: None))

    def image(self):
        return self.glance.images[IMAGE]

    def assert_whole(self):
        self.assertEqual('active', self.image().status)
        self.assertEqual('raw', self.image()['disk_format'])
        self.assertEqual('bare', self.image()['container_format'])
        self.assertIsNone(self.read().task_state)
        self.assertEqual((), self.fake.ceph.left({IMAGE}))
        self.assert_guest_whole()
        self.assert_settled()

    def is_sent(self):
        return any(method == 'PUT' for method, _, _ in self.glance.requests)

    def test_no_data_cross_the_host_and_the_states_are_novas(self):
        self.image_create(self.start_manager())

        self.assert_whole()
        self.assertFalse(self.is_sent())
        self.assertEqual(
            [('image_snapshot', 'image_snapshot_pending'),
             ('image_pending_upload', 'image_snapshot'),
             *test_snapshot.UPLOADED, (None, 'image_uploading')], self.saved)
        self.assertEqual(1, self.guest.starts)
        self.assertEqual(consistency_model.FROZEN, consistency_model.said(
            IMAGE, self.image().properties))

    def test_shelved_it_is_taken_off(self):
        self.shelve(self.start_manager())

        self.assertEqual('active', self.image().status)
        self.assertEqual('shelved', self.read().vm_state)
        self.assertFalse(self.is_sent())

    @ddt.data(False, True)
    def test_bug_u6_p6_where_glance_forbids_locations(self, is_late):
        """It is read and sent, and the guest is started by no one."""
        if is_late:
            self.calls.then('flatten', self._forbid)
        else:
            self._forbid()

        self.image_create(self.start_manager())

        self.assert_whole()
        self.assertTrue(self.is_sent())
        self.assertEqual(1, self.guest.starts)

    def _forbid(self):
        self.glance.is_service = self.glance.shows_locations = False

    def test_with_a_pool_that_is_none_the_guest_is_not_touched(self):
        self.flags(rbd_glance_pool='nowhere', group='nova_snap')

        self.assertRaises(exception.NovaException, self.image_create,
                          self.start_manager())

        self.assertEqual([], self.calls.of('ceph'))
        self.assert_guest_whole()

    def test_what_a_dead_process_left_is_settled_while_ceph_is_down(self):
        self.die_before_the_flatten()
        self.fake.ceph.is_down = True

        driver = self.start_driver()
        driver.init_host(scene.HOST)
        self.assertEqual(1, len(self.records()))
        self.fake.ceph.is_down = False
        driver._recovery.guests()

        self.assertEqual({}, dict(self.fake.ceph.disk.snapshots))
        self.assertEqual({}, self.fake.ceph.pools['images'])

    def die_before_the_flatten(self):
        """Leave a snapshot and a clone, as a process that was killed."""
        self.fake.glance.stores = [test_direct.STORE]
        process = self.fake.process()
        process.calls.kill_named('flatten', fake_calls.When.BEFORE)
        try:
            snapshot.take(process.node, flow_scene.request())
        except (fake_calls.Killed, errors.SnapError):
            pass
        self.assertTrue(process.calls.is_dead)
