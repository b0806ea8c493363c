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

"""Guests and images in Ceph; it comes up with the first flow that needs it."""

from tests.faults import flows as flows_module
from tests.faults import scene as scene_module
from tests.faults import stores
from tests.faults import world
from tests.lab import ceph as ceph_module
from tests.lab.guest import ceph as guest_ceph
from tests.lab.guest import domain as guest_domain
from tests.lab import storage as storage_module

# Of an instance of Nova's whose image has an agent.
NOVA = guest_domain.NovaMetadata(
    display_name='in Ceph', disk_format='raw',
    image_properties={'hw_qemu_guest_agent': 'yes'})


class InCeph:
    """What is in Ceph, and what was there before the campaign."""

    def __init__(self, scene: scene_module.Scene,
                 storage: storage_module.Storage) -> None:
        """Start the Glance whose images lie there, unless it runs.

        :raises LabError: when it does not start
        """
        self._scene = scene
        self._ceph = storage.ceph
        self._known = set(self._ceph.images(ceph_module.IMAGES))
        self.store = stores.CephStore(storage.ceph_glance.start(),
                                      self._ceph, scene.folder)
        scene.stores[flows_module.Store.CEPH] = self.store
        scene.ceph = self._ceph
        scene.secrets.append(self._ceph.key())
        scene.makers[flows_module.Kind.IN_CEPH] = lambda kind: self.guest()
        scene.sections[flows_module.Store.CEPH] = {
            'libvirt': {
                'rbd_user': ceph_module.CLIENT,
                'images_rbd_ceph_conf': str(self._ceph.config_file)},
            'nova_snap': {'rbd_glance_pool': ceph_module.IMAGES}}

    def guest(self) -> guest_ceph.CephGuest:
        """Make a guest whose disk is there."""
        return guest_ceph.CephGuest.make(
            self._scene.libvirtd, self._ceph, agent='run', nova=NOVA)

    def problems(self, guest: guest_domain.Guest,
                 images: list[scene_module.Json]) -> list[str]:
        """Say what is in Ceph that no image names."""
        named = {image['id'] for image in images} | self._scene.spared
        there = set(self._ceph.images(ceph_module.IMAGES)) - self._known
        said = [f'{world.LEFT}: {name} in pool {ceph_module.IMAGES}'
                for name in there - named]
        said += [f'{world.LOST}: image {name} has no data in Ceph'
                 for name in named - there]
        if isinstance(guest, guest_ceph.CephGuest):
            said += [f'{world.LEFT}: snapshot {name} of the disk'
                     for name in self._ceph.snapshots(guest.disk,
                                                      ceph_module.DISKS)]
        for name in there - named:
            self._ceph.remove(name, ceph_module.IMAGES)
        return said
