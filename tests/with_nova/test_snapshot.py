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

"""What Nova's callers ask of snapshot(), through Nova's own manager."""

import shutil
from unittest import mock

import ddt
from lxml import etree
from nova import objects

from nova_snap.model import consistency as consistency_model
from nova_snap.model import image_set
from nova_snap.model import inheritance
from tests.contract import first_bytes
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.fakes import qemu_img as fake_qemu_img
from tests.with_nova import scene

IMAGE = scene.IMAGE
NOVAS_DRIVER = 'libvirt.LibvirtDriver'

# What the driver does between the state that its caller was in and the end,
# as (state, expected state).
# :source: nova/virt/libvirt/driver.py snapshot
UPLOADED = [('image_uploading', 'image_pending_upload'),
            ('image_pending_upload', 'image_uploading'),
            ('image_uploading', 'image_pending_upload')]


class SnapshotTestCase(scene.SceneTestCase):

    def setUp(self):
        super().setUp()
        # The fake makes no socket, and the folders of a test lie deep.
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova_snap.model.layer.LONGEST_SOCKET', 4096))
        self.saved = []
        save = objects.Instance.save

        def noting(instance, *args, **kwargs):
            expected = kwargs.get('expected_task_state')
            if expected is not None:
                self.saved.append((instance.task_state, expected))
            return save(instance, *args, **kwargs)

        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.objects.Instance.save', noting))


@ddt.ddt
class CallersTestCase(SnapshotTestCase):

    def assert_done(self, *, running=True):
        self.assertEqual('active', self.glance.images[IMAGE]['status'])
        self.assertIsNone(self.read().task_state)
        self.assert_guest_whole(running=running)
        self.assert_settled()

    def test_image_create(self):
        self.image_create(self.start_manager())
        self.assertEqual(
            [('image_snapshot', 'image_snapshot_pending'),
             ('image_pending_upload', 'image_snapshot'),
             *UPLOADED, (None, 'image_uploading')], self.saved)
        self.assert_done()

    def test_a_backup_has_the_states_of_novas(self):
        manager = self.start_manager()
        self.set_state('image_backup')
        manager.backup_instance(self.context, IMAGE, self.instance, 'daily',
                                1)
        self.assertEqual([('image_pending_upload', 'image_backup'),
                          *UPLOADED, (None, 'image_uploading')], self.saved)
        self.assert_done()

    def test_a_shelved_instance_has_the_states_of_novas(self):
        # Nova holds a lock of the instance's name all the time.
        self.shelve(self.start_manager())
        shelving = 'shelving_image_'
        states = [(state.replace('image_', shelving),
                   expected.replace('image_', shelving))
                  for state, expected in UPLOADED]
        self.assertEqual(
            [('shelving_image_pending_upload', 'shelving'), *states,
             (None, ['shelving', 'shelving_image_uploading'])], self.saved)
        self.assertEqual('shelved', self.read().vm_state)
        self.assert_done(running=False)

    def test_resize_to_another_cell(self):
        self.guest.destroy()
        self.start_manager()._snapshot_for_resize(self.context, IMAGE,
                                                  self.instance)
        self.assertEqual([], self.saved)
        self.assert_done(running=False)

    def test_a_paused_guest(self):
        self.guest.suspend()
        self.image_create(self.start_manager())
        self.assert_done()
        self.assertEqual(3, self.guest.state()[0])

    def test_a_cold_snapshot_is_done(self):
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        self.image_create(self.start_manager())
        self.assertIn('managedSave', self.calls.names())
        self.assert_done()

    @ddt.data('rebase', 'backup')
    def test_nova_is_told_of_it_as_ever(self, method):
        self.flags(live_method=method, group='nova_snap')
        ours = self.events(scene.OUR_DRIVER)
        self.assertEqual(method == 'backup',
                         'backupBegin' in self.calls.names())
        self.glance.add(IMAGE)
        extract_by_copy(self)
        self.guest.destroy()
        self.assertEqual(self.events(NOVAS_DRIVER), ours)
        self.assertIn('instance.snapshot.end', ours)

    def events(self, compute_driver):
        """Take a snapshot; list what Nova says."""
        manager = self.start_manager(compute_driver)
        self.notifier.reset()
        self.image_create(manager)
        return [message['event_type'] if isinstance(message, dict)
                else message.event_type
                for message in (*self.notifier.notifications,
                                *self.notifier.versioned_notifications)]


