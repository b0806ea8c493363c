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
from lxml import etree

from nova_snap import errors
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class WhichDiskTestCase(flow_scene.FlowTestCase):
    """A guest that is off, with more than its disk vda."""

    def add(self, target, *, device='disk', first=False, boot=None):
        """Give the guest another disk, which holds its own name."""
        path = self.fake.folder / target
        fake_disk.DiskFile('raw', fake_node.DISK_BYTES,
                           clusters={'is': target}).save(str(path))
        tree = etree.fromstring(self.fake.guest.persistent)
        disk = etree.fromstring(
            f"<disk type='file' device='{device}'><driver name='qemu' "
            f"type='raw'/><source file='{path}'/><target dev='{target}'/>"
            '</disk>')
        if boot is not None:
            etree.SubElement(disk, 'boot', order=str(boot))
        tree.find('./devices').insert(0 if first else 2, disk)
        self.fake.guest.persistent = etree.tostring(tree, encoding='unicode')

    def refusal(self, **asked):
        before = self.state()
        error = self.assertRaises(errors.Unsupported, self.take, **asked)
        self.assert_nothing_left(before)
        return str(error)

    def taken(self, **asked):
        """Take a snapshot; name the disk that the image is of."""
        result = self.take(**asked)
        [disk] = result.plan.disks
        return disk.target_dev, self.image().clusters


@ddt.ddt
class NovasGuestTestCase(WhichDiskTestCase):

    spec = fake_node.GuestSpec(nova=True)

    @ddt.data('cdrom', 'floppy')
    def test_one_that_was_booted_from_an_iso_image_is_refused(self, device):
        self.add('sda', device=device, first=True)
        said = self.refusal()
        self.assertIn(f'its root disk sda is a {device}', said)
        self.assertIn('--disk (vda)', said)

    def test_but_a_disk_of_it_can_be_named(self):
        self.add('sda', device='cdrom', first=True)
        content = self.fake.guest.content()
        self.assertEqual(('vda', content), self.taken(disk='vda'))

    def test_a_cdrom_after_its_root_disk_is_no_hindrance(self):
        self.add('sda', device='cdrom')
        self.assertEqual('vda', self.taken()[0])


class OthersGuestTestCase(WhichDiskTestCase):

    def test_the_first_disk_in_boot_order_is_taken(self):
        self.add('vdb', boot=2)
        self.add('vdc', boot=1)
        self.assertEqual(('vdc', {'is': 'vdc'}), self.taken())

    def test_a_cdrom_that_is_booted_from_first_is_not_taken(self):
        self.add('sda', device='cdrom', first=True, boot=1)
        self.assertEqual('vda', self.taken()[0])


@ddt.ddt
class NamedDiskTestCase(WhichDiskTestCase):

    @ddt.data(False, True)
    def test_another_disk_is_taken_when_it_is_named(self, runs):
        self.add('vdb')
        if runs:
            self.fake.guest.create()
        target, content = self.taken(disk='vdb')
        self.assertEqual(('vdb', 'vdb'), (target, content['is']))

    def test_it_is_not_called_the_root_disk(self):
        self.add('vdb')
        plan = self.take(disk='vdb').plan
        self.assertIn(f'disk vdb: {self.fake.folder / "vdb"} (raw), 64.0 MiB',
                      plan.sentences())

    def test_one_that_the_guest_has_not_is_refused(self):
        self.add('vdb')
        said = self.refusal(disk='vdz')
        self.assertIn('it has no disk vdz; it has vda, vdb', said)

    def test_a_disc_is_refused(self):
        self.add('sda', device='cdrom')
        self.assertIn('its disk sda is a cdrom', self.refusal(disk='sda'))

    def test_a_disk_that_is_not_there_any_more_is_refused(self):
        self.add('vdb')
        pathlib.Path(self.fake.folder, 'vdb').unlink()
        error = self.assertRaises(errors.Refused, self.take, disk='vdb')
        self.assertIn(str(self.fake.folder / 'vdb'), str(error))


class VolumeTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def test_a_volume_that_is_named_is_left_to_cinder(self):
        error = self.assertRaises(errors.Unsupported, self.take, disk='vdb')
        self.assertIn('its disk vdb is a Cinder volume', str(error))
        self.assertIn('openstack volume snapshot create --force --volume '
                      + fake_node.volume_id(1), str(error))

    def test_the_root_disk_may_be_named(self):
        self.assertEqual(2, len(self.take(disk='vda').volume_snapshots))
