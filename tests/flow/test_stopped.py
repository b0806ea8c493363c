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

import pathlib

import ddt

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model import consistency as consistency_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import plan as plan_model
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class StoppedTestCase(flow_scene.FlowTestCase):

    def test_nothing_is_done_to_the_guest(self):
        before = self.state()
        process = self.fake.process()

        result = self.take(process)

        self.assertEqual(
            ['journal write begin',
             'journal write CreateImage intent',
             'glance create',
             'journal write CreateImage done',
             'journal write MakeScratch intent',
             'files make_scratch',
             'journal write MakeScratch done',
             'qemu-img convert disk:qcow2 base1:raw image-vda:qcow2',
             # The room that it needs no more.
             'journal write',
             'glance upload',
             'journal write commit',
             'files remove_scratch',
             'journal write MakeScratch undone',
             'journal remove'],
            process.calls.changes())
        self.assertEqual(plan_model.Method.STOPPED, result.plan.method)
        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assertEqual('as the guest left them when it was switched off',
                         result.file_systems)
        self.assert_guest_untouched(before)
        self.assertEqual(self.fake.guest.content(), self.image().clusters)

    def test_nothing_is_started(self):
        process = self.fake.process()
        self.take(process, cold=True)
        self.assertEqual([], process.calls.of('libvirt'))
        self.assertEqual(0, self.fake.guest.starts)

    def test_guest_started_in_between(self):
        process = self.fake.process()
        process.calls.then('convert', self.fake.guest.create,
                           flow_scene.When.BEFORE)

        error = self.assertRaises(errors.StorageError, self.take, process)

        self.assertIn('lock', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())
        self.assertEqual(1, self.fake.guest.starts)

    def test_guest_started_where_no_lock_keeps_it_from_its_disk(self):
        process = self.fake.process()
        process.calls.then('convert', self.fake.guest.create)

        error = self.assertRaises(errors.StorageError, self.take, process)

        self.assertIn('started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_guest_started_and_stopped_while_its_disk_is_read(self):
        def live():
            self.fake.guest.create()
            self.fake.guest.live_on()
            self.fake.guest.flush()
            self.fake.guest.destroy()

        process = self.fake.process()
        process.calls.then('convert', live)

        error = self.assertRaises(errors.StorageError, self.take, process)

        self.assertIn('started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)


@ddt.ddt
class SuspendedTestCase(flow_scene.FlowTestCase):
    """Off with a managed-save image of another's: Nova's SUSPENDED."""

    @ddt.data(False, True)
    def test_it_is_taken_and_its_memory_stays(self, paused):
        self.fake.guest.create()
        if paused:
            self.fake.guest.suspend()
        self.fake.guest.managedSave()
        self.fake.libvirtd.moments.clear()
        before = self.state()
        process = self.fake.process()

        result = self.take(process, cold=True)

        self.assertEqual(plan_model.Method.STOPPED, result.plan.method)
        self.assertEqual('as after a power cut', result.file_systems)
        self.assertEqual([], process.calls.of('libvirt'))
        self.assertEqual(1, self.fake.guest.starts)
        self.assertIs(paused, self.fake.guest.saved)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    @ddt.data('convert', 'upload', 'make_scratch')
    def test_it_fails_and_its_memory_stays(self, call):
        self.fake.guest.create()
        self.fake.guest.managedSave()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named(call)

        self.assertRaises(errors.SnapError, self.take, process)

        self.assert_nothing_left(before)
        self.assertEqual(1, self.fake.guest.starts)

    def test_guest_started_where_no_lock_keeps_it_from_its_disk(self):
        process = self.fake.process()
        process.calls.then('convert', self.fake.guest.create)

        error = self.assertRaises(errors.StorageError, self.take, process)

        self.assertIn('started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_guest_started_and_stopped_while_its_disk_is_read(self):
        def live():
            self.fake.guest.create()
            self.fake.guest.live_on()
            self.fake.guest.flush()
            self.fake.guest.destroy()

        process = self.fake.process()
        process.calls.then('convert', live)

        error = self.assertRaises(errors.StorageError, self.take, process)

        self.assertIn('started while its disk was read', str(error))
        self.assertEqual({}, self.fake.glance.stored)


@ddt.ddt
class ChainTestCase(flow_scene.FlowTestCase):

    def test_raw_disk(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            driver_format='raw', layers=1))
        process = self.fake.process()
        self.take(process)
        self.assertEqual(['convert disk:raw image-vda:raw'],
                         process.calls.of('qemu-img'))
        self.assert_all_or_nothing()

    def test_disk_that_has_lost_its_end(self):
        top = fake_disk.DiskFile.load(self.fake.disks[0])
        top.is_cut_short = True
        top.save(self.fake.disks[0])
        before = self.state()
        node = self.fake.process().node
        for act in self.take, lambda: snapshot.dry_run(
                node, flow_scene.request()):
            error = self.assertRaises(errors.Unsupported, act)
            self.assertIn(f'{self.fake.disks[0]} ends before data',
                          str(error))
            self.assert_nothing_left(before)

    def test_disk_that_cannot_be_checked_is_taken(self):
        process = self.fake.process()
        process.calls.fail_named('check')
        self.take(process)
        self.assert_all_or_nothing()

    @ddt.data(False, True)
    def test_raw_disk_that_begins_as_a_qcow2_does(self, runs):
        self.fake = self.make_node(fake_node.GuestSpec(
            driver_format='raw', layers=1))
        file = fake_disk.DiskFile.load(self.fake.disks[0])
        file.format = 'qcow2'
        file.save(self.fake.disks[0])
        if runs:
            self.fake.guest.create()
        [remark] = self.take().plan.remarks
        self.assertIn('disk vda begins as a qcow2 file does, but is raw in '
                      'its XML', remark)
        self.assertEqual('raw', self.image().format)

    @ddt.data(False, True)
    def test_disk_of_no_size(self, runs):
        top = fake_disk.DiskFile.load(self.fake.disks[0])
        top.virtual_size = 0
        top.save(self.fake.disks[0])
        if runs:
            self.fake.guest.create()
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn('its root disk vda has a size of 0 bytes', str(error))
        self.assert_nothing_left(before)

    def test_layer_whose_format_is_unknown(self):
        top = fake_disk.DiskFile.load(self.fake.disks[0])
        top.backing_format = None
        top.save(self.fake.disks[0])
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn('not named', str(error))
        self.assert_nothing_left(before)

    def test_layer_on_a_block_device(self):
        # As Nova has none, and others do.
        self.fake.block_devices.add(self.fake.disks[1])
        before = self.state()
        result = self.take()
        self.assertEqual(
            [layer_model.Storage.FILE, layer_model.Storage.BLOCK],
            [layer.storage for layer
                                         in result.plan.disks[0].chain])
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    @ddt.data((False, 'nbd://host/base'), (True, 'nbd://host/base'),
              (False, 'json:{"driver": "raw", "file": {"driver": "file"}}'),
              (False, 'file:/base'))
    @ddt.unpack
    def test_layer_that_is_no_path(self, runs, name):
        fake_disk.rebase(self.fake.disks[0], name, 'qcow2')
        if runs:
            self.fake.guest.create()
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take)
        for words in (name, 'network address', '"json:"',
                      'only files and block devices of this host'):
            self.assertIn(words, str(error))
        self.assert_nothing_left(before)

    @ddt.data('a:b', 'json:')
    def test_name_that_only_looks_like_an_address(self, name):
        # qemu-img tells the full name, which begins with a slash.
        base = self.fake.folder / name
        pathlib.Path(self.fake.disks[1]).rename(base)
        fake_disk.rebase(self.fake.disks[0], str(base), 'raw')
        self.take()
        self.assert_all_or_nothing()

    def test_a_chain_that_is_a_circle_is_refused(self):
        base = fake_disk.DiskFile.load(self.fake.disks[1])
        base.format = 'qcow2'
        base.backing, base.backing_format = self.fake.disks[0], 'qcow2'
        base.save(self.fake.disks[1])
        top = fake_disk.DiskFile.load(self.fake.disks[0])
        top.backing_format = 'qcow2'
        top.save(self.fake.disks[0])
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn('circle', str(error))

    def test_layer_that_keeps_its_data_elsewhere(self):
        top = fake_disk.DiskFile.load(self.fake.disks[0])
        top.data_file = '/etc/shadow'
        top.save(self.fake.disks[0])
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn('/etc/shadow', str(error))
        self.assert_nothing_left(before)

    def test_disk_that_is_not_there(self):
        pathlib.Path(self.fake.disks[0]).unlink()
        self.assertRaises(errors.SnapError, self.take)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())
