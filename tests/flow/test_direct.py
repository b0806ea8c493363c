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

"""Snapshots that Ceph makes of a root disk in Ceph."""

import hashlib

import ddt
from lxml import etree

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap.model import consistency as consistency_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import cluster as fake_cluster
from tests.fakes.ceph import disks as fake_disks
from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

SNAPSHOT_SECONDS = rbd_module.SNAPSHOT_SECONDS
IN_CEPH = fake_node.GuestSpec(in_ceph=True, driver_format='raw', layers=1)
STORE = {'id': 'ceph', 'type': 'rbd', 'default': 'true', 'properties': {
    'pool': fake_disks.IMAGES, 'fsid': fake_cluster.FSID}}
FILES = {'id': 'file', 'type': 'file', 'properties': {}}


class DirectTest(flow_scene.FlowTestCase):
    """A guest on a Ceph that Glance is on, too."""

    spec = IN_CEPH

    def make_node(self, spec):
        fake = super().make_node(spec)
        fake.ceph.has_bindings = True
        fake.glance.stores = [STORE, FILES]
        fake.set(rbd_user=fake_disk_in_ceph.USER)
        return fake

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    def plan(self, **asked):
        return snapshot.plan(self.fake.process().node,
                             flow_scene.request(**asked))

    def stored(self):
        (stored,) = self.fake.glance.stored.values()
        return stored

    def assert_direct(self, process=None, **asked):
        """Take it, and assert that no data have crossed the node."""
        before = self.state()
        process = process or self.fake.process()
        result = self.take(process, **asked)
        self.assertEqual(plan_model.Method.DIRECT, result.plan.method)
        self.assertNotIn('upload', process.calls.names())
        self.assertEqual([], process.calls.of('qemu-nbd'))
        self.assert_whole(before)
        (location,) = self.stored()['locations']
        self.assertEqual(
            f'rbd://{fake_cluster.FSID}/images/{flow_scene.IMAGE}/snap',
            location['url'])
        return result

    def assert_whole(self, before):
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        self.assertEqual(('raw', 'bare'), (
            self.stored()['disk_format'], self.stored()['container_format']))
        self.assertEqual([], self.records())
        self.assert_all_or_nothing()
        self.assert_guest_untouched(before)


