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

import dataclasses
import operator
import re

import ddt
from lxml import etree
from oslotest import base

from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model import nova as nova_model
from tests.unit import data

BASE = ('/var/lib/nova/instances/_base/'
        '8fbbec4c4e2e47812ef34588bb4776fe77e52e1c')
VOLUMES = '/var/lib/nova/mnt/8d4f144e98e21e5051c2846ed49db1e9/volume-'
DELTA = '/srv/snapshots/nova_snap-1/delta'


@ddt.ddt
class DiskTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('a raw file', 'raw-root.live',
         ('vda', 'file', '/srv/guests/root.raw', 'raw')),
        ('a qcow2 file', 'qcow2-without-backing.live',
         ('vda', 'file', '/srv/guests/root.qcow2', 'qcow2')),
        ('a block device', 'block-root.live',
         ('vda', 'block', '/dev/vg/guest_root', 'raw')),
        ('a LUN passed to the guest', 'lun-root.live',
         ('sda', 'block', '/dev/sdq', 'raw')),
        ('an image in Ceph', 'network-disk.live',
         ('vda', 'network', 'vms/guest_disk', 'raw')),
        ('a volume of a pool has no path of its own', 'pool-volume.live',
         ('vda', 'volume', None, 'qcow2')),
        ('a stick that is not there', 'disk-without-source.inactive',
         ('sda', 'file', None, 'raw')),
        ('a disk without a named format', 'driver-without-format.live',
         ('vda', 'file', '/srv/guests/root.qcow2', None)),
        ('the first that is a disk, after a CD and a floppy',
         'cdrom-first.live',
         ('vda', 'file', '/srv/guests/root.qcow2', 'qcow2')),
    )
    def test_the_root_disk_of_others_guest_is_its_first_disk(
        self, file, expected
    ):
        disk = data.domain(file).root_disk
        self.assertEqual(expected, (disk.target_dev, disk.source_type,
                                    disk.source_path, disk.driver_format))

    @ddt.named_data(
        ('a guest with nothing but a CD', 'no-disk.live'),
        ('a container', 'lxc.live'),
    )
    def test_some_guests_have_no_disk(self, file):
        self.assertIsNone(data.domain(file).root_disk)

    @ddt.named_data(
        ('within its source', 'encrypted-source.live', True),
        ('next to its source, as older libvirts write it',
         'encrypted-disk.live', True),
        ('not at all', 'raw-root.live', False),
    )
    def test_encryption_is_seen_wherever_it_is_said(self, file,
                                                    encrypted):
        self.assertEqual(encrypted, data.domain(file).root_disk.encrypted)

    @ddt.named_data(
        ('of its source', 'sliced-root.live', True),
        ('of a layer below', 'sliced-backing.live', True),
        ('nowhere', 'chain-of-three.live', False),
    )
    def test_a_disk_that_is_a_slice_of_a_file_says_so(self, file, has_slices):
        self.assertEqual(has_slices, data.domain(file).root_disk.has_slices)

    def test_a_disk_is_found_by_its_target(self):
        guest = data.domain('cdrom-first.live')
        self.assertEqual('/srv/guests/data.raw',
                         guest.disk('vdb').source_path)

    @ddt.data('vdc', 'sda', '')
    def test_what_is_no_disk_is_not_found(self, target_dev):
        self.assertIsNone(
            data.domain('cdrom-first.live').disk(target_dev))

    @ddt.named_data(
        ('one that is ready', 'mirror-ready.live', 'vda'),
        ('one that is being ended', 'mirror-aborting.live', 'vda'),
        ('none', 'chain-of-three.live', 'vda'),
        ('none of a disk that is not there', 'mirror-ready.live', 'vdz'),
    )
    def test_a_mirror_is_the_same_read_alone(self, file, target_dev):
        disk = data.domain(file).disk(target_dev)
        self.assertEqual(
            disk and disk.mirror,
            domain_model.parse_mirror(data.xml(file), target_dev))

    def test_a_volume_of_nova_has_its_id_as_serial_number(self):
        guest = data.nova34_domain('volume-backed.live')
        self.assertEqual(
            [('vda', '73aff132-b770-4392-b2aa-2bbb83821792'),
             ('vdb', '727e86ca-23b6-48ea-8912-57b5563b29c5')],
            [(disk.target_dev, disk.serial) for disk in guest.disks])
        self.assertEqual([VOLUMES + disk.serial for disk in guest.disks],
                         [disk.source_path for disk in guest.disks])

    def test_a_disk_of_an_image_has_none(self):
        guest = data.nova34_domain('image-backed.live')
        self.assertIsNone(guest.root_disk.serial)
        self.assertIsNone(guest.root_disk.volume_id)

    def test_the_volume_of_a_disk_is_its_serial_or_its_alias(self):
        [disk, _] = data.nova34_domain('volume-backed.live').disks
        self.assertEqual(('ua-' + disk.serial, disk.serial),
                         (disk.alias, disk.volume_id))
        lun = dataclasses.replace(disk, serial=None)
        self.assertEqual(disk.serial, lun.volume_id)
        self.assertIsNone(dataclasses.replace(
            lun, alias='virtio-disk0').volume_id)

    def test_what_the_guest_sees_of_a_disk(self):
        [disk, _] = data.nova34_domain('volume-backed.inactive').disks
        self.assertEqual(('virtio', 'disk'), (disk.bus, disk.device))
        [lun, *_] = data.domain('lun-root.live').disks
        self.assertEqual('lun', lun.device)

    def test_the_root_disk_of_novas_guest_is_what_nova_takes(self):
        nova = data.nova34_domain('image-backed.live').nova
        guest = dataclasses.replace(data.domain('cdrom-first.live'),
                                    nova=nova)
        self.assertEqual(('sda', 'cdrom'), (guest.root_disk.target_dev,
                                            guest.root_disk.device))

    @ddt.data(({'vdb': 1}, 'vdb'), ({'vda': 3, 'vdb': 2}, 'vdb'),
              ({'sda': 1, 'vdb': 2}, 'vdb'), ({'sda': 1}, 'vda'))
    @ddt.unpack
    def test_boot_order_says_which_disk_is_the_root_disk(self, orders, root):
        tree = etree.fromstring(data.xml('cdrom-first.live'))
        tree.find('./os').remove(tree.find('./os/boot'))
        for disk in tree.findall('./devices/disk'):
            target = disk.find('./target').get('dev')
            if target in orders:
                etree.SubElement(disk, 'boot', order=str(orders[target]))
        guest = domain_model.parse(etree.tostring(tree, encoding='unicode'))
        self.assertEqual(root, guest.root_disk.target_dev)

    @ddt.data('transient', 'shareable')
    def test_a_disk_may_be(self, word):
        xml = data.xml('raw-root.live')
        of_it = operator.attrgetter(f'root_disk.is_{word}')
        self.assertFalse(of_it(domain_model.parse(xml)))
        xml = xml.replace('</disk>', f'<{word}/></disk>', 1)
        self.assertTrue(of_it(domain_model.parse(xml)))

    @ddt.named_data(
        ('no thread', '', '', False),
        ('one that its driver names', "iothread='1'", '', True),
        ('one of its controller', '', "<driver iothread='1'/>", True))
    @ddt.unpack
    def test_a_disk_has(self, driver, controller, expected):
        bus = 'scsi' if controller else 'virtio'
        model = domain_model.parse(f"""<domain><uuid>u</uuid><devices>
          <disk type='file' device='disk'>
            <driver name='qemu' type='raw' {driver}/><source file='/a'/>
            <target dev='sda' bus='{bus}'/>
            <address type='drive' controller='1' bus='0' target='0'/>
          </disk>
          <controller type='scsi' index='0'/>
          <controller type='scsi' index='1'>{controller}</controller>
        </devices></domain>""")
        self.assertEqual(expected, model.root_disk.has_iothread)

    def test_discs_are_not_among_the_disks(self):
        guest = data.domain('cdrom-first.live')
        self.assertEqual([], [disk for disk in guest.disks
                              if disk.device == 'cdrom'])
        self.assertEqual(['cdrom'] * len(guest.cdroms),
                         [disk.device for disk in guest.cdroms])

    @ddt.data(('cdrom', 'optional', True), ('cdrom', 'requisite', True),
              ('cdrom', 'mandatory', False), ('cdrom', None, False),
              ('floppy', 'optional', True), ('disk', 'optional', False))
    @ddt.unpack
    def test_a_disc_may_be_missing(self, device, policy, may_be):
        tree = etree.fromstring(data.xml('raw-root.live').encode())
        disk = tree.find('./devices/disk')
        disk.set('device', device)
        if policy:
            disk.find('./source').set('startupPolicy', policy)
        guest = domain_model.parse(etree.tostring(tree, encoding='unicode'))
        self.assertIs(may_be, guest.drives[0].may_be_missing)


