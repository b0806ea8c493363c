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

"""The contract of Glance's locations, on the real one, in a real Ceph."""

import os

from keystoneauth1 import token_endpoint
from oslotest import base

from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap.services.glance import images as images_module
from nova_snap.services import sessions
from nova_snap import units
from tests.contract import locations as locations_contract
from tests.lab import ceph as ceph_module
from tests.lab import glance as glance_module
from tests.volumes import scene

# Seconds for an answer of a Glance on this machine.
TIMEOUT = 60
PROJECT = glance_module.IDENTITY.split(':')[1]


class RealSide:
    """The lab's Glance in Ceph."""

    def __init__(self) -> None:
        storage = scene.storage()
        self.data = os.urandom(units.MiB)
        self.made: list[ceph_model.Name] = []
        self.endpoint = storage.ceph_glance.start().endpoint
        self.ceph = rbd_module.Ceph(
            str(storage.ceph.config_file), ceph_module.CLIENT,
            connect_timeout=TIMEOUT)

    def put(self, image_id: str) -> str:
        name = ceph_model.Name(ceph_module.IMAGES, image_id, 'snap')
        self.ceph.create(name, len(self.data))
        self.made.append(name)
        with self.ceph.opened(name.at(''), read_only=False) as image:
            image.write(0, self.data)
            image.flush()
        self.ceph.create_snapshot(name)
        self.ceph.protect_snapshot(name)
        return name.location(self.ceph.fsid())

    def as_service(self) -> images_module.Images:
        return self._images('admin,member,reader,service')

    def as_member(self) -> images_module.Images:
        return self._images('member,reader')

    def _images(self, roles: str) -> images_module.Images:
        return images_module.Images(sessions.make_session(
            token_endpoint.Token(self.endpoint, f'ann:{PROJECT}:{roles}'),
            {'timeout': TIMEOUT}), {})


class RealTestCase(locations_contract.LocationContract, base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.side = RealSide()
        self.images = []
        self.addCleanup(self.clean)

    def make(self):
        self.images.append(super().make())
        return self.images[-1]

    def clean(self):
        for image_id in self.images:
            self.side.as_service().delete(image_id)
        for name in self.side.made:
            self.side.ceph.remove_snapshot(name)
            self.side.ceph.remove(name)
