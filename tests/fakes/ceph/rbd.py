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

"""What one process of ours sees of a fake Ceph."""

import collections.abc as cabc
import contextlib
import hashlib
import typing as ty

from nova_snap.host import rbd as rbd_module
from nova_snap.host import rbd_opened
from nova_snap.model import ceph as ceph_model
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import cluster as fake_cluster

OUTSIDE = 'ceph'


class FakeOpened(rbd_opened.Opened):
    """An image that is open."""

    def __init__(self, cluster: fake_cluster.FakeCluster,
                 name: ceph_model.Name) -> None:
        image = cluster.image('open', name, writes=False)
        found: fake_cluster.Image | fake_cluster.Snapshot = image
        if name.snapshot:
            try:
                found = image.snapshots[name.snapshot]
            except KeyError:
                raise cluster.error(ceph_model.Gone, 'open', name,
                                    'no such snapshot') from None
        self._found = found
        self._later: list[tuple[int, bytes]] = []
        self.size_bytes = found.size

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size_bytes)
        data = self._found.data[offset:end]
        return data.ljust(end - offset, b'\0')

    def write(self, offset: int, data: bytes) -> None:
        before = self._found.data.ljust(offset, b'\0')
        self._found.data = (before[:offset] + data
                            + before[offset + len(data):])

    def write_later(self, offset: int, data: bytes) -> None:
        self._later.append((offset, data))

    def write_zeros(self, offset: int, length: int) -> None:
        self.write(offset, bytes(length))

    def flush(self) -> None:
        # Until then any part of it may be there.
        for offset, data in self._later:
            if offset + len(data) > self.size_bytes:
                raise ceph_model.CephError(
                    call='write', name='it', client='client.nova',
                    reason='Invalid argument')
            self.write(offset, data)
        self._later.clear()

    def assert_flushed(self) -> None:
        """Assert that all that was written is safe."""
        assert not self._later

    def extents(self) -> list[tuple[int, int, bool]]:
        return [(0, len(self._found.data), True)] if self._found.data else []


class FakeCeph(rbd_module.Ceph):
    """One process's way to a fake Ceph."""

    def __init__(self, cluster: fake_cluster.FakeCluster,
                 calls: fake_calls.Calls) -> None:
        self._cluster = cluster
        self._calls = calls
        self.client = cluster.client

    def fsid(self) -> str:
        def look() -> str:
            if self._cluster.is_down:
                raise self._unavailable('look at', 'the cluster')
            return self._cluster.fsid

        return ty.cast(str, self._make('look at', 'the cluster', look,
                                       changes=False))

    def check_writable(self, pool: str) -> None:
        self._make('write to', f'pool {pool}', lambda: self._cluster.pool(
            'write to', pool, writes=True), changes=False)

    def find(self, name: ceph_model.Name) -> ceph_model.Image | None:
        return ty.cast(ceph_model.Image | None, self._make(
            'look at', name, lambda: self._cluster.look(name),
            changes=False))

    def create_snapshot(self, name: ceph_model.Name) -> None:
        self._make('snapshot', name,
                   lambda: self._cluster.create_snapshot(name))

    def protect_snapshot(self, name: ceph_model.Name) -> None:
        self._make('protect', name,
                   lambda: self._cluster.protect_snapshot(name))

    def remove_snapshot(self, name: ceph_model.Name) -> None:
        self._make('remove', name,
                   lambda: self._cluster.remove_snapshot(name))

    def clone(self, parent: ceph_model.Name, child: ceph_model.Name) -> None:
        self._make('clone', parent,
                   lambda: self._cluster.clone(parent, child))

    def flatten(self, name: ceph_model.Name,
                progress: rbd_module.Progress) -> None:
        # Half way through nothing is seen of it: it is a clone still.
        self._make('flatten', name,
                   lambda: self._cluster.flatten(name, progress),
                   half=lambda: None)

    def add_flatten(self, name: ceph_model.Name) -> None:
        self._make('have a manager flatten', name,
                   lambda: self._cluster.add_flatten(name))

    def flattening(self, name: ceph_model.Name) -> list[ceph_model.Task]:
        return ty.cast('list[ceph_model.Task]', self._make(
            'ask a manager of', name,
            lambda: self._cluster.flattening(name), changes=False))

    def cancel_flatten(self, name: ceph_model.Name) -> None:
        self._make('have no manager flatten', name,
                   lambda: self._cluster.cancel_flatten(name))

    def sha512(self, name: ceph_model.Name,
               progress: rbd_module.Progress) -> str:
        def read() -> str:
            data = FakeOpened(self._cluster, name)
            progress(data.size_bytes, data.size_bytes)
            return hashlib.sha512(data.read(0, data.size_bytes)).hexdigest()

        return ty.cast(str, self._make('hash', name, read, changes=False))

    def create(self, name: ceph_model.Name, size: int) -> None:
        self._make('create', name, lambda: self._cluster.create(name, size))

    def remove(self, name: ceph_model.Name) -> None:
        self._make('remove image', name, lambda: self._cluster.remove(name))

    def fill(self, name: ceph_model.Name,
             write: cabc.Callable[[rbd_opened.Opened],
                                  rbd_module.Result]) -> rbd_module.Result:
        def fill() -> rbd_module.Result:
            if self._cluster.is_full:
                raise self._cluster.error(ceph_model.Full, 'write', name,
                                          'it is full')
            opened = FakeOpened(self._cluster, name)
            result = write(opened)
            opened.assert_flushed()
            return result

        # What is written of it half way is worth nothing.
        return ty.cast(rbd_module.Result, self._make(
            'fill', name, fill, half=lambda: None))

    @contextlib.contextmanager
    def opened(self, name: ceph_model.Name, *,
               read_only: bool = True) -> cabc.Iterator[FakeOpened]:
        yield self._make('open', name,
                         lambda: FakeOpened(self._cluster, name),
                         changes=False)

    def _unavailable(self, call: str,
                     name: object) -> ceph_model.CephError:
        return self._cluster.error(ceph_model.Unavailable, call, name,
                                   'no monitor answers')

    def _make(self, call: str, name: object,
              effect: cabc.Callable[[], ty.Any], *, changes: bool = True,
              half: cabc.Callable[[], None] | None = None) -> ty.Any:
        return self._calls.make(
            OUTSIDE, call, effect, words=str(name), changes=changes,
            half=half, error=lambda: self._unavailable(call, name))
