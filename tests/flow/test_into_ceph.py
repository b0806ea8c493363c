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

"""Images of local disks that are written into Ceph."""

import hashlib

import ddt
import fixtures

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model import ceph as ceph_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.transfer import disk as disk_module
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import cluster as fake_cluster
from tests.fakes.ceph import disks as fake_disks
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.flow import test_direct

Method = plan_model.Method
WRITTEN = f'images/{flow_scene.IMAGE}'


def into_ceph(fake):
    """Give a node a Glance whose images lie in Ceph."""
    fake.ceph = fake.glance.ceph = fake_disks.ImagesCluster()
    fake.glance.stores = [test_direct.STORE]
    fake.set(deliver='rbd', live_method='backup')
    return fake


class IntoCephTest(flow_scene.FlowTestCase):

    def make_node(self, spec):
        return into_ceph(super().make_node(spec))

    def plan(self, **asked):
        return snapshot.plan(self.fake.process().node,
                             flow_scene.request(**asked))

    def assert_written(self, process=None, **asked):
        before = self.state()
        process = process or self.fake.process()
        result = self.take(process, **asked)
        self.assertNotIn('upload', process.calls.names())
        for image in result.images:
            stored = self.fake.glance.stored[image.image_id]
            self.assertEqual(('active', 'raw'), (stored.status,
                                                 stored['disk_format']))
            url = (f'rbd://{fake_cluster.FSID}/images/{image.image_id}/'
                   f'{ceph_model.GLANCE_SNAPSHOT}')
            (location,) = stored['locations']
            self.assertEqual(url, location['url'])
            data, _ = self.fake.ceph.content(url)
            self.assertEqual(hashlib.sha512(data).hexdigest(),
                             stored['os_hash_value'])
        self.assertEqual(
            (), self.fake.ceph.left([one.image_id for one in result.images]))
        self.assertEqual([], self.records())
        self.assert_all_or_nothing()
        self.assert_guest_untouched(before)
        return result

    def assert_uploaded(self, process=None, **asked):
        process = process or self.fake.process()
        result = self.take(process, **asked)
        self.assertIn('upload', process.calls.names())
        self.assertEqual((), self.fake.ceph.left(()))
        self.assert_all_or_nothing()
        return result


@ddt.ddt
class MethodsTestCase(IntoCephTest):

    @ddt.data(
        ({'live_method': 'backup'}, {}, Method.BACKUP),
        ({'live_method': 'rebase'}, {}, Method.LIVE),
        ({}, {'cold': True}, Method.COLD))
    @ddt.unpack
    def test_a_guest_that_runs(self, options, asked, method):
        self.fake.guest.create()
        self.fake.set(**options)
        result = self.assert_written(**asked)
        self.assertEqual(method, result.plan.method)

    def test_a_guest_that_is_off(self):
        process = self.fake.process()
        result = self.assert_written(process)
        self.assertEqual(Method.STOPPED, result.plan.method)
        self.assertNotIn('convert', process.calls.names())

    def test_a_cold_one_whose_disk_can_be_cloned(self):
        self.fake.has_clones = True
        self.fake.guest.create()
        process = self.fake.process()
        self.assert_written(process, cold=True)
        self.assertNotIn('convert', process.calls.names())

    def test_its_steps_are_these(self):
        self.fake.guest.create()
        process = self.fake.process()
        self.assert_written(process)
        self.assertEqual(
            [f'create {WRITTEN}', f'fill {WRITTEN}',
             f'snapshot {WRITTEN}@snap', f'protect {WRITTEN}@snap'],
            process.calls.of('ceph'))

    @ddt.data(('auto', False), ('host', True))
    @ddt.unpack
    def test_its_hash_comes_from_here_where_glance_has_none(self, wanted,
                                                            is_new):
        self.fake.set(location_hash=wanted)
        self.fake.glance.has_location_api = is_new
        read = self.useFixture(fixtures.MockPatchObject(
            disk_module.DiskSource, 'open', autospec=True,
            side_effect=disk_module.DiskSource.open)).mock
        self.assert_written()
        self.assertEqual(1, read.call_count)

    def test_else_the_disk_is_not_hashed(self):
        read = self.useFixture(fixtures.MockPatchObject(
            disk_module.DiskSource, 'open')).mock
        self.assert_written()
        read.assert_not_called()

    def test_all_disks(self):
        self.fake = self.make_node(fake_node.GuestSpec(second=True))
        self.fake.guest.create()
        result = self.assert_written(
            set_id='5e7a0000-0000-4000-8000-000000000000')
        self.assertEqual(2, len(result.images))


