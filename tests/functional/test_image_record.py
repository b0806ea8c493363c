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

"""The record in Glance, compared with Nova 34's for the same guest.

``tests/data/nova34`` has what a real Nova wrote: the domain, and each state of
the image that ``POST /servers/ID/action createImage`` made of it.
"""

import json
import pathlib
import typing as ty
from unittest import mock

from lxml import etree

from tests.functional import base
from tests.lab.guest import domain as guest_domain

DATA = pathlib.Path(__file__).resolve().parents[1] / 'data' / 'nova34'
DOMAIN = DATA / 'nova34-image-backed.inactive.xml'
IMAGES = DATA / 'nova34-live.images.json'
NOVA = '{http://openstack.org/xmlns/libvirt/nova/1.1}'

# Of one image alone: no two have the same.
OF_ONE_IMAGE = frozenset((
    'checksum', 'created_at', 'direct_url', 'file', 'id', 'locations',
    'os_hash_value', 'self', 'size', 'updated_at', 'virtual_size'))

# What Nova keeps in its database and writes nowhere else.
UNKNOWN = {
    'boot_roles': 'the roles of the user who made the server: they are in the '
                  'token of that request and in system_metadata',
    # Nova settles these at the first boot and keeps them in system_metadata
    # (nova/virt/libvirt/driver.py _register_undefined_instance_details). An
    # image that names them hands them on.
    'hw_cdrom_bus': 'settled at the first boot',
    'hw_disk_bus': 'settled at the first boot',
    'hw_input_bus': 'settled at the first boot',
    'hw_machine_type': 'settled at the first boot',
    'hw_pointer_model': 'settled at the first boot',
    'hw_video_model': 'settled at the first boot',
    'hw_vif_model': 'settled at the first boot',
}

# What the image of the recorded guest had, in an image's own words.
BASE_PROPERTIES = {
    'hw_qemu_guest_agent': 'yes',
    'kernel_id': '41f02f89-db6a-4809-9aad-5e546875df3f',
    'os_command_line': 'console=ttyS0',
    'os_require_quiesce': 'yes',
    'ramdisk_id': '62e0f76f-8c9e-4022-97d4-86bc6622f232',
}

# Ours alone.
OURS = {'nova_snap_consistency': 'frozen',
        'nova_snap_consistency_of': mock.ANY}


class ImageRecordTest(base.FunctionalTest):
    """By the command, of a guest with the recorded domain's metadata."""

    def test_like_novas_own_also_without_the_base_image(self):
        """Everything that a command can know, name by name."""
        base_id = self._base_image()
        guest = self._recorded_guest(base_id)
        seen = base.look(guest)
        nova = {**json.loads(IMAGES.read_text())['image'][-1],
                'base_image_ref': base_id, 'instance_uuid': guest.spec.uuid}
        image = self._take(guest)
        expected = {name: value for name, value in nova.items()
                    if name not in OF_ONE_IMAGE | UNKNOWN.keys()}
        self.assertEqual({**expected, **OURS}, _kept(image))

        self.delete_image(base_id)
        image = self._take(guest)
        # The domain has them in the words of Nova's objects, which Nova reads
        # as well, and has no others.
        expected.update(hw_qemu_guest_agent='True', os_require_quiesce='True')
        del expected['kernel_id'], expected['ramdisk_id']
        self.assertEqual({**expected, **OURS}, _kept(image))
        self.assert_guest_untouched(guest, seen)

    def _take(self, guest: guest_domain.Guest) -> dict[str, ty.Any]:
        """Take a snapshot as the recorded request asked for it."""
        done = self.nova_snap('image-create', guest.spec.name, 'live-1',
                              '--property', 'colour=blue', '--json')
        self.assertEqual(0, done.returncode, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(('live', 'frozen'),
                         (said['method'], said['consistency']))
        return self.image(said['images'][0]['image_id'])

    def _base_image(self) -> str:
        """Make the record of the image that the guest was booted from."""
        made = json.loads(self.glance('images', 'POST', {
            'name': 'base', 'disk_format': 'qcow2',
            'container_format': 'bare', 'min_disk': 1, **BASE_PROPERTIES}))
        return str(made['id'])

    def _recorded_guest(self, base_id: str) -> guest_domain.Guest:
        guest = _RecordedGuest.create(self.lab.libvirtd,
                                      'qcow2-on-raw-base', agent='run')
        self.addCleanup(guest.remove)
        guest.base_id = base_id
        return guest.boot()


class _RecordedGuest(guest_domain.Guest):
    """A guest with the metadata that Nova 34 wrote, as Nova wrote it."""

    base_id = ''

    @property
    def xml(self) -> str:
        """The XML that ``define`` gives to libvirt."""
        domain = etree.fromstring(super().xml)
        metadata = etree.parse(DOMAIN).find('metadata')
        for element in metadata.iter(f'{NOVA}image', f'{NOVA}root'):
            element.set('uuid', self.base_id)
        domain.insert(0, metadata)
        return etree.tostring(domain, encoding='unicode')


def _kept(image: dict[str, ty.Any]) -> dict[str, ty.Any]:
    """Leave out what is of one image alone."""
    return {name: value for name, value in image.items()
            if name not in OF_ONE_IMAGE}