@ddt.ddt
class LiveTestCase(DirectTest):

    @ddt.data('rebase', 'copy', 'backup', 'auto')
    def test_ceph_makes_it_whatever_is_set(self, live_method):
        self.fake.set(live_method=live_method)

        self.assert_direct()

        self.assertEqual(1, self.fake.guest.starts)

    @ddt.data(1, 2)
    def test_its_steps_are_these(self, version):
        self.fake.ceph.version = version
        process = self.fake.process()

        self.assert_direct(process)

        disk = f'vms/{fake_node.UUID}_disk'
        clone = f'images/{flow_scene.IMAGE}'
        mine = f'{disk}@nova_snap-{flow_scene.IMAGE}'
        self.assertEqual(
            [f'snapshot {mine}', f'protect {mine}', f'clone {mine}',
             f'have a manager flatten {clone}', f'flatten {clone}',
             f'snapshot {clone}@snap',
             f'protect {clone}@snap', f'remove {mine}'],
            process.calls.of('ceph'))

    def test_the_guest_is_frozen_for_the_snapshot_alone(self):
        process = self.fake.process()

        result = self.assert_direct(process, quiesce='want')

        names = [call.name for call in process.calls.made]
        self.assertLess(names.index('fsFreeze'), names.index('snapshot'))
        self.assertLess(names.index('snapshot'), names.index('fsThaw'))
        self.assertLess(names.index('fsThaw'), names.index('protect'))
        self.assertEqual(consistency_model.FROZEN, result.consistency)

    def slow(self):
        """Return a process for which Ceph is slow to make the snapshot."""
        process = self.fake.process()
        process.calls.then(
            'snapshot', lambda: self.fake.clock.sleep(2 * SNAPSHOT_SECONDS))
        return process

    def test_a_guest_is_thawed_while_ceph_is_slow(self):
        thawed = []
        self.fake.clock.after(SNAPSHOT_SECONDS + 1, lambda: thawed.append(
            not self.fake.guest.agent.frozen))

        result = self.assert_direct(self.slow(), quiesce='want')

        self.assertEqual([True], thawed)
        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)

    def test_it_is_no_snapshot_where_it_has_to_be_frozen(self):
        before = self.state()

        error = self.assertRaises(errors.QuiesceFailed, self.take,
                                  self.slow(), quiesce='require')

        self.assertIn('Ceph has not made its snapshot', str(error))
        self.assert_nothing_left(before)

    def test_a_guest_that_is_off_is_taken_so_too(self):
        self.fake.power_off_guest()

        result = self.assert_direct_off()

        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)

    def assert_direct_off(self):
        process = self.fake.process()
        result = self.take(process)
        self.assertEqual(plan_model.Method.DIRECT, result.plan.method)
        self.assertNotIn('upload', process.calls.names())
        self.assert_all_or_nothing()
        return result

    def test_how_far_it_is_is_said_in_bytes(self):
        said = []
        self.assert_direct(self.fake.process(fake_node.Listener(said)))
        done = [done for phase, done, total in said
                if phase == 'flatten' and total == fake_node.DISK_BYTES]
        self.assertEqual(fake_cluster.OBJECTS, len(done))
        self.assertLess(fake_cluster.OBJECTS, done[-1])

    def test_a_cancelled_flatten_leaves_nothing(self):
        before = self.state()
        process = self.fake.process(Cancels('flatten'))

        self.assertRaises(errors.Cancelled, self.take, process)

        self.assert_nothing_left(before)

    def test_a_flatten_that_takes_too_long_is_given_up(self):
        before = self.state()
        self.fake.set(ready_timeout=1)
        process = self.fake.process(Sleeps(self.fake.clock))

        error = self.assertRaises(errors.StorageError, self.take, process)

        self.assertIn('ready_timeout', str(error))
        self.assert_nothing_left(before)

    def test_cold_is_cold(self):
        self.assertEqual(plan_model.Method.COLD, self.plan(cold=True).method)

    @ddt.data('qcow2', 'vmdk')
    def test_another_format_is_read_from_the_snapshot(self, image_format):
        before = self.state()

        result = self.take(image_format=image_format)

        self.assertEqual(plan_model.Method.DIRECT, result.plan.method)
        self.assertEqual(image_format, self.image().format)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()


class Cancels(fake_node.Listener):
    """Ends an operation in a phase."""

    def __init__(self, phase):
        super().__init__([])
        self._cancelled = phase

    def advances(self, done, total):
        if self._phase == self._cancelled and done:
            raise errors.Cancelled(reason='Ctrl-C')


class Sleeps(fake_node.Listener):
    """Lets time pass."""

    def __init__(self, clock):
        super().__init__([])
        self._clock = clock

    def advances(self, done, total):
        self._clock.sleep(1)


@ddt.ddt
class HashTestCase(DirectTest):

    def sha512(self):
        return hashlib.sha512(self.stored().data.ljust(
            fake_node.DISK_BYTES, b'\0')).hexdigest()

    def test_glance_hashes_by_its_new_api(self):
        process = self.fake.process()
        self.assert_direct(process)
        self.assertNotIn('hash', process.calls.names())
        self.assertIsNotNone(self.stored()['os_hash_value'])

    def test_bug_u5_by_the_old_api_it_has_a_hash_too(self):
        self.fake.glance.has_location_api = False
        self.assert_direct()
        self.assertEqual(self.sha512(), self.stored()['os_hash_value'])

    def test_the_host_hashes_where_that_is_set(self):
        self.fake.set(location_hash='host')
        self.assert_direct()
        self.assertEqual(self.sha512(), self.stored()['os_hash_value'])

    def test_there_is_none_where_that_is_set(self):
        self.fake.glance.has_location_api = False
        self.fake.set(location_hash='glance')
        process = self.fake.process()
        self.assert_direct(process)
        self.assertNotIn('hash', process.calls.names())
        self.assertIsNone(self.stored()['os_hash_value'])