@ddt.ddt
class PlanTestCase(IntoCephTest):

    def test_it_says_where_the_image_goes(self):
        said = self.plan().sentences()
        self.assertTrue(any('writes it into pool images of Ceph' in line
                            for line in said), said)

    def test_another_format_is_uploaded(self):
        self.assertTrue(any('in Ceph they are raw' in remark for remark in
                            self.plan(image_format='qcow2').remarks))
        self.assert_uploaded(image_format='qcow2')
        self.assertEqual('qcow2', self.image().format)

    @ddt.data(
        ('no bindings', lambda fake: setattr(
            fake.ceph, 'has_bindings', False)),
        ('no monitor answers', lambda fake: setattr(
            fake.ceph, 'is_down', True)),
        ('profile rbd pool=images', lambda fake: fake.ceph.read_only.add(
            fake_disks.IMAGES)),
        ('no default store', lambda fake: setattr(
            fake.glance, 'stores', [test_direct.FILES])))
    @ddt.unpack
    def test_where_it_cannot_be_it_is_uploaded(self, why, happens):
        happens(self.fake)
        self.assertTrue(any(why in remark for remark in self.plan().remarks),
                        self.plan().remarks)
        self.assert_uploaded()

    def test_a_pool_that_was_named_and_cannot_be_written_is_an_error(self):
        self.fake.set(rbd_glance_pool='images')
        self.fake.ceph.read_only.add(fake_disks.IMAGES)
        error = self.assertRaises(errors.ConfigError, self.plan)
        self.assertIn('[nova_snap]rbd_glance_pool', str(error))

    def test_a_glance_that_takes_no_locations_is_sent_the_image(self):
        self.fake.glance.is_service = False
        self.fake.glance.shows_locations = False
        self.fake.guest.create()
        self.assert_uploaded()

    def test_by_default_nothing_of_ceph_is_asked(self):
        self.fake.set(deliver='glance')
        self.fake.ceph.is_down = True
        self.assertEqual((), self.plan().remarks)
        process = self.fake.process()
        self.assert_uploaded(process)
        self.assertEqual([], process.calls.of('ceph'))


class FailedTestCase(IntoCephTest):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    def assert_fails(self, error, process):
        before = self.state()
        failure = self.assertRaises(error, self.take, process)
        self.assert_nothing_left(before)
        self.assertEqual((), self.fake.ceph.left(()))
        return failure

    def test_ceph_that_gets_full(self):
        process = self.fake.process()
        process.calls.then('fill', lambda: setattr(
            self.fake.ceph, 'is_full', True), fake_calls.When.BEFORE)
        # What is full lets images be removed.
        process.calls.then('remove', lambda: setattr(
            self.fake.ceph, 'is_full', False), fake_calls.When.BEFORE)
        error = self.assert_fails(ceph_model.Full, process)
        self.assertIn('it is full', str(error))

    def forbid(self):
        self.fake.glance.is_service = False
        self.fake.glance.shows_locations = False

    def test_a_location_that_is_forbidden_in_the_end(self):
        process = self.fake.process()
        process.calls.then('fill', self.forbid)
        self.assert_uploaded(process)

    def test_what_is_not_removed_then_is_not_forgotten(self):
        """What is sent would get its name, and no record would tell of it."""
        process = self.fake.process()
        process.calls.then('fill', self.forbid)
        process.calls.fail_named('remove image')
        error = self.assert_fails(errors.UndoFailed, process)
        self.assertIn('MakeData could not be undone', str(error))

    def test_a_glance_that_is_down_between_data_and_location(self):
        process = self.fake.process()
        process.calls.fail_named('add_location')
        self.assert_fails(errors.SnapError, process)

    def test_a_guest_that_was_started_while_its_disk_was_read(self):
        self.fake.power_off_guest()
        process = self.fake.process()
        process.calls.then('fill', self.fake.guest.create)
        error = self.assertRaises(errors.StorageError, self.take, process)
        self.assertIn('started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual((), self.fake.ceph.left(()))
        self.assertEqual([], self.records())

    def test_a_raw_disk_that_begins_as_a_qcow2_does(self):
        """Glance does not look into data that it finds."""
        self.fake = self.make_node(fake_node.GuestSpec(
            driver_format='raw', layers=1))
        file = fake_disk.DiskFile.load(self.fake.disks[0])
        file.format = 'qcow2'
        file.save(self.fake.disks[0])
        self.assert_written()