@ddt.ddt
class LikeNovasOwnTestCase(SnapshotTestCase):
    """The same instance, by Nova's driver of this release and by ours."""

    def take(self, compute_driver):
        self.saved.clear()
        self.glance.changes.clear()
        self.glance.add(IMAGE, min_ram=512, inherited='kept')
        self.image_create(self.start_manager(compute_driver))
        image = dict(self.glance.images[IMAGE])
        for name in ('checksum', 'os_hash_value', 'size'):
            self.assertTrue(image.pop(name))
        return image, list(self.saved)

    @ddt.data('off', 'rebase', 'backup')
    def test_the_same_properties_and_states(self, method):
        """Of a guest that runs, where it is ours: Nova says the same."""
        extract_by_copy(self)
        self.guest.destroy()
        novas_image, novas_states = self.take(NOVAS_DRIVER)
        if method != 'off':
            self.flags(live_method=method, group='nova_snap')
            self.guest.create()
        image, states = self.take(scene.OUR_DRIVER)
        self.assertEqual(method == 'backup',
                         'backupBegin' in self.calls.names())
        self.assertEqual(
            consistency_model.NOT_FROZEN if method == 'off'
            else consistency_model.FROZEN,
            image.pop(consistency_model.PROPERTY))
        self.assertEqual(IMAGE, image.pop(consistency_model.OF_PROPERTY))
        self.assertEqual(novas_image, image)
        self.assertEqual(novas_states, states)
        self.assertEqual('kept', image['inherited'])
        self.assertEqual('snapshot', image['image_location'])

    def test_in_another_format(self):
        extract_by_copy(self)
        self.guest.destroy()
        self.flags(snapshot_image_format='raw', group='libvirt')
        novas_image, _ = self.take(NOVAS_DRIVER)
        image, _ = self.take(scene.OUR_DRIVER)
        self.assertEqual('raw', image['disk_format'])
        self.assertEqual(novas_image['disk_format'], image['disk_format'])


@ddt.ddt
class RootDiskTestCase(SnapshotTestCase):

    def setUp(self):
        super().setUp()
        self.guest.destroy()
        self.guest.persistent = self.guest.persistent.replace('vda', 'vdb')
        # libvirt sorts the disks of a bus by their targets.
        add_disk(self.guest, 'vda', self.fake.folder / 'disk.eph0',
                 first=True)

    @ddt.data(('/dev/vdb', False), ('/dev/vda', True), (None, True),
              ('/dev/sda', True))
    @ddt.unpack
    def test_it_is_the_one_that_nova_names_or_the_first(self, name, is_first):
        self.instance.root_device_name = name
        self.snapshot(self.start_driver())
        stored = fake_disk.DiskFile.from_bytes(
            self.glance.data[IMAGE])
        self.assertEqual(is_first, stored.clusters == {'is': 'vda'})
        self.assertEqual(not is_first, 'layer 0' in stored.clusters)

    def test_nova_records_the_format_that_its_image_is_sent_in(self):
        """Glance would refuse a raw image of this disk."""
        self.instance.root_device_name = '/dev/vda'
        path = str(self.fake.folder / 'disk.eph0')
        disk = fake_disk.DiskFile.load(path)
        disk.begin(first_bytes.boot_sector())
        disk.save(path)
        self.snapshot(self.start_driver())
        self.assertEqual('active', self.glance.images[IMAGE].status)
        self.assertEqual('qcow2', self.glance.images[IMAGE]['disk_format'])


def add_disk(guest, target, path, *, device='disk', first=False):
    """Give a guest that is off another disk, which holds its own name."""
    fake_disk.DiskFile('raw', fake_node.DISK_BYTES,
                       clusters={'is': target}).save(str(path))
    tree = etree.fromstring(guest.persistent)
    disk = etree.fromstring(
        f"<disk type='file' device='{device}'><driver name='qemu' "
        f"type='raw'/><source file='{path}'/><target dev='{target}'/></disk>")
    devices = tree.find('./devices')
    devices.insert(0 if first else len(devices), disk)
    guest.persistent = etree.tostring(tree, encoding='unicode')


