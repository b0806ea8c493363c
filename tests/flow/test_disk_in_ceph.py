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

"""Root disks that are images in Ceph, read by way of QEMU."""

import pathlib

import ddt

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model.plan import plan as plan_model
from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class CephTest(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(in_ceph=True, driver_format='raw', layers=1)

    def plan(self, **asked):
        return snapshot.plan(self.fake.process().node,
                             flow_scene.request(**asked))


@ddt.ddt
class LiveTestCase(CephTest):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    @ddt.data('rebase', 'copy', 'backup', 'auto')
    def test_it_is_taken_by_a_backup_job_whatever_is_set(self, live_method):
        self.fake.set(live_method=live_method)
        before = self.state()
        process = self.fake.process()
        result = self.take(process)
        self.assertEqual(plan_model.Method.BACKUP, result.plan.method)
        self.assertEqual(set(), process.calls.names() & {
            'undefineFlags', 'blockRebase', 'blockCopy', 'managedSave'})
        # Its QEMU reads it: nothing on the host needs a key.
        self.assertEqual(['create scratch-vda.qcow2 -'],
                         process.calls.of('qemu-img'))
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        self.assertEqual('raw', self.image().format)
        self.assert_guest_untouched(before)

    def test_the_plan_says_why(self):
        said = self.plan().remarks
        self.assertTrue(any('in Ceph' in line and 'live_method is rebase'
                            in line for line in said), said)
        self.fake.set(live_method='backup')
        (said,) = self.plan().remarks
        self.assertIn('Ceph does not make the snapshot', said)

    def test_where_no_backup_job_can_be_it_is_taken_cold(self):
        self.fake.libvirtd.version = 7_001_000
        result = self.take()
        self.assertEqual(plan_model.Method.COLD, result.plan.method)
        self.assertTrue(any('libvirt 7.1.0 has no backup jobs' in line
                            for line in result.plan.remarks))
        # Once for the test, and once more after it was saved.
        self.assertEqual(2, self.fake.guest.starts)
        self.assert_all_or_nothing()

    def test_a_cold_one_is_read_while_the_guest_is_saved(self):
        before = self.state()
        self.fake.set(rbd_user=fake_disk_in_ceph.USER)
        process = self.fake.process()
        self.take(process, cold=True)
        self.assertEqual(
            [f'convert {fake_node.UUID}_disk:raw image-vda:raw'],
            process.calls.of('qemu-img'))
        self.assert_guest_untouched(before)
        self.assertEqual(2, self.fake.guest.starts)
        self.assert_all_or_nothing()


@ddt.ddt
class StoppedTestCase(CephTest):

    @ddt.data('file', 'stream')
    def test_it_is_read_as_it_is(self, upload):
        self.fake.set(upload=upload)
        before = self.state()
        result = self.take()
        self.assertEqual(plan_model.Method.STOPPED, result.plan.method)
        self.assertEqual(self.fake.guest.content(), self.image().clusters)
        self.assertEqual(0, self.fake.guest.starts)
        self.assert_guest_untouched(before)

    def test_started_while_it_is_read(self):
        process = self.fake.process()
        # Ceph has no lock that keeps a guest from a disk that is read.
        process.calls.then('convert', self.fake.guest.create)
        error = self.assertRaises(errors.StorageError, self.take, process)
        self.assertIn('was started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_a_guest_of_novas_is_reached_as_nova_does(self):
        fake = self.make_node(fake_node.GuestSpec(
            in_ceph=True, driver_format='raw', layers=1, nova=True))
        fake.set(rbd_user='another')
        error = self.assertRaises(
            errors.StorageError, snapshot.plan, fake.process().node,
            flow_scene.request())
        self.assertIn('error connecting: Permission denied', str(error))

    def test_a_guest_of_others_has_its_user_in_its_xml(self):
        self.fake.set(rbd_user='another')
        self.assertEqual(fake_disk_in_ceph.USER,
                         self.plan().disks[0].active_layer.ceph.user)

    def test_an_image_that_is_gone(self):
        pathlib.Path(self.fake.disks[0]).unlink()
        error = self.assertRaises(errors.StorageError, self.plan)
        self.assertIn('error reading header', str(error))
