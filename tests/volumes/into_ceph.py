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

"""A guest on local files, and a Glance whose images lie in Ceph."""

import dataclasses

from tests.functional import kills
from tests.lab import ceph as ceph_module
from tests.volumes import scene


class IntoCephTest(kills.KillTest):
    """A guest on a local file, and a Glance whose images lie in Ceph."""

    def setUp(self):
        storage = scene.storage()
        self.ceph = storage.ceph
        super().setUp()
        self.lab = dataclasses.replace(
            self.lab, glance=storage.ceph_glance.start())
        self.options['nova_snap']['endpoint'] = self.lab.glance.endpoint
        self._images_before = set(self.images())
        self.options['libvirt'] |= {
            'rbd_user': ceph_module.CLIENT,
            'images_rbd_ceph_conf': str(self.ceph.config_file)}
        self.options['nova_snap'] |= {
            'live_method': 'backup', 'deliver': 'rbd',
            'rbd_glance_pool': ceph_module.IMAGES}

    def in_pool(self):
        return self.ceph.images(ceph_module.IMAGES)

    def assert_nothing_left(self, *image_ids):
        """Also in the pool."""
        super().assert_nothing_left(*image_ids)
        self.assertEqual(sorted(image_ids), self.in_pool())
