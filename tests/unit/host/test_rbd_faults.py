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

"""What QEMU 7.2 was seen to say of Ceph, and what we say of that."""

import dataclasses
import json

import ddt
from oslotest import base

from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.host import rbd_faults
from nova_snap.model import layer as layer_model

LAYER = layer_model.Layer(
    'vms/disk', 'raw', layer_model.Storage.RBD,
    layer_model.CephClient('cinder', '/etc/ceph/two.conf'))


@ddt.ddt
class FaultsTestCase(base.BaseTestCase):

    def said(self, what, layer=LAYER):
        described = json.dumps(qemu_img_module.describe((layer,)))
        return rbd_faults.explained(
            f"qemu-img: Could not open 'json:{described}': {what}", layer)

    @ddt.named_data(
        ['without the driver', "Unknown driver 'rbd'", 'qemu-block-extra'],
        ['without its configuration', 'error reading conf file '
         '/etc/ceph/two.conf: No such file or directory',
         '[libvirt]images_rbd_ceph_conf'],
        ['with a key that is wrong', 'error connecting: Permission denied',
         '"ceph auth get client.cinder -o ceph.client.cinder.keyring"'],
        ['without a key', 'error connecting: No such file or directory',
         '/etc/ceph/ceph.client.cinder.keyring'],
        ['another Ceph', 'error opening pool vms: No such file or directory',
         '/etc/ceph/two.conf name another Ceph'],
        ['caps that are too small',
         'error reading header from disk: Operation not permitted',
         "osd 'profile rbd pool=vms'"],
    )
    def test_the_remedy_is_named(self, what, remedy):
        said = self.said(what)
        self.assertTrue(said.startswith(what), said)
        self.assertIn(remedy, said)

    def test_the_user_and_the_file_that_are_not_named_are_librados_own(self):
        said = self.said('error connecting: Permission denied',
                         dataclasses.replace(LAYER, ceph=None))
        self.assertIn('client.admin', said)
        self.assertIn('/etc/ceph/ceph.conf', said)

    def test_an_image_that_is_gone_has_no_remedy(self):
        gone = 'error reading header from disk: No such file or directory'
        self.assertEqual(gone, self.said(gone))

    @ddt.data(
        ('qemu-img: error while writing: No space left', LAYER),
        ("qemu-img: Could not open '/a': Permission denied",
         layer_model.Layer('/a', 'raw')))
    @ddt.unpack
    def test_what_is_not_ceph_s_is_left_alone(self, said, layer):
        self.assertEqual(said, rbd_faults.explained(said, layer))
