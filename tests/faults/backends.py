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


"""What some flows alone need; it comes up with the first of them."""

from tests.faults import flows as flows_module
from tests.faults import in_ceph
from tests.faults import scene as scene_module
from tests.faults import volumes
from tests.lab.guest import domain as guest_domain
from tests.lab.guest import volumes as guest_volumes
from tests.lab import proxy
from tests.lab import storage as storage_module


class Backends:
    """Cinder and Ceph, as far as they were needed."""

    def __init__(self, scene: scene_module.Scene) -> None:
        self._scene = scene
        self._storage: storage_module.Storage | None = None
        self._volumes: volumes.Volumes | None = None
        self._in_ceph: in_ceph.InCeph | None = None

    def turn_to(self, store: flows_module.Store) -> None:
        """Let the next snapshots go to this store.

        :raises LabError: when what it needs does not start
        """
        if store == flows_module.Store.CINDER and self._volumes is None:
            self._volumes = volumes.Volumes(self._scene, self._started())
        if store == flows_module.Store.CEPH and self._in_ceph is None:
            self._in_ceph = in_ceph.InCeph(self._scene, self._started())
        self._scene.store = self._scene.stores[store]

    def let_start(self, flow: flows_module.Flow) -> None:
        """Let a guest be started again.

        libvirt may have forgotten the key to its disks.
        """
        if flow.kind in flows_module.REMOTE:
            storage = self._started()
            guest_volumes.tell_secret(self._scene.libvirtd, storage.ceph)

    def proxies(self) -> dict[str, proxy.Proxy]:
        """Return the proxies, by the service that each stands before."""
        found = {'glance': self._scene.between}
        if self._volumes is not None:
            found['cinder'] = self._volumes.between
        return found

    def problems(self, flow: flows_module.Flow, guest: guest_domain.Guest,
                 images: list[scene_module.Json]) -> list[str]:
        """Say what is left there, or lost, but for the images' own data.

        :param images: that the case has left
        """
        if flow.store == flows_module.Store.CINDER:
            assert self._volumes is not None
            return self._volumes.problems(images)
        if flow.store == flows_module.Store.CEPH:
            assert self._in_ceph is not None
            return self._in_ceph.problems(guest, images)
        return []

    def stop(self) -> None:
        """End the proxies, and the rest where it is the campaign's."""
        if self._volumes is not None:
            self._volumes.stop()
        if self._storage is not None and not self._scene.is_shared:
            self._storage.stop()

    def _started(self) -> storage_module.Storage:
        if self._storage is None:
            self._storage = storage_module.Storage(
                self._scene.run_dir, self._scene.stores[
                    flows_module.Store.FILES].glance)
            self._storage.start()
        return self._storage
