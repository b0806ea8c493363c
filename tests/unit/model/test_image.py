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
import json
import pathlib

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.model import consistency as consistency_model
from nova_snap.model import image as image_model
from nova_snap.model import inheritance
from nova_snap.model import request as request_model
from nova_snap import units
from tests.unit.model import test_inheritance

RECORDED = (pathlib.Path(__file__).parents[2] / 'data'
            / 'nova34' / 'nova34-live.images.json')

IMAGE = {
    'id': 'an-id', 'name': 'an-image', 'status': 'active', 'size': 100,
    'virtual_size': 200, 'checksum': 'aaa', 'os_hash_algo': 'sha512',
    'os_hash_value': 'bbb', 'os_hidden': False, 'protected': False,
    'disk_format': 'qcow2', 'container_format': 'bare', 'min_disk': 1,
    'min_ram': 64, 'owner': 'a-project', 'visibility': 'public', 'tags': [],
    'created_at': 'then', 'updated_at': 'now', 'self': '/v2/images/an-id',
    'file': '/v2/images/an-id/file', 'schema': '/v2/schemas/image',
    'stores': 'file', 'locations': [], 'direct_url': 'file:///x',
}


ASKED = request_model.RequestedImage('an-id', 'a-snapshot')
# What is said of it until more is known.
NOT_FROZEN = consistency_model.say('an-id', consistency_model.NOT_FROZEN)


def _request(**changes):
    return dataclasses.replace(
        request_model.Request('an-instance', (ASKED,)), **changes)


def _nova(**changes):
    return dataclasses.replace(test_inheritance.NOVA, **changes)


def _base(**properties):
    return image_model.Image.from_glance({**IMAGE, 'id': 'base', **properties})


class ImageTestCase(base.BaseTestCase):

    def test_attributes_are_told_from_properties(self):
        found = image_model.Image.from_glance({**IMAGE, 'colour': 'blue'})

        self.assertEqual(
            image_model.Image(
                image_id='an-id', name='an-image', status='active', size=100,
                checksum='aaa', hash_algo='sha512', hash_value='bbb',
                disk_format='qcow2', container_format='bare', min_disk=1,
                min_ram=64, owner='a-project', visibility='public',
                properties={'colour': 'blue'},
                locations=('file:///x',)), found)

    def test_what_is_null_or_left_out_is_nothing(self):
        found = image_model.Image.from_glance({
            'id': 'an-id', 'status': 'queued', 'name': None, 'size': None,
            'min_disk': None, 'kernel_id': None})

        self.assertEqual('', found.name)
        self.assertIsNone(found.size)
        self.assertIsNone(found.hash_value)
        self.assertEqual((0, 0), (found.min_disk, found.min_ram))
        self.assertEqual({}, found.properties)


class ImageSpecTestCase(base.BaseTestCase):

    def test_it_survives_the_journal(self):
        spec = image_model.snapshot_spec(
            _request(properties={'colour': 'blue'}), ASKED,
            image_model.Origin(units.GiB, _nova(), _base()),
            disk_format='qcow2',
        )

        again = image_model.ImageSpec.from_dict(
            json.loads(json.dumps(spec.to_dict())))

        self.assertEqual(spec, again)