@ddt.ddt
class ChainTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('nothing below', 'qcow2-without-backing.live', ()),
        ('nothing is said of a guest that is off', 'secrets.inactive', ()),
        (
            'two files and a block device',
            'chain-of-three.live',
            (
                layer_model.Layer('/srv/guests/middle.qcow2', 'qcow2'),
                layer_model.Layer('/srv/guests/low.qcow2', 'qcow2'),
                layer_model.Layer(
                    '/dev/vg/base', 'raw', storage=layer_model.Storage.BLOCK
                ),
            ),
        ),
        (
            'a name on another host is no file of this one',
            'network-backing.live',
            (
                layer_model.Layer(
                    '/etc/passwd', 'raw', storage=layer_model.Storage.OTHER
                ),
            ),
        ),
    )
    def test_layers_come_nearest_first(self, file, layers):
        self.assertEqual(layers, data.domain(file).root_disk.backing)

    def test_a_guest_of_nova_is_on_its_base_image(self):
        self.assertEqual(
            (layer_model.Layer(BASE, 'raw'),),
            data.nova34_domain('image-backed.live').root_disk.backing)

    @ddt.named_data(
        (
            'a file',
            'raw-root.live',
            layer_model.Layer('/srv/guests/root.raw', 'raw'),
        ),
        (
            'a block device',
            'block-root.live',
            layer_model.Layer(
                '/dev/vg/guest_root', 'raw', storage=layer_model.Storage.BLOCK
            ),
        ),
    )
    def test_the_active_layer_is_what_the_guest_writes(self, file,
                                                       layer):
        self.assertEqual(layer, data.domain(file).root_disk.active_layer)


