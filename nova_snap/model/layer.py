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

#: Which file it is, whatever its name: its device, or what its network file
#: system is mounted from, and its inode; or the number of a block device.
FileId: ty.TypeAlias = tuple[int | str, int]

# What the XML of a disk, or of a layer below it, calls the storage that has
# a kind of its own here.
# :source: libvirt docs/formatdomain.rst, "Hard drives, floppy disks, CDROMs"
_BY_XML = {('file', ''): 'file', ('block', ''): 'block',
           ('network', 'rbd'): 'rbd'}

# Bytes of the path of a unix socket, with its end.
# :source: unix(7), sun_path
LONGEST_SOCKET = 108


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

    @property
    def is_read(self) -> bool:
        """Tell whether images are made of disks that lie on it."""
        return self.is_local or self == Storage.RBD


def storage_of(xml_type: str, protocol: str = '') -> Storage:
    """Return the kind of storage that libvirt's XML names.

    :param protocol: of a network disk
    """
    return Storage(_BY_XML.get((xml_type, protocol), Storage.OTHER))


@dataclasses.dataclass(frozen=True)
class CephClient:
    """How a program on this host reaches an image in Ceph.

    :ivar user: with no "client." before it; '' for that of librados itself
    :ivar conf: the full path of a ceph.conf; '' for those that librados looks
        for itself
    """

    user: str = ''
    conf: str = ''


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a backing chain and the format libvirt opens it with.

    :ivar path: as the storage names it. It must not be taken for a file
        where the storage is not local
    :ivar ceph: of an image in Ceph; None for the others
    """

    path: str
    format: str
    storage: Storage = Storage.FILE
    ceph: CephClient | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether this host has it as a file or a block device."""
        return self.storage.is_local

    @property
    def pool(self) -> str:
        """Return the pool of an image in Ceph."""
        return self.path.partition('/')[0]

    @property
    def image(self) -> str:
        """Return the name of an image in Ceph, in its pool."""
        return self.path.partition('/')[2].partition('@')[0]

    @property
    def snapshot(self) -> str:
        """Return the name of a snapshot in Ceph; '' for the image itself."""
        return self.path.partition('@')[2]

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
            ceph = self.ceph or CephClient()
            # One that is empty is not what is left out.
            more = {name: value for name, value in (
                ('snapshot', self.snapshot), ('conf', ceph.conf),
                ('user', ceph.user)) if value}
            return {'driver': 'rbd', 'pool': self.pool, 'image': self.image,
                    **more}
        if self.storage == Storage.NBD:
            socket, export = self.export()
            return {'driver': 'nbd', 'export': export,
                    'server': {'type': 'unix', 'path': socket}}
        raise ValueError(f'{self.path} is on storage that is not read')

    def export(self) -> tuple[str, str]:
        """Return the socket of a disk that is served, and its name there."""
        socket, _, export = self.path.rpartition(':')
        return socket, export

    @classmethod
    def exported(cls, socket: str, export: str) -> 'Layer':
        """Return a disk that is served on a unix socket, as the guest sees it.

        :param export: its name there, with no colon in it
        """
        return cls(f'{socket}:{export}', 'raw', Storage.NBD)

    @classmethod
    def from_dict(cls, values: dict[str, ty.Any]) -> 'Layer':
        """Rebuild what :func:`dataclasses.asdict` made of one."""
        ceph = values.get('ceph')
        return cls(values['path'], values['format'],
                   Storage(values['storage']),
                   CephClient(**ceph) if ceph else None)
