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

"""A Ceph with the root disk of a guest, and with Glance's images."""

import collections.abc as cabc
import pathlib
import typing as ty

from nova_snap.model import ceph as ceph_model
from tests.fakes.ceph import cluster as fake_cluster

IMAGES = 'images'


class GuestDisk(fake_cluster.Image):
    """An image that a guest writes to.

    :param read: returns what is on it now, and remembers the moment
    """

    def __init__(self, read: cabc.Callable[[], bytes], size: int) -> None:
        self._read = read
        super().__init__(b'', size)

    @property
    def data(self) -> bytes:
        return self._read()

    @data.setter
    def data(self, value: bytes) -> None:
        pass


class DiskCluster(fake_cluster.FakeCluster):
    """The cluster. QEMU finds each snapshot of the disk as a file, too.

    :ivar has_bindings: Python's modules of Ceph's are installed here
    """

    def __init__(self, path: pathlib.Path, size: int,
                 read: cabc.Callable[[], bytes]) -> None:
        self._path = path
        super().__init__(path.parent.name, IMAGES)
        self.disk = GuestDisk(read, size)
        self.pools[path.parent.name][path.name] = self.disk
        self.has_bindings = False

    def create_snapshot(self, name: ceph_model.Name) -> None:
        super().create_snapshot(name)
        found = self.pools[name.pool][name.image]
        if found is self.disk:
            self._file(name).write_bytes(found.snapshots[name.snapshot].data)

    def remove_snapshot(self, name: ceph_model.Name) -> None:
        super().remove_snapshot(name)
        self._file(name).unlink(missing_ok=True)

    def pool(self, call: str, pool: str, *,
             writes: bool = False) -> dict[str, fake_cluster.Image]:
        # Nova deletes it as any other.
        if not self._path.exists():
            self.pools[self._path.parent.name].pop(self._path.name, None)
        return super().pool(call, pool, writes=writes)

    def left(self, kept: cabc.Collection[str]) -> tuple[str, ...]:
        """Name what is neither a disk nor the data of an image.

        :param kept: the names of those
        """
        return (*self.disk.snapshots,
                *sorted(set(self.pools[IMAGES]) - set(kept)))

    def _file(self, name: ceph_model.Name) -> pathlib.Path:
        return self._path.with_name(f'{name.image}@{name.snapshot}')


class ImagesCluster(fake_cluster.FakeCluster):
    """A cluster with Glance's images alone."""

    has_bindings = True

    def __init__(self) -> None:
        super().__init__(IMAGES)

    def left(self, kept: cabc.Collection[str]) -> tuple[str, ...]:
        """Name what is not the data of an image."""
        return tuple(sorted(set(self.pools[IMAGES]) - set(kept)))


class NoCluster:
    """What is there for a guest whose disks lie elsewhere."""

    has_bindings = False

    def left(self, kept: cabc.Collection[str]) -> tuple[str, ...]:
        return ()

    def content(self, url: str) -> ty.Any:
        return None