@ddt.ddt
class MirrorTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('copying still', 'mirror-not-ready.live', False, False),
        ('ready', 'mirror-ready.live', True, False),
        ('on its way out', 'mirror-aborting.live', False, True),
    )
    def test_ready_is_yes_and_nothing_else(self, file, ready, is_ending):
        self.assertEqual(
            domain_model.Mirror(path=DELTA, format='qcow2', job='copy',
                          ready=ready, is_ending=is_ending),
            data.domain(file).root_disk.mirror)

    def test_at_its_end_it_is_there_without_an_address(self):
        # Seen of libvirt 9.0: QEMU has not closed the file yet.
        xml = re.sub('<mirror .*?</mirror>',
                     "<mirror type='file' job=''></mirror>",
                     data.xml('mirror-aborting.live'), flags=re.S)
        mirror = domain_model.parse(xml).root_disk.mirror
        self.assertIsNone(mirror.path)
        self.assertFalse(mirror.ready)

    def test_without_a_job_there_is_none(self):
        self.assertIsNone(data.domain('chain-of-three.live')
                          .root_disk.mirror)

    def test_the_layers_of_the_copy_are_not_those_of_the_disk(self):
        self.assertEqual(
            (layer_model.Layer('/srv/guests/base.raw', 'raw'),),
            data.domain('mirror-ready.live').root_disk.backing)

    def test_its_address_is_found_in_the_short_form_too(self):
        # What libvirt wrote before it had <source> there, and writes still.
        xml = data.xml('mirror-ready.live').replace(
            f"<source file='{DELTA}' index='3'/>", '')
        self.assertEqual(DELTA, domain_model.parse(xml).root_disk.mirror.path)


