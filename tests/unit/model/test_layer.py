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

"""What a layer lies on, and its description for QEMU."""

import dataclasses
import json

import ddt
from oslotest import base

from nova_snap.model import layer as layer_model

Storage = layer_model.Storage


@ddt.ddt
class StorageTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['a file', 'file', '', Storage.FILE],
        ['a block device', 'block', '', Storage.BLOCK],
        ['an image in Ceph', 'network', 'rbd', Storage.RBD],
        ['another network', 'network', 'nbd', Storage.OTHER],
        ['a volume of a pool', 'volume', '', Storage.OTHER],
        ['what libvirt learns one day', 'moon', '', Storage.OTHER],
    )
    def test_xml_names_the_kind(self, xml_type, protocol, expected):
        self.assertEqual(expected,
                         layer_model.storage_of(xml_type, protocol))

    def test_images_are_made_of_disks_on_three_kinds(self):
        self.assertEqual({Storage.FILE, Storage.BLOCK, Storage.RBD},
                         {kind for kind in Storage if kind.is_read})

    def test_only_files_and_block_devices_are_in_the_tree_of_the_host(self):
        self.assertEqual({Storage.FILE, Storage.BLOCK},
                         {kind for kind in Storage if kind.is_local})


@ddt.ddt
class LayerTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['a file', Storage.FILE, '/srv/a', {'driver': 'file',
                                            'filename': '/srv/a'}],
        ['a block device', Storage.BLOCK, '/dev/a',
         {'driver': 'host_device', 'filename': '/dev/a'}],
        ['an image in Ceph', Storage.RBD, 'vms/a_disk',
         {'driver': 'rbd', 'pool': 'vms', 'image': 'a_disk'}],
    )
    def test_qemu_is_given_its_protocol(self, storage, path, expected):
        self.assertEqual(
            expected, layer_model.Layer(path, 'raw', storage).protocol())

    def test_qemu_is_told_how_to_reach_ceph(self):
        layer = layer_model.Layer(
            'vms/a_disk', 'raw', Storage.RBD,
            layer_model.CephClient('cinder', '/etc/ceph/two.conf'))
        self.assertEqual(
            {'driver': 'rbd', 'pool': 'vms', 'image': 'a_disk',
             'conf': '/etc/ceph/two.conf', 'user': 'cinder'},
            layer.protocol())

    def test_a_disk_that_is_served_has_a_socket_and_a_name(self):
        layer = layer_model.Layer.exported('/srv/a:b/nbd', 'vda')
        self.assertEqual(('/srv/a:b/nbd', 'vda'), layer.export())
        self.assertEqual(
            {'driver': 'nbd', 'export': 'vda',
             'server': {'type': 'unix', 'path': '/srv/a:b/nbd'}},
            layer.protocol())

    def test_of_other_storage_qemu_is_given_nothing(self):
        layer = layer_model.Layer('nbd://host', 'raw', Storage.OTHER)
        self.assertRaises(ValueError, layer.protocol)

    @ddt.data(*Storage)
    def test_it_is_rebuilt_from_what_json_holds(self, storage):
        layer = layer_model.Layer(
            '/srv/a', 'qcow2', storage, layer_model.CephClient('cinder')
            if storage == Storage.RBD else None)
        written = json.loads(json.dumps(dataclasses.asdict(layer)))
        self.assertEqual(layer, layer_model.Layer.from_dict(written))

    def test_storage_that_is_not_known_is_an_error(self):
        self.assertRaises(ValueError, layer_model.Layer.from_dict, {
            'path': '/srv/a', 'format': 'raw', 'storage': 'moon'})