@ddt.ddt
class SnapshotSpecTestCase(base.BaseTestCase):

    def spec(self, metadata=None, base_image=None, *, virtual_size=units.GiB,
             non_inheritable=frozenset(), **changes):
        request = _request(**changes)
        return image_model.snapshot_spec(
            request, request.images[0],
            image_model.Origin(virtual_size, metadata, base_image),
            disk_format='qcow2', non_inheritable=non_inheritable)

    def test_another_disk_than_the_root_disk_has_its_own_size(self):
        spec = image_model.snapshot_spec(
            _request(), ASKED, image_model.Origin(
                5 * units.GiB + 1, _nova(flavor_disk_gib=1), is_root=False),
            disk_format='qcow2')
        self.assertEqual(6, spec.min_disk)

    def test_it_is_what_nova_34_wrote(self):
        """The record of an image that a real Nova made, property by property.

        What Nova has from its database alone is not there; see
        snapshot_spec.
        """
        *_, nova_made = json.loads(RECORDED.read_text())['image']
        recorded = image_model.Image.from_glance(nova_made)
        unknown = {'boot_roles', 'hw_cdrom_bus', 'hw_disk_bus',
                   'hw_input_bus', 'hw_machine_type', 'hw_pointer_model',
                   'hw_video_model', 'hw_vif_model'}
        base_image = _base(**{
            name: recorded.properties[name]
            for name in ('hw_qemu_guest_agent', 'kernel_id', 'ramdisk_id',
                         'os_command_line', 'os_require_quiesce')})
        metadata = _nova(
            image_uuid=recorded.properties['base_image_ref'],
            flavor_disk_gib=1, user_name='admin', project_name='admin',
            user_uuid=recorded.properties['user_id'],
            project_uuid=recorded.owner,
            image_properties={'hw_qemu_guest_agent': 'True',
                              'os_command_line': 'console=ttyS0',
                              'os_require_quiesce': 'True'})

        spec = self.spec(
            metadata, base_image,
            images=(request_model.RequestedImage(recorded.image_id,
                                                 recorded.name),),
            instance_uuid=recorded.properties['instance_uuid'],
            properties={'colour': 'blue'})

        expected = {name: value for name, value
                    in recorded.properties.items() if name not in unknown}
        expected |= consistency_model.say(recorded.image_id,
                                          consistency_model.NOT_FROZEN)
        self.assertEqual(
            image_model.ImageSpec(
                image_id=recorded.image_id, name=recorded.name,
                disk_format=recorded.disk_format,
                container_format=recorded.container_format,
                min_disk=recorded.min_disk, min_ram=recorded.min_ram,
                owner=recorded.owner, visibility=recorded.visibility,
                properties=expected), spec)

    @ddt.named_data(
        ['the flavor, where it is larger', 1, 20, 20],
        ['the image, where it is larger', 40, 20, 40],
        ['nothing, where the flavor has no disk', 0, 0, 0],
    )
    def test_min_disk_is_that_of(self, image_min_disk, flavor_disk, expected):
        spec = self.spec(_nova(image_min_disk=image_min_disk,
                               flavor_disk_gib=flavor_disk))

        self.assertEqual(expected, spec.min_disk)

    def test_min_ram_is_that_of_the_image(self):
        self.assertEqual(64, self.spec(_nova(image_min_ram=64)).min_ram)

    def test_it_belongs_to_the_project_of_the_instance(self):
        spec = self.spec(_nova())

        self.assertEqual('project', spec.owner)
        self.assertEqual('project', spec.properties['owner_id'])
        self.assertEqual('private', spec.visibility)

    def test_the_container_is_that_of_the_image(self):
        self.assertEqual('ovf', self.spec(
            _nova(image_container_format='ovf')).container_format)

    def test_the_container_is_bare_where_the_image_said_none(self):
        self.assertEqual('bare', self.spec(
            _nova(image_container_format=None)).container_format)

    def test_a_snapshot_of_a_snapshot_speaks_of_itself(self):
        spec = self.spec(_nova(image_uuid='base'), _base(
            base_image_ref='first', instance_uuid='older',
            image_type='backup', backup_type='daily', owner_id='older',
            image_state='older', image_location='older', user_id='older',
            owner_user_name='older', owner_project_name='older'))

        self.assertEqual({
            'backup_type': 'daily', 'base_image_ref': 'first',
            'image_location': 'snapshot', 'image_state': 'available',
            'image_type': 'snapshot', 'instance_uuid': 'an-instance',
            'owner_id': 'project', 'owner_project_name': 'shop',
            'owner_user_name': 'ann', 'user_id': 'user',
            **NOT_FROZEN,
        }, spec.properties)

    def test_it_refers_to_the_base_image_also_when_that_is_gone(self):
        spec = self.spec(_nova(image_uuid='base'), None)

        self.assertEqual('base', spec.properties['base_image_ref'])

    def test_it_refers_to_no_base_image_where_there_was_none(self):
        spec = self.spec(_nova(image_uuid=None), None)

        self.assertNotIn('base_image_ref', spec.properties)

    def test_what_the_operator_keeps_back_is_not_inherited(self):
        spec = self.spec(_nova(), _base(secret='x', colour='blue'),
                         non_inheritable=frozenset({'secret'}))

        self.assertNotIn('secret', spec.properties)
        self.assertEqual('blue', spec.properties['colour'])

    def test_the_request_wins_over_what_is_inherited(self):
        spec = self.spec(_nova(), _base(kernel_id='old'),
                         properties={'kernel_id': 'new'})

        self.assertEqual('new', spec.properties['kernel_id'])

    def test_the_request_may_name_what_is_not_inherited(self):
        spec = self.spec(_nova(), None, properties={'bittorrent': 'x'},
                         non_inheritable=frozenset({'bittorrent'}))

        self.assertEqual('x', spec.properties['bittorrent'])

    @ddt.data('instance_uuid', 'image_type', 'base_image_ref', 'owner_id',
              'image_state', 'image_location', 'status', 'id', 'owner',
              'location', 'os_hash_value', 'stores', 'os_glance_x',
              'img_signature', 'cinder_encryption_key_id',
              *sorted(inheritance.SAID_OF_ONE))
    def test_the_request_may_not_set(self, name):
        refused = self.assertRaises(
            errors.Refused, self.spec, _nova(),
            properties={name: 'x', 'colour': 'blue'})

        self.assertIn(name, str(refused))
        self.assertNotIn('colour', str(refused))

    @ddt.named_data(
        ['whole GiB', 2 * units.GiB, 2],
        ['a byte more', 2 * units.GiB + 1, 3],
        ['a small disk', units.MiB, 1],
    )
    def test_without_nova_the_disk_says_how_much_it_takes(self, size,
                                                          expected):
        spec = self.spec(virtual_size=size)

        self.assertEqual(
            image_model.ImageSpec(
                image_id='an-id', name='a-snapshot', disk_format='qcow2',
                container_format='bare', min_disk=expected, min_ram=0,
                owner=None, visibility='private',
                properties={'image_type': 'snapshot',
                            'instance_uuid': 'an-instance',
                            **NOT_FROZEN}), spec)

    def test_without_nova_no_image_is_inherited_from(self):
        spec = self.spec(None, _base(kernel_id='k'))

        self.assertNotIn('kernel_id', spec.properties)
