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

"""A layer of a disk, and the storage that it lies on."""

import dataclasses
import typing as ty

from nova_snap import compat

#: Which file it is, whatever its name: its device and its inode, or the number
#: of a block device.
FileId: ty.TypeAlias = tuple[int, int]

# What the XML of a disk, or of a layer below it, calls the storage that has
# a kind of its own here.
# :source: libvirt docs/formatdomain.rst, "Hard drives, floppy disks, CDROMs"
_BY_XML = {('file', ''): 'file', ('block', ''): 'block',
           ('network', 'rbd'): 'rbd'}


class Storage(compat.StrEnum):
    """What a layer lies on."""

    FILE = 'file'
    BLOCK = 'block'
    #: an image in Ceph; its path is POOL/IMAGE
    RBD = 'rbd'
    #: a disk of a QEMU that serves it; its path is SOCKET:EXPORT
    NBD = 'nbd'
    #: what we do not read: another host, a pool of libvirt's, a description
    OTHER = 'other'

    @property
    def is_local(self) -> bool:
        """Tell whether the path names something in this host's own tree."""
        return self in (Storage.FILE, Storage.BLOCK)


def storage_of(xml_type: str, protocol: str = '') -> Storage:
    """Return the kind of storage that libvirt's XML names.

    :param protocol: of a network disk
    """
    return Storage(_BY_XML.get((xml_type, protocol), Storage.OTHER))


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a backing chain and the format libvirt opens it with.

    :ivar path: as the storage names it. It must not be taken for a file
        where the storage is not local
    """

    path: str
    format: str
    storage: Storage = Storage.FILE

    @property
    def is_local(self) -> bool:
        """Tell whether this host has it as a file or a block device."""
        return self.storage.is_local

    def protocol(self) -> dict[str, ty.Any]:
        """Describe the storage to QEMU, with the name of the layer in it.

        :raises ValueError: for a storage that we do not read
        :source: QEMU qapi/block-core.json BlockdevOptions
        """
        if self.storage == Storage.FILE:
            return {'driver': 'file', 'filename': self.path}
        if self.storage == Storage.BLOCK:
            return {'driver': 'host_device', 'filename': self.path}
        if self.storage == Storage.RBD:
            pool, _, image = self.path.partition('/')
            return {'driver': 'rbd', 'pool': pool, 'image': image}
        if self.storage == Storage.NBD:
            socket, _, export = self.path.rpartition(':')
            return {'driver': 'nbd', 'export': export,
                    'server': {'type': 'unix', 'path': socket}}
        raise ValueError(f'{self.path} is on storage that is not read')

    @classmethod
    def exported(cls, socket: str, export: str) -> 'Layer':
        """Return a disk that is served on a unix socket, as the guest sees it.

        :param export: its name there, with no colon in it
        """
        return cls(f'{socket}:{export}', 'raw', Storage.NBD)

    @classmethod
    def from_dict(cls, values: dict[str, str]) -> 'Layer':
        """Rebuild what :func:`dataclasses.asdict` made of one."""
        return cls(values['path'], values['format'],
                   Storage(values['storage']))
