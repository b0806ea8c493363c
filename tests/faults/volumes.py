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

"""Guests on volumes."""

import json

from tests.faults import flows as flows_module
from tests.faults import scene as scene_module
from tests.faults import world
from tests.lab.guest import domain as guest_domain
from tests.lab.guest import volumes as guest_volumes
from tests.lab import proxy
from tests.lab import storage as storage_module

# Of an instance of Nova's that was booted from a volume, and whose image has
# an agent.
NOVA = guest_domain.NovaMetadata(
    display_name='from a volume', image_id='', disk_format='raw',
    image_properties={'hw_qemu_guest_agent': 'yes',
                      'os_require_quiesce': 'yes', 'img_bdm_v2': 'True',
                      'img_root_device_name': '/dev/vda'})
MAPPING = 'block_device_mapping'


class Volumes:
    """Cinder and what was there before the campaign.

    :ivar between: the proxy in front of it
    """

    def __init__(self, scene: scene_module.Scene,
                 storage: storage_module.Storage) -> None:
        """Make what the guests' volumes are made of."""
        self._scene = scene
        self._storage = storage
        self._root = guest_volumes.root_snapshot(self._storage, scene.glance)
        self._cinder = self._storage.cinder
        scene.secrets.append(self._storage.ceph.key())
        self._known = {one['id'] for one in self._cinder.snapshots()}
        self.between = proxy.Proxy(
            self._cinder.endpoint.removesuffix('/v3'))
        scene.makers[flows_module.Kind.VOLUMES] = lambda kind: self.guest()
        scene.sections[flows_module.Store.CINDER] = {'cinder': {
            'endpoint_template': f'{self.between.endpoint}/v3'}}

    def stop(self) -> None:
        """End the proxy."""
        self.between.stop()

    def guest(self) -> guest_volumes.VolumeGuest:
        """Make a guest with a root volume and another one."""
        made = [self._cinder.make('volume', size=guest_volumes.SIZE,
                                  snapshot_id=self._root),
                self._cinder.make('volume', size=guest_volumes.SIZE)]
        return guest_volumes.VolumeGuest.attach(
            self._scene.libvirtd, self._storage, made, agent='run',
            nova=NOVA)

    def problems(self, images: list[scene_module.Json]) -> list[str]:
        """Say which snapshots no image names, and which an image lacks.

        Also what is wrong with the images, which have no data.
        """
        named = {entry['snapshot_id'] for image in images
                 for entry in json.loads(image.get(MAPPING, '[]'))}
        new = {one['id']: one['status'] for one in self._cinder.snapshots()
               if one['id'] not in self._known}
        said = [f'{world.LEFT}: snapshot {one} ({status}) of a volume'
                for one, status in new.items() if one not in named]
        said += [f'{world.LOST}: snapshot {one} of a volume is '
                 f'{new.get(one, "gone")}'
                 for one in named if new.get(one) != 'available']
        said += [f'{world.LOST}: image {image["id"]} is {image["status"]} '
                 f'and has {image["size"]} bytes' for image in images
                 if image['status'] != 'active' or image['size']]
        for one in new:
            self._cinder.delete('snapshot', one)
        return said