@ddt.ddt
class GuestTestCase(base.BaseTestCase):

    @ddt.named_data(
        ('another channel is none', 'agent-absent.live', 'absent'),
        ('no channel at all', 'raw-root.live', 'absent'),
        ('no process opened it in the guest', 'agent-disconnected.live',
         'disconnected'),
        ('an agent is there', 'agent-connected.live', 'connected'),
        ('a guest that is off has none', 'agent.inactive', 'disconnected'),
    )
    def test_the_agent_is_what_its_channel_says(self, file, agent):
        self.assertEqual(agent, data.domain(file).agent)

    def test_devices_of_the_host_are_named(self):
        self.assertEqual(
            ['hostdev pci 0000:3b:00.1',
             'hostdev mdev 6a5a24a2-3a90-4a39-8b1f-6f3b1f0f2d5e',
             'interface fa:16:3e:0a:0b:0c 0000:3b:02.1'],
            [str(device) for device in
             data.domain('hostdevs.live').hostdevs])

    def test_an_emulated_guest_has_none(self):
        self.assertEqual((), data.domain('raw-root.live').hostdevs)

    @ddt.named_data(
        ('dropped with the domain', 'vtpm-volatile.live', True),
        ('kept by libvirt', 'vtpm-persistent.live', False),
        ('in the chip of the host', 'tpm-passthrough.live', False),
        ('of a guest that has none', 'raw-root.live', False),
    )
    def test_the_state_of_a_tpm_may_be(self, file, volatile):
        self.assertEqual(volatile, data.domain(file).tpm_is_volatile)

    @ddt.data(('sev.live', True), ('raw-root.live', False))
    @ddt.unpack
    def test_an_encrypted_guest_is_seen(self, file, encrypted):
        self.assertEqual(encrypted, data.domain(file).launch_security)

    @ddt.named_data(
        ('numbers', 'raw-root.live', (64055, 64055)),
        ('root', 'root-user.live', (0, 0)),
        ('names say nothing that could be compared', 'named-user.live',
         None),
        ('a definition does not tell', 'secrets.inactive', None),
        ('a container does not tell', 'lxc.live', None),
    )
    def test_the_user_of_qemu(self, file, user):
        self.assertEqual(user, data.domain(file).qemu_user)

    def test_a_guest_is_read_with_its_names_and_type(self):
        guest = data.nova34_domain('image-backed.inactive')
        self.assertEqual(
            ('0a608a7f-a14f-42bf-bf80-ca5745ad69d0', 'instance-00000009',
             'qemu'),
            (guest.uuid, guest.name, guest.type))
        self.assertEqual('lxc', data.domain('lxc.live').type)

    def test_a_password_is_not_among_the_values(self):
        xml = data.xml('secrets.inactive')
        self.assertIn('open-sesame', xml)
        self.assertNotIn('open-sesame', repr(domain_model.parse(xml)))


