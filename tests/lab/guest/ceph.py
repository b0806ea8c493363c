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

"""A guest whose root disk is an image in Ceph, as Nova makes it."""

import typing as ty
import uuid as uuidlib

from tests.lab import ceph as ceph_module
from tests.lab import cinder as cinder_module
from tests.lab.guest import build as guest_build
from tests.lab.guest import domain as guest_domain
from tests.lab.guest import volumes as guest_volumes
from tests.lab import hypervisor
from tests.lab import place

# :source: nova/virt/libvirt/imagebackend.py Rbd.libvirt_info
DISK = """\
<disk type='network' device='disk'>
  <driver name='qemu' type='raw' cache='writeback'/>
  <auth username='{user}'>
    <secret type='ceph' uuid='{secret}'/>
  </auth>
  <source protocol='rbd' name='{pool}/{name}'>
    <host name='{host}' port='{port}'/>
  </source>
  <target dev='vda' bus='virtio'/>
</disk>
"""


class CephGuest(guest_domain.Guest):
    """A guest with one disk.

    :ivar ceph: where that is
    :ivar disk: its name in the pool
    """

    ceph: ceph_module.Ceph
    disk: str

    @classmethod
    def make(cls, libvirtd: hypervisor.Libvirtd, ceph: ceph_module.Ceph,
             **facts: ty.Any) -> 'CephGuest':
        """Make the disk; nothing is defined yet.

        :param facts: other fields of Spec
        """
        uuid = str(uuidlib.uuid4())
        folder = place.make_dir(libvirtd.run_dir / 'instances' / uuid)
        name = f'{uuid}_disk'
        guest_volumes.tell_secret(libvirtd, ceph)
        ceph.load(guest_build.parts().root_disk, name)
        host, port = ceph.monitor
        guest = cls(libvirtd, guest_domain.Spec(
            name=f'lab-{uuid[:8]}', uuid=uuid, disk=None, volumes=(
                DISK.format(user=ceph_module.CLIENT, host=host, port=port,
                            secret=cinder_module.SECRET_UUID,
                            pool=ceph_module.DISKS, name=name),),
            console=folder / 'console.log', **facts))
        guest.ceph, guest.disk = ceph, name
        return guest

    def remove(self) -> None:
        """Remove the guest and its disk, as Nova does: not by force."""
        super().remove()
        self.ceph.remove(self.disk)
