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

"""Checkpoints of a guest's disk: from when on its changes are known.

A checkpoint is a bitmap in the guest's qcow2 file, in which QEMU marks each
cluster that is written or discarded. libvirt knows it as a checkpoint of the
domain, for moments only: a domain that is off and has one cannot be
undefined, and Nova undefines at a hard reboot, a resize and a delete. The
bitmap stays in the file without that, also while the guest is off.

:source: libvirt src/qemu/qemu_driver.c qemuDomainUndefineFlags; QEMU
    docs/interop/bitmaps.rst
"""

import collections.abc as cabc
import dataclasses
import typing as ty

from lxml import etree

from nova_snap.model import ceph as ceph_model

# How those are called that are ours, before the id of the image.
PREFIX = 'nova_snap-'

# As what a backup job serves the bitmap of what has changed.
EXPORT = 'changed'

# What is kept, by its version.
VERSION = 1


def name(image_id: str) -> str:
    """Return how the checkpoint of an image is called; no other has it."""
    return PREFIX + image_id


def xml(checkpoint: str, target_dev: str, *, is_made: bool = False) -> str:
    """Describe a checkpoint of one disk, and of no other.

    :param is_made: its bitmap is there; libvirt wants a time then, which
        means nothing to it
    """
    root = etree.Element('domaincheckpoint')
    etree.SubElement(root, 'name').text = checkpoint
    if is_made:
        etree.SubElement(root, 'creationTime').text = '0'
    disks = etree.SubElement(root, 'disks')
    etree.SubElement(disks, 'disk', name=target_dev, checkpoint='bitmap',
                     bitmap=checkpoint)
    return etree.tostring(root, encoding='unicode')


@dataclasses.dataclass(frozen=True)
class Base:
    """An image in Ceph, and the checkpoint since which a disk differs.

    :ivar fsid: of the cluster
    :ivar pool: of Glance's
    :ivar image_id: of the image, and its name there
    :ivar identity: what Ceph calls its data; another image of this name has
        another one
    :ivar size: of the disk, bytes
    :ivar depth: clones below it that are not flattened
    """

    fsid: str
    pool: str
    image_id: str
    identity: str
    size: int
    depth: int

    @property
    def checkpoint(self) -> str:
        """Return the name of the checkpoint."""
        return name(self.image_id)

    @property
    def snapshot(self) -> ceph_model.Name:
        """Return what the next image is cloned from."""
        return ceph_model.Name(self.pool, self.image_id,
                               ceph_model.GLANCE_SNAPSHOT)


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is remembered of the root disk of one guest.

    :ivar target_dev: of the disk
    :ivar base: None where the next image begins anew
    :ivar stale: checkpoints whose bitmaps could not be removed yet
    """

    target_dev: str
    base: Base | None = None
    stale: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, ty.Any]:
        """Return plain values, the same ones as are read again."""
        return {'version': VERSION, **dataclasses.asdict(self),
                'stale': list(self.stale)}

    @classmethod
    def from_dict(cls, values: cabc.Mapping[str, ty.Any]) -> 'Kept':
        """Rebuild what :meth:`to_dict` returned.

        :raises ValueError: when it is not that
        """
        try:
            if values['version'] != VERSION:
                raise ValueError(f'version {values["version"]}')
            base = values['base']
            return cls(str(values['target_dev']),
                       None if base is None else Base(**base),
                       tuple(map(str, values['stale'])))
        except (KeyError, TypeError) as exc:
            raise ValueError(str(exc)) from exc
