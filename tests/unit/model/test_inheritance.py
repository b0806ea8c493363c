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

import ddt
from oslotest import base

from nova_snap.model import inheritance
from nova_snap.model import nova as nova_model

NOVA = nova_model.NovaMetadata(
    name='web', flavor_disk_gib=20, image_uuid='base',
    image_container_format='bare', image_min_disk=1, image_min_ram=0,
    image_properties={}, user_uuid='user', user_name='ann',
    project_uuid='project', project_name='shop', root_type='image',
    root_uuid='base')


@ddt.ddt
class InheritedTestCase(base.BaseTestCase):

    def inherited(self, base_properties, objects=(), non_inheritable=()):
        nova = dataclasses.replace(NOVA, image_properties=dict(objects))
        return inheritance.inherited(nova, base_properties,
                                     frozenset(non_inheritable))

    def test_the_words_of_the_image_win_over_those_of_the_object(self):
        self.assertEqual(
            {'hw_qemu_guest_agent': 'yes'},
            self.inherited({'hw_qemu_guest_agent': 'yes'},
                           {'hw_qemu_guest_agent': 'True'}))

    def test_the_domain_fills_what_the_image_has_no_longer(self):
        self.assertEqual(
            {'kernel_id': 'k', 'hw_qemu_guest_agent': 'True'},
            self.inherited({'kernel_id': 'k'},
                           {'hw_qemu_guest_agent': 'True'}))

    @ddt.data('cinder_encryption_key_deletion_policy',
              'cinder_encryption_key_id', 'img_signature',
              'img_signature_certificate_uuid',
              'img_signature_hash_method', 'img_signature_key_type',
              'os_glance_stage_host', 'os_glance_importing_to_stores',
              'nova_snap_consistency', 'nova_snap_consistency_of',
              'nova_snap_set', 'nova_snap_set_disks', 'nova_snap_set_of',
              'nova_snap_disk')
    def test_what_is_never_handed_on_is_left_out(self, name):
        self.assertEqual({}, self.inherited({name: 'x'}))
        self.assertEqual({}, self.inherited({}, {name: 'x'}))
        self.assertTrue(inheritance.is_withheld(name))

    @ddt.data('mappings', 'block_device_mapping', 'img_mappings',
              'img_block_device_mapping')
    def test_structured_values_are_left_out(self, name):
        self.assertEqual({}, self.inherited({name: '[]'}, {name: '[]'}))

    @ddt.named_data(
        ['in the image', {'bittorrent': 'x', 'cache_in_nova': 'x'}, {}],
        ['in the domain', {}, {'img_bittorrent': 'x',
                               'img_cache_in_nova': 'x'}],
    )
    def test_what_the_operator_keeps_back_is_left_out(self, raw, objects):
        self.assertEqual({}, self.inherited(
            raw, objects, ('bittorrent', 'cache_in_nova')))

    @ddt.named_data(
        ['an old name in the image', {'architecture': 'x86_64'},
         {'hw_architecture': 'x86_64'}],
        ['the adapter of VMware, which is the disk bus',
         {'vmware_adaptertype': 'ide'}, {'hw_disk_bus': 'ide'}],
    )
    def test_nothing_is_said_twice(self, raw, objects):
        self.assertEqual(raw, self.inherited(raw, objects))

    def test_the_owner_of_the_base_image_is_left_out(self):
        self.assertEqual({}, self.inherited({}, {'img_owner_id': 'other'}))

    @ddt.named_data(
        ['traits', 'traits_required', "['CUSTOM_A', 'HW_CPU_X86_AVX']",
         {'trait:CUSTOM_A': 'required',
          'trait:HW_CPU_X86_AVX': 'required'}],
        ['memory of NUMA cells', 'hw_numa_mem', '[512, 1024]',
         {'hw_numa_mem.0': '512', 'hw_numa_mem.1': '1024'}],
        ['CPUs of NUMA cells', 'hw_numa_cpus', '[{0, 1}, {2}]',
         {'hw_numa_cpus.0': '0,1', 'hw_numa_cpus.1': '2'}],
        ['CPUs as the object prints them', 'hw_numa_cpus',
         '[CoercedSet({0, 1}), CoercedSet({2})]',
         {'hw_numa_cpus.0': '0,1', 'hw_numa_cpus.1': '2'}],
        ['no list', 'hw_numa_mem', 'None', {}],
    )
    def test_lists_are_written_as_an_image_has_them(self, name, value,
                                                    expected):
        self.assertEqual(expected, self.inherited({}, {name: value}))

    @ddt.named_data(
        ['one that fits', 'x' * 255, 'x' * 255],
        ['one that is too long', 'x' * 256, 'x' * 255],
        ['within a character', 'x' * 254 + 'é', 'x' * 254],
    )
    def test_values_are_cut_where_nova_cuts_them(self, value, expected):
        self.assertEqual({'note': expected}, self.inherited({'note': value}))