@ddt.ddt
class LeftToNovaTestCase(SnapshotTestCase):
    """What Nova's own code does is asked of it, word for word."""

    def assert_novas(self, driver):
        callback = mock.Mock()
        asked = []
        self.useFixture(scene.fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver.snapshot',
            lambda *args: asked.append(args)))
        self.snapshot(driver, callback)
        self.assertEqual([(driver, self.context, self.instance, IMAGE,
                           callback)], asked)
        callback.assert_not_called()
        self.assertEqual([], self.calls.changes())

    def plug(self, kind, driver_format='raw', **source):
        """Give the guest, which is off, a root disk of another kind."""
        self.guest.destroy()
        tree = etree.fromstring(self.guest.persistent)
        disk = tree.find('./devices/disk')
        disk.set('type', kind)
        disk.find('./driver').set('type', driver_format)
        found = disk.find('./source')
        found.attrib.clear()
        found.attrib.update(source)
        self.guest.persistent = etree.tostring(tree, encoding='unicode')

    def test_what_was_said_of_another_image_is_taken_away(self):
        self.glance.images[IMAGE].update(
            consistency_model.say('another', consistency_model.FROZEN))
        self.glance.images[IMAGE].update(image_set.say(
            'another', image_set.Place('a-set', 'vda', ('vda', 'vdb'))))
        self.plug('block', 'qcow2', dev='/dev/nova/root')
        self.assert_novas(self.start_driver())
        self.assertEqual(
            set(), inheritance.SAID_OF_ONE
            & self.glance.images[IMAGE].keys())

    def test_a_disk_in_lvm_that_is_not_raw(self):
        self.plug('block', 'qcow2', dev='/dev/nova/root')
        self.assert_novas(self.start_driver())

    def test_a_server_that_was_booted_from_an_iso_image(self):
        # With an ephemeral disk, which is not what Nova takes.
        self.guest.destroy()
        add_disk(self.guest, 'sda', self.fake.folder / 'iso', first=True,
                 device='cdrom')
        self.assert_novas(self.start_driver())

    def test_an_encrypted_disk(self):
        self.guest.destroy()
        tree = etree.fromstring(self.guest.persistent)
        etree.SubElement(tree.find('./devices/disk/source'), 'encryption',
                         format='luks')
        self.guest.persistent = etree.tostring(tree, encoding='unicode')
        self.assert_novas(self.start_driver())

    def test_disks_that_may_be_encrypted(self):
        driver = self.start_driver()
        self.flags(enabled=True, group='ephemeral_storage_encryption')
        self.assert_novas(driver)

    @ddt.data('lxc', 'parallels')
    def test_another_kind_of_guest(self, virt_type):
        driver = self.start_driver()
        self.flags(virt_type=virt_type, group='libvirt')
        self.assert_novas(driver)


class UploadTestCase(SnapshotTestCase):

    def test_one_of_two_services_is_dead(self):
        self.flags(api_servers=['http://127.0.0.1:1', self.glance.url],
                   group='glance')
        driver = self.start_driver()
        for _ in range(4):
            self.glance.add(IMAGE)
            self.snapshot(driver)
            self.assertEqual('active', self.glance.images[IMAGE].status)

    def test_it_waits_for_a_turn_at_the_disk(self):
        held = self.turns()
        self.snapshot(self.start_driver())
        self.assertEqual(['begins', 'convert', 'ends',
                          'begins', 'upload', 'ends'], held)

    def test_a_guest_does_not_stand_still_until_it_is_its_turn(self):
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        held = self.turns()
        saves = type(self.fake.guest).managedSave

        def save(guest, flags):
            held.append('save')
            return saves(guest, flags)

        self.useFixture(scene.fixtures.MonkeyPatch(
            f'{saves.__module__}.{saves.__qualname__}', save))
        self.snapshot(self.start_driver())
        self.assertEqual(['begins', 'save', 'convert', 'ends',
                          'begins', 'upload', 'ends'], held)

    def turns(self):
        """Return what will be done with the disk, and when."""
        held = self.hear_turns()
        converts = fake_qemu_img.FakeQemuImg.convert

        def convert(*args, **kwargs):
            held.append('convert')
            return converts(*args, **kwargs)

        self.useFixture(scene.fixtures.MockPatchObject(
            fake_qemu_img.FakeQemuImg, 'convert', convert))
        self.glance.then = lambda words: words.startswith('PUT') and (
            held.append('upload'))
        return held

    def test_one_connection_and_novas(self):
        driver = self.start_driver()
        self.snapshot(driver)
        self.assertEqual(['qemu:///system'], self.libvirt.opened)


def extract_by_copy(case):
    """Let Nova's driver take the fakes' disks for real ones.

    Only what runs qemu-img is replaced.
    """
    for name, new in (
            ('nova.virt.libvirt.utils.extract_snapshot',
             lambda source, source_format, target, target_format:
             shutil.copy(source, target)),
            ('nova.virt.libvirt.imagebackend.Image.resolve_driver_format',
             lambda image: image.driver_format)):
        case.useFixture(scene.fixtures.MonkeyPatch(name, new))
