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

"""Another client changes the root disk's chain while a snapshot is prepared.

The image would lack a layer, or have one that is not the guest's any more.
"""

import pathlib

import ddt
import fixtures
import libvirt

from nova_snap import errors
from nova_snap.flows import snapshot
from tests.fakes import disk as fake_disk
from tests.fakes import files as fake_files
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

# The plan is made, and the guest was not touched yet.
PREPARED = 'make_scratch'

SNAPSHOT = ("<domainsnapshot><disks><disk name='vda' snapshot='external'>"
            '<source file="{}"/></disk></disks></domainsnapshot>')
DISK_ONLY = (libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
             | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA)


class ChangedTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(layers=3)

    def take_snapshot(self):
        """Put an overlay over the disk, as "virsh snapshot-create-as"."""
        self.fake.guest.snapshotCreateXML(
            SNAPSHOT.format(self.fake.folder / 'overlay'), DISK_ONLY)

    def commit_below(self):
        """Merge the middle layer into the base: "virsh blockcommit"."""
        _, middle, base = self.fake.disks
        self.fake.guest.blockCommit('vda', base, middle)

    def rebase_below(self):
        """Do the same to a guest that is off, with qemu-img."""
        top, middle, base = self.fake.disks
        fake_disk.commit(middle, base)
        fake_disk.rebase(top, base, 'raw')

    def fail(self, act, words='was changed', **asked):
        """Change the chain under a snapshot, which must not go on."""
        process = self.fake.process()
        states = []

        def change():
            act()
            states.append(self.state())

        process.calls.then(PREPARED, change, flow_scene.When.BEFORE)
        error = self.assertRaises(errors.StorageError, self.take, process,
                                  **asked)
        (before,) = states
        self.assertIn(words, str(error))
        self.assertNotIn('convert', process.calls.names())
        self.assert_nothing_left(before)


def replace(path):
    """Put another file in the place of one, with the same content."""
    other = pathlib.Path(f'{path}.other')
    other.write_bytes(pathlib.Path(path).read_bytes())
    other.rename(path)


class ReplacedTestCase(ChangedTestCase):

    def replace_base(self):
        replace(self.fake.disks[-1])

    def test_a_base_that_was_replaced_since_the_guest_started(self):
        self.fake.guest.create()
        self.replace_base()
        before = self.state()
        for asked in {}, {'cold': True}:
            error = self.assertRaises(errors.Unsupported, self.take, **asked)
            self.assertIn(
                f'does not have the backing file {self.fake.disks[-1]} open',
                str(error))
            self.assert_nothing_left(before)

    def test_that_lies_on_another_file_system(self):
        base = self.fake.disks[-1]
        file_id = fake_files.FakeFiles.file_id

        def elsewhere(files, path):
            device, inode = file_id(files, path)
            return 'elsewhere' if path == base else device, inode

        self.useFixture(fixtures.MonkeyPatch(
            'tests.fakes.files.FakeFiles.file_id', elsewhere))
        self.fake.guest.create()
        snapshot.plan(self.fake.process().node, flow_scene.request())
        self.replace_base()
        error = self.assertRaises(errors.Unsupported, self.take)
        self.assertIn(base, str(error))
        process = self.fake.process()
        process.world.files.shows_locks = lambda path: False
        self.take(process)

    def test_where_no_lock_of_qemus_is_seen_nothing_is_known_of_that(self):
        self.fake.guest.create()
        self.fake.guest.held.clear()
        self.replace_base()
        self.take()

    def test_a_base_that_is_replaced_while_the_snapshot_is_prepared(self):
        self.fake.guest.create()
        self.fail(self.replace_base, words='was replaced')

    def test_a_base_of_a_guest_that_is_off(self):
        self.fail(self.replace_base, words='was replaced')

    def test_a_base_that_is_replaced_while_it_is_read(self):
        for boot in False, True:
            if boot:
                self.fake.guest.create()
            before = self.state()
            process = self.fake.process()
            process.calls.then('convert', self.replace_base)
            error = self.assertRaises(errors.StorageError, self.take,
                                      process)
            self.assertIn('was replaced', str(error))
            self.assert_nothing_left(before)


@ddt.ddt
class RunningTestCase(ChangedTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    @ddt.data('take_snapshot', 'commit_below')
    def test_before_the_mirror(self, act):
        self.fail(getattr(self, act))

    @ddt.data('take_snapshot', 'commit_below')
    def test_before_the_mirror_of_a_domain_that_stays_defined(self, act):
        self.fake.set(live_method='copy')
        self.fail(getattr(self, act))

    @ddt.data('take_snapshot', 'commit_below')
    def test_before_the_save(self, act):
        self.fail(getattr(self, act), cold=True)
        self.assertEqual(2, self.fake.guest.starts)

    def test_header_that_describes_what_libvirt_has_found(self):
        # libvirt tells the path that is in a description, where there is one.
        process = self.fake.process()
        process.calls.then('managedSave', lambda: fake_disk.rebase(
            self.fake.disks[0], 'json:{"file.filename": "..."}', 'qcow2'))
        before = self.state()
        error = self.assertRaises(errors.StorageError, self.take, process,
                                  cold=True)
        self.assertIn('take it live', str(error))
        self.assert_nothing_left(before)

    def test_while_it_is_saved(self):
        # By a process that does not ask libvirt.
        before = self.state()
        process = self.fake.process()
        process.calls.then('managedSave', self.rebase_below)
        error = self.assertRaises(errors.StorageError, self.take, process,
                                  cold=True)
        self.assertIn('was changed', str(error))
        self.assert_nothing_left(before)

    def test_backing_file_without_a_named_format_is_no_change(self):
        self.fake.guest.destroy()
        top = fake_disk.DiskFile.load(self.fake.disks[1])
        top.backing_format = None
        top.save(self.fake.disks[1])
        self.fake.guest.create()
        before = self.state()
        self.take(cold=True)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()


@ddt.ddt
class StoppedTestCase(ChangedTestCase):

    @ddt.data('take_snapshot', 'rebase_below')
    def test_before_it_is_read(self, act):
        self.fail(getattr(self, act))

    def test_headers_that_became_a_circle(self):
        before = self.state()
        process = self.fake.process()
        process.calls.then(PREPARED, lambda: fake_disk.rebase(
            self.fake.disks[1], self.fake.disks[0], 'qcow2'))
        error = self.assertRaises(errors.StorageError, self.take, process)
        self.assertIn('circle', str(error))
        self.assert_nothing_left(before)