@ddt.ddt
class FallbackTestCase(DirectTest):

    def assert_read(self, process=None, **asked):
        """Take it; the guest runs on, and what was held is read."""
        before = self.state()
        process = process or self.fake.process()
        result = self.take(process, **asked)
        self.assertEqual(plan_model.Method.DIRECT, result.plan.method)
        self.assertEqual(1, len(process.calls.of('qemu-nbd')))
        self.assertEqual(1, self.fake.guest.starts)
        self.assert_whole(before)
        self.assertNotIn('locations', self.stored())
        return process

    def test_bug_u6_where_glance_forbids_locations_it_is_read(self):
        self.fake.glance.is_service = False
        self.fake.glance.shows_locations = False

        process = self.assert_read()

        # It was asked before the guest was touched.
        self.assertNotIn('clone', process.calls.names())

    def test_bug_u6_where_glance_forbids_it_after_the_clone(self):
        process = self.fake.process()
        process.calls.then('flatten', self._forbid)

        self.assert_read(process)

        self.assertIn('clone', process.calls.names())

    def _forbid(self):
        self.fake.glance.is_service = False

    def test_bug_p6_a_guest_is_never_started_twice(self):
        self.fake.glance.is_service = False
        self.fake.glance.shows_locations = False
        self.fake.set(disable_libvirt_livesnapshot=True)

        process = self.assert_read()

        self.assertNotIn('managedSave', process.calls.names())
        self.assertEqual(1, self.fake.guest.starts)

    def test_where_glance_is_not_on_ceph_it_is_read(self):
        self.fake.glance.stores = [{**FILES, 'default': 'true'}]
        self.assert_read()

    def test_where_glance_is_in_another_cluster_it_is_read(self):
        self.fake.glance.stores = [{**STORE, 'properties': {
            'pool': 'images', 'fsid': 'another'}}]
        self.assert_read()

    def test_where_the_pool_cannot_be_written_it_is_read(self):
        self.fake.ceph.read_only = {fake_disks.IMAGES}
        made = self.plan()
        self.assertIn('profile rbd pool=images', '\n'.join(made.sentences()))
        self.assert_read()

    def test_where_the_disk_cannot_be_held_a_backup_job_reads_it(self):
        self.fake.ceph.read_only = {'vms'}
        made = self.plan()
        self.assertEqual(plan_model.Method.BACKUP, made.method)
        self.assertIn('profile rbd pool=vms', '\n'.join(made.remarks))

    def test_what_is_not_read_is_refused_before_ceph_is_asked(self):
        guest = self.fake.guest
        tree = etree.fromstring(guest.live)
        del tree.find('./devices/disk/driver').attrib['type']
        guest.live = etree.tostring(tree, encoding='unicode')
        self.fake.ceph.is_down = True
        error = self.assertRaises(errors.Unsupported, self.plan)
        self.assertIn('a format that is not named', str(error))

    def test_without_bindings_a_backup_job_reads_it(self):
        self.fake.ceph.has_bindings = False
        self.assertEqual(plan_model.Method.BACKUP, self.plan().method)

    def test_where_no_monitor_answers_that_is_said(self):
        before = self.state()
        self.fake.ceph.is_down = True
        error = self.assertRaises(ceph_model.Unavailable, self.take)
        self.assertIn('no monitor answers', str(error))
        self.assert_nothing_left(before)


