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

import functools

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.model import volumes as volumes_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module
from nova_snap.services import signed_out

REASON = errors.ConfigError(option='auth_type', reason='is not set')
IMAGE_SPEC = image_model.ImageSpec(
    image_id='i', name='nightly', disk_format='raw', container_format='bare',
    min_disk=0, min_ram=0, owner=None, visibility='private', properties={})
SPEC = volumes_model.SnapshotSpec('v', 'nightly', None, 'a-record')


@ddt.ddt
class SignedOutTestCase(base.BaseTestCase):

    def assert_says_why(self, *calls):
        for call in calls:
            self.assertIs(REASON, self.assertRaises(errors.ConfigError,
                                                    call))

    def test_every_call_of_glance_says_why(self):
        images = signed_out.SignedOut(REASON)
        self.assert_says_why(
            images.check,
            functools.partial(images.check, 'an-owner'),
            functools.partial(images.get, 'i'),
            functools.partial(images.create, IMAGE_SPEC),
            functools.partial(images.set_properties, 'i', {}),
            functools.partial(images.upload, 'i', None),
            functools.partial(images.delete, 'i'),
            functools.partial(images.discard_unfinished, 'i'))

    def test_every_call_of_cinder_says_why(self):
        volumes = signed_out.SignedOutOfCinder(REASON).acting_in('shop')
        self.assert_says_why(
            volumes.check, volumes.project_id, volumes.limits,
            functools.partial(volumes.volume, 'v'),
            functools.partial(volumes.create_snapshot, SPEC),
            functools.partial(volumes.find_snapshot, SPEC),
            functools.partial(volumes.snapshot, 's'),
            functools.partial(volumes.delete_snapshot, 's'))

    @ddt.data((images_module.Images, signed_out.SignedOut),
              (volumes_module.Volumes, signed_out.SignedOutOfCinder))
    @ddt.unpack
    def test_no_call_is_forgotten(self, kind, out):
        self.assertEqual(
            {name for name in vars(kind) if not name.startswith('_')},
            {name for name in vars(out) if not name.startswith('_')})
