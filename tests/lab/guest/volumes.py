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

"""A guest whose disks are Cinder's volumes on Ceph, attached as Nova does."""

import base64
import json
import pathlib
import string
import typing as ty
import urllib.request
import uuid as uuidlib
from xml.sax import saxutils

import libvirt

from tests.lab import ceph as ceph_module
from tests.lab import cinder as cinder_module
from tests.lab import glance as glance_module
from tests.lab.guest import build as guest_build
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import process
from tests.lab import storage as storage_module

# GiB: the least that Cinder makes. The root disk is smaller.
SIZE = 1

# Of the image that the root volumes come from; a volume keeps them.
IMAGE_PROPERTIES = {'os_distro': 'lab', 'hw_disk_bus': 'virtio'}

SECRET = f"""\
<secret ephemeral='yes' private='yes'>
  <uuid>{cinder_module.SECRET_UUID}</uuid>
  <usage type='ceph'><name>client.cinder secret</name></usage>
</secret>
"""


class VolumeGuest(guest_domain.Guest):
    """A guest with volumes, the root disk first.

    :ivar storage: where they are
    :ivar volume_ids: in the order of the disks
    """

    storage: storage_module.Storage
    volume_ids: tuple[str, ...]

    @classmethod
    def attach(cls, libvirtd: hypervisor.Libvirtd,
               storage: storage_module.Storage,
               volume_ids: ty.Sequence[str], **facts: ty.Any) -> 'VolumeGuest':
        """Attach volumes to a new guest; nothing is defined yet.

        It removes them with itself.

        :param facts: other fields of Spec
        """
        uuid = str(uuidlib.uuid4())
        folder = place.make_dir(libvirtd.run_dir / 'instances' / uuid)
        tell_secret(libvirtd, storage.ceph)
        disks = tuple(
            disk_xml(storage.cinder.attach(one, uuid, f'/dev/vd{letter}'),
                     one, f'vd{letter}')
            for one, letter in zip(volume_ids, string.ascii_lowercase,
                                   strict=False))
        guest = cls(libvirtd, guest_domain.Spec(
            name=f'lab-{uuid[:8]}', uuid=uuid, disk=None, volumes=disks,
            console=folder / 'console.log', **facts))
        guest.storage = storage
        guest.volume_ids = tuple(volume_ids)
        return guest

    def remove(self) -> None:
        """Remove the guest and its volumes, with their snapshots."""
        super().remove()
        cinder = self.storage.cinder
        for snapshot in cinder.snapshots():
            if snapshot['volume_id'] in self.volume_ids:
                cinder.delete('snapshot', snapshot['id'])
        for one in self.volume_ids:
            cinder.delete('volume', one)

    def look_inside(self) -> guest_copy.Found:
        """Boot a quiet guest and return what it found on its disks."""
        self.define().start()
        self.wait_for('^GUEST ready')
        return guest_copy.parse(self.console())


def disk_xml(connection: ty.Mapping[str, ty.Any], volume_id: str,
             target: str) -> str:
    """Write a disk as Nova does from what Cinder says of an attachment.

    :source: nova/virt/libvirt/volume/net.py LibvirtNetVolumeDriver
    """
    hosts = ''.join(
        f"<host name='{host}' port='{port}'/>" for host, port
        in zip(connection['hosts'], connection['ports'], strict=True))
    return f"""<disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='writeback'/>
      <auth username='{connection['auth_username']}'>
        <secret type='ceph' uuid='{connection['secret_uuid']}'/>
      </auth>
      <source protocol='rbd' name={saxutils.quoteattr(connection['name'])}>
        {hosts}
      </source>
      <target dev='{target}' bus='virtio'/>
      <serial>{volume_id}</serial>
      <alias name='ua-{volume_id}'/>
    </disk>
    """


def root_snapshot(storage: storage_module.Storage,
                  glance: glance_module.Glance) -> str:
    """Return the snapshot that root volumes are made of, made when missing.

    A volume of it is there at once, and says of which image it is.
    """
    file = storage.cinder.folder / 'root-snapshot'
    if not file.exists():
        image_id = _upload(glance, storage.cinder.folder / 'root.qcow2')
        volume_id = storage.cinder.make(
            'volume', size=SIZE, name='root', imageRef=image_id)
        file.write_text(storage.cinder.make(
            'snapshot', name='root', volume_id=volume_id))
    return file.read_text()


def _upload(glance: glance_module.Glance, path: pathlib.Path) -> str:
    process.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                 str(guest_build.parts().root_disk), str(path)])
    image = _post(glance, 'images', {
        'name': 'root', 'disk_format': 'qcow2', 'container_format': 'bare',
        'min_disk': SIZE, **IMAGE_PROPERTIES})
    request = urllib.request.Request(
        f'{glance.endpoint}/v2/images/{image["id"]}/file', method='PUT',
        data=path.read_bytes(),
        headers={'Content-Type': 'application/octet-stream'})
    with urllib.request.urlopen(request, timeout=60):
        path.unlink()
    return str(image['id'])


def _post(glance: glance_module.Glance, path: str,
          body: dict[str, ty.Any]) -> dict[str, ty.Any]:
    request = urllib.request.Request(
        f'{glance.endpoint}/v2/{path}', method='POST',
        data=json.dumps(body).encode(),
        headers={'Content-Type': 'application/json'})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.loads(answer.read()))


def tell_secret(libvirtd: hypervisor.Libvirtd,
                ceph: ceph_module.Ceph) -> None:
    """Tell libvirt the key with which QEMU reaches Ceph."""
    with libvirtd.connection() as conn:
        # It may be known already, with the key of an earlier Ceph.
        secret: libvirt.virSecret = conn.secretDefineXML(SECRET)
        secret.setValue(base64.b64decode(ceph.key()))