@ddt.ddt
class NovaTestCase(base.BaseTestCase):

    def test_what_nova_34_writes_is_read(self):
        self.assertEqual(
            nova_model.NovaMetadata(
                name='rec', flavor_disk_gib=1,
                image_uuid='79d8dbda-718c-4c51-bec7-e75a0c43e97a',
                image_container_format='bare',
                image_min_disk=1, image_min_ram=0,
                image_properties={'hw_qemu_guest_agent': 'True',
                                  'os_command_line': 'console=ttyS0',
                                  'os_require_quiesce': 'True'},
                user_uuid='6e4bc8939961407f83b1852b82e1f5e1',
                user_name='admin',
                project_uuid='c7e3e11fa81048d9865ef08026b4db9c',
                project_name='admin', root_type='image',
                root_uuid='79d8dbda-718c-4c51-bec7-e75a0c43e97a'),
            data.nova34_domain('image-backed.live').nova)

    def test_a_volume_backed_guest_has_no_image(self):
        nova = data.nova34_domain('volume-backed.live').nova
        self.assertIsNone(nova.image_uuid)
        self.assertEqual(('image', ''), (nova.root_type, nova.root_uuid))

    def test_the_first_version_of_the_metadata_is_read(self):
        nova = data.domain('nova-metadata-1.0.live').nova
        self.assertEqual(
            ('old', 1, 'image', '79d8dbda-718c-4c51-bec7-e75a0c43e97a'),
            (nova.name, nova.flavor_disk_gib, nova.root_type,
             nova.root_uuid))
        self.assertIsNone(nova.image_uuid)
        self.assertEqual({}, nova.image_properties)

    def test_metadata_that_makes_no_sense_says_nothing(self):
        nova = data.domain('nova-metadata-odd.live').nova
        self.assertEqual((0, 0), (nova.flavor_disk_gib, nova.image_min_disk))
        self.assertEqual({'os_distro': '', 'hw_qemu_guest_agent': 'True'},
                         nova.image_properties)
        self.assertEqual(('', '', ''),
                         (nova.name, nova.project_uuid, nova.root_type))

    def test_a_guest_of_others_has_none(self):
        self.assertIsNone(data.domain('raw-root.live').nova)

    def test_nothing_is_fetched_and_nothing_expanded(self):
        secret = self.create_tempfiles([('secret', 'told')])[0]
        xml = data.xml('nova-metadata-odd.live').replace(
            '<nova:name/>', '<nova:name>&secret;</nova:name>')
        guest = domain_model.parse(
            f'<!DOCTYPE domain [<!ENTITY secret SYSTEM "{secret}">]>' + xml)
        self.assertEqual('', guest.nova.name)


@ddt.ddt
class RescueTestCase(base.BaseTestCase):
    """Nova boots a guest from another disk, to mend its own."""

    # How Nova 34 has the root disk, as a regular expression for one of it.
    ROOT = re.compile(r"<disk type='file' device='disk'>.*?</disk>", re.S)
    RESCUE = "<disk type='file' device='{}'><source {}/></disk>"

    def rescued(self, source, device='disk', *, last=False):
        xml = data.nova34_xml('image-backed.live')
        disk = self.RESCUE.format(device, source)
        return domain_model.parse(self.ROOT.sub(
            lambda found: found[0] + disk if last else disk + found[0],
            xml, count=1))

    @ddt.named_data(
        ('a file', "file='/var/lib/nova/instances/0a6/disk.rescue'"),
        ('a logical volume', "dev='/dev/nova/0a6_disk.rescue'"),
        ('an image in Ceph', "name='vms/0a6_disk.rescue'"),
    )
    def test_the_rescue_disk_is_the_first(self, source):
        self.assertTrue(self.rescued(source).is_rescued)

    @ddt.data('disk', 'cdrom', 'floppy', 'lun')
    def test_the_rescue_disk_is_the_last(self, device):
        # A "stable device rescue": hw_rescue_device is on the rescue image.
        self.assertTrue(self.rescued("file='/i/0a6/disk.rescue'", device,
                                     last=True).is_rescued)

    @ddt.data("file='/i/0a6/disk'", "file='/i/0a6/disk.config'",
              "file='/i/my-disk.rescue'")
    def test_another_disk_is_none(self, source):
        self.assertFalse(self.rescued(source).is_rescued)

    def test_a_guest_of_others_has_none(self):
        xml = data.xml('raw-root.live').replace('root.raw', 'disk.rescue')
        self.assertIn('/disk.rescue', xml)
        self.assertFalse(domain_model.parse(xml).is_rescued)


@ddt.ddt
class CopyTargetTestCase(base.BaseTestCase):

    @ddt.data('/srv/delta', '/srv/<odd> & "so\'/delta')
    def test_it_is_a_file_of_qcow2(self, path):
        disk = etree.fromstring(domain_model.copy_target_xml(path))
        self.assertEqual(('disk', 'file'), (disk.tag, disk.get('type')))
        self.assertEqual(path, disk.find('source').get('file'))
        self.assertEqual('qcow2', disk.find('driver').get('type'))
