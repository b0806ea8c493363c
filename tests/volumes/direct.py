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

"""What the tests of root disks in Ceph share."""

import dataclasses
import json
import typing as ty

from tests.functional import kills
from tests.lab import ceph as ceph_module
from tests.lab.guest import ceph as guest_ceph
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof
from tests.lab import proxy
from tests.volumes import scene

# Of an instance of Nova's whose image has an agent.
NOVA = guest_domain.NovaMetadata(
    display_name='in Ceph', disk_format='raw',
    image_properties={'hw_qemu_guest_agent': 'yes'})

# Both of Glance's APIs for locations, to match faults with.
NEW_WAY = r'^/v2/images/[^/]+/locations$'

# Seconds for Glance to compute a hash after an image is active.
HASH_TIMEOUT = 60


class DirectTest(kills.KillTest):
    """A test on a guest in Ceph, and on a Glance that is there, too.

    :ivar ceph: the lab's
    :ivar between: the proxy through which the product asks Glance
    """

    def setUp(self) -> None:
        self.storage = scene.storage()
        self.ceph = self.storage.ceph
        super().setUp()
        self.lab = dataclasses.replace(
            self.lab, glance=self.storage.ceph_glance.start())
        self.between = proxy.Proxy(self.lab.glance.endpoint)
        self.addCleanup(self.between.stop)
        self.options['nova_snap']['endpoint'] = self.between.endpoint
        self.options['libvirt'].update(
            rbd_user=ceph_module.CLIENT,
            images_rbd_ceph_conf=str(self.ceph.config_file))
        self._images_before = set(self.images())
        # What other tests have left in the pool of Glance's.
        self._data_before = set(self.ceph.images(ceph_module.IMAGES))

    def ceph_guest(self, *, shared: bool = True) -> guest_ceph.CephGuest:
        """Boot a guest whose agent answers.

        :param shared: until the class is over
        """
        guest = self.kept('ceph', lambda: guest_ceph.CephGuest.make(
            self.lab.libvirtd, self.ceph, agent='run', nova=NOVA),
            shared=shared)
        self.await_agent(guest)
        return guest

    def agent_guest(self) -> guest_ceph.CephGuest:
        """Return the guest of the tests of kills."""
        return self.ceph_guest()

    def _power_cycle_once(self, *_: ty.Any) -> None:
        """Do nothing: no step touches the definition of such a guest."""

    def create(self, guest: guest_domain.Guest, *arguments: str,
               expected: int = 0) -> dict[str, ty.Any]:
        """Run image-create and return its image, or what it printed."""
        ended = self.child('image-create', guest.spec.name, 'image',
                           '--json', *arguments)
        self.assertEqual(expected, ended.code, ended.stdout + ended.stderr)
        if expected:
            return {'stderr': ended.stderr}
        said = json.loads(ended.stdout)
        return self.image(said['images'][0]['image_id'])

    def planned(self, guest: guest_domain.Guest) -> str:
        """Return what ``--dry-run`` says."""
        ended = self.child('image-create', guest.spec.name, 'image',
                           '--dry-run')
        self.assertEqual(0, ended.code, ended.stderr)
        return ended.stdout + ended.stderr

    def forbid_locations(self) -> None:
        """Answer 403 wherever a location is to be added."""
        self.between.inject(proxy.Fault('POST', NEW_WAY, nth=None,
                                        status=403))

    def assert_nothing_left(self, *image_ids: str) -> None:
        """Assert that nothing is left in either pool, too."""
        super().assert_nothing_left(*image_ids)
        self.assertEqual(
            sorted(image_ids),
            sorted(set(self.ceph.images(ceph_module.IMAGES))
                   - self._data_before))
        guest = self._shared.get((type(self), 'ceph'))
        if guest is not None:
            self.assertEqual([], self.ceph.snapshots(
                ty.cast(guest_ceph.CephGuest, guest).disk,
                ceph_module.DISKS))

    def assert_content(self, image: dict[str, ty.Any]) -> None:
        """Assert that Ceph has a whole disk for an image."""
        path = self.folder / 'content'
        self.ceph.export(f'{image["id"]}@snap', path, ceph_module.IMAGES)
        self.assertEqual(image['size'], path.stat().st_size)
        proof.assert_sound(path, 'raw')
        path.unlink()

    def hashed(self, image_id: str) -> dict[str, ty.Any]:
        """Return an image when Glance has computed its hash."""
        process.wait_until(
            lambda: self.image(image_id)['os_hash_value'] is not None,
            timeout=HASH_TIMEOUT, what='the hash of the image')
        return self.image(image_id)
