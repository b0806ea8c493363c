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

"""A disk in Ceph, and as whom it is reached."""

import dataclasses

import ddt
from oslotest import base

from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from tests.unit import data


@ddt.ddt
class CephTestCase(base.BaseTestCase):

    OWN = layer_model.CephClient('guest', '/etc/ceph/own.conf')

    @ddt.named_data(
        ['below the disk, as Nova writes it',
         ("<source protocol='rbd' name='vms/disk'>"
          "<config file='/etc/ceph/own.conf'/></source>"
          "<auth username='guest'><secret type='ceph' uuid='1'/></auth>"),
         OWN],
        ['below its source',
         ("<source protocol='rbd' name='vms/disk'>"
          "<config file='/etc/ceph/own.conf'/><auth username='guest'/>"
          "</source>"), OWN],
        ['nowhere', "<source protocol='rbd' name='vms/disk'/>",
         layer_model.CephClient()],
        ['of no disk in Ceph',
         "<source protocol='iscsi' name='a'/><auth username='guest'/>",
         None],
    )
    def test_its_user_is_found(self, source, expected):
        disk = domain_model.parse(
            f"<domain><devices><disk type='network'>{source}"
            "<target dev='vda'/><driver type='raw'/></disk></devices>"
            '</domain>').disks[0]
        self.assertEqual(expected, disk.ceph)
        self.assertEqual(expected, disk.active_layer.ceph)

    def test_a_snapshot_of_an_image_is_told_from_it(self):
        disk = domain_model.parse(
            "<domain><devices><disk type='network'><source protocol='rbd' "
            "name='vms/disk'><snapshot name='snap'/></source></disk>"
            '</devices></domain>').disks[0]
        self.assertEqual('snap', disk.ceph_snapshot)

    @ddt.named_data(
        ['by Nova, as Nova does', True, ('nova', '/etc/ceph/nova.conf'),
         ('nova', '/etc/ceph/nova.conf')],
        ['by Nova, which is no user of its own', True, ('', ''),
         ('guest', '/etc/ceph/own.conf')],
        ['by others, as its QEMU does', False,
         ('nova', '/etc/ceph/nova.conf'), ('guest', '/etc/ceph/nova.conf')],
    )
    def test_a_guest_is_reached(self, is_novas, nova, expected):
        guest = data.domain('network-disk.live')
        guest = dataclasses.replace(
            guest, drives=(dataclasses.replace(guest.drives[0],
                                               ceph=self.OWN),),
            nova=data.nova34_domain('image-backed.live').nova
            if is_novas else None)
        (disk,) = guest.reached(*nova).disks
        self.assertEqual(layer_model.CephClient(*expected), disk.ceph)

    def test_a_disk_elsewhere_is_left_alone(self):
        guest = data.domain('raw-root.live')
        self.assertEqual(guest, guest.reached('nova', '/etc/ceph/nova.conf'))