@ddt.ddt
class PoolTestCase(DirectTest):

    def pool(self):
        return self.plan().in_ceph.pool

    def test_glance_tells_it(self):
        self.fake.glance.stores = [{**STORE, 'properties': {
            **STORE['properties'], 'pool': 'others'}}]
        self.fake.ceph.pools['others'] = {}
        self.assertEqual('others', self.pool())

    def test_bug_u7_the_operator_tells_it_where_the_parent_is_gone(self):
        self.fake.glance.stores = None
        self.assertIsNone(self.pool())
        self.fake.set(rbd_glance_pool='images')
        self.assertEqual('images', self.pool())

    def test_the_parent_tells_it(self):
        self.fake.glance.stores = None
        self.fake.ceph.disk.parent = ceph_model.Name('images', 'base', 'snap')
        self.assertEqual('images', self.pool())

    @ddt.data('nowhere', 'vms')
    def test_a_wrong_one_is_an_error(self, pool):
        self.fake.set(rbd_glance_pool=pool)
        before = self.state()
        error = self.assertRaises(errors.ConfigError, self.take)
        self.assertIn('but in images', str(error))
        self.assert_nothing_left(before)

    def test_one_that_is_nowhere_is_an_error(self):
        self.fake.glance.stores = None
        self.fake.set(rbd_glance_pool='nowhere')
        error = self.assertRaises(errors.ConfigError, self.plan)
        self.assertIn('[nova_snap]rbd_glance_pool', str(error))
        self.assertIn('pool nowhere', str(error))

    def test_of_several_stores_it_is_that_of_the_image(self):
        second = {'id': 'second', 'type': 'rbd', 'properties': {
            **STORE['properties'], 'pool': 'second'}}
        self.fake.ceph.pools['second'] = {}
        self.fake.glance.stores = [STORE, second]
        self.assertEqual('images', self.pool())
        self.fake.ceph.disk.parent = ceph_model.Name('second', 'base', 'snap')
        self.assertEqual('second', self.pool())
        self.fake.set(images_rbd_glance_store_name='ceph')
        self.assertEqual('images', self.pool())
        self.fake.set(images_rbd_glance_store_name='third')
        error = self.assertRaises(errors.ConfigError, self.plan)
        self.assertIn('images_rbd_glance_store_name', str(error))


class NovasTestCase(DirectTest):
    """An image that nova-api has made."""

    def test_it_is_filled(self):
        self.fake.glance.add(flow_scene.IMAGE, disk_format='raw',
                             container_format='bare')
        self.assert_direct(made_by=request_model.Party.NOVA)

    def test_killed_before_it_is_filled_it_goes(self):
        self.fake.glance.add(flow_scene.IMAGE, disk_format='raw',
                             container_format='bare')
        before = self.state()
        self.die('flatten', made_by=request_model.Party.NOVA)

        self.recover()

        self.assert_nothing_left(before)

    def test_killed_after_it_is_filled_it_stays_whole(self):
        self.fake.glance.add(flow_scene.IMAGE, disk_format='raw',
                             container_format='bare')
        before = self.state()
        self.die('add_location', made_by=request_model.Party.NOVA)

        self.recover()

        self.assert_whole(before)

    def test_without_glance_the_guests_own_snapshot_goes(self):
        """At the start of nova-compute it is not asked."""
        self.fake.glance.add(flow_scene.IMAGE)
        self.fake.ceph.version = 1
        self.die('clone', made_by=request_model.Party.NOVA)

        self.recover(artifacts=False)

        self.assertEqual((), self.fake.ceph.left(()))


class DeadTestCase(DirectTest):

    def test_bug_image_has_children(self):
        """A clone that is not flattened keeps its parent, and the disk."""
        before = self.state()
        for version in (1, 2):
            self.fake.ceph.version = version
            self.die('clone')
            self.recover()
            self.assert_nothing_left(before)
        self.fake.ceph.remove(ceph_model.Name('vms',
                                              f'{fake_node.UUID}_disk'))

    def test_an_image_that_a_dead_client_has_open_is_waited_for(self):
        before = self.state()
        self.die('flatten', fake_calls.When.DURING)
        (clone,) = self.fake.ceph.pools['images'].values()
        clone.is_open = True
        self.fake.clock.after(30, lambda: setattr(clone, 'is_open', False))

        self.recover()

        self.assert_nothing_left(before)

    def test_the_image_can_be_deleted_and_the_instance_lives(self):
        before = self.state()
        self.assert_direct()
        self.fake.glance.delete(flow_scene.IMAGE)
        self.assert_nothing_left(before)
