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

"""Clones that a real manager of Ceph flattens."""

import uuid

import fixtures

from nova_snap.model import ceph as ceph_model
from nova_snap.model import layer as layer_model
from nova_snap.steps import ceph as ceph_step
from nova_snap import units
from tests.functional import base
from tests.lab import ceph as ceph_module
from tests.lab import process
from tests.volumes import direct

SIZE = 512 * units.MiB
PART = 4 * units.MiB
# Seconds for a manager to begin.
TIMEOUT = 30


class ManagerTestCase(direct.DirectTest):

    def take_whole(self):
        guest = self.ceph_guest()
        before = base.look(guest)
        result = self.take(guest)
        self.assert_guest_untouched(guest, before)
        image = self.image(result.images[0].image_id)
        self.assert_nothing_left(image['id'])
        self.assert_content(image)

    def test_no_byte_of_it_comes_through_this_host(self):
        flatten = self.useFixture(fixtures.MockPatch(
            'nova_snap.host.rbd.Ceph.flatten')).mock

        self.take_whole()

        flatten.assert_not_called()

    def test_without_a_manager_this_host_does_it(self):
        self.ceph.stand_still('mgr')
        self.addCleanup(self.ceph.go_on, 'mgr')

        self.take_whole()


class KillsTestCase(direct.DirectTest):
    """This host flattens the clone."""

    def setUp(self):
        super().setUp()
        self.options['nova_snap']['rbd_flatten'] = 'host'
        self.arguments = self.image_create(
            self.agent_guest(), ('image-create', '{}', 'image'))

    def test_before_the_flatten_and_after_it(self):
        self.sweep(self.agent_guest(), *self.arguments, near='flatten')

    def test_within_the_flatten(self):
        self.kill_and_recover(self.agent_guest(), *self.arguments,
                              inside='progress:flatten')


class UndoTestCase(direct.DirectTest):
    """A clone with so many data that a manager is still at it."""

    def test_a_clone_that_a_manager_flattens_goes(self):
        world = self.node().world
        client = layer_model.CephClient(ceph_module.CLIENT,
                                        str(self.ceph.config_file))
        ceph = world.ceph(client)
        disk = ceph_model.Name(ceph_module.DISKS, f'{uuid.uuid4()}_disk',
                               'one')
        ceph.create(disk, SIZE)
        self.addCleanup(ceph.remove, disk)
        self.addCleanup(ceph.remove_snapshot, disk)
        with ceph.opened(disk.at(''), read_only=False) as opened:
            for offset in range(0, SIZE, PART):
                opened.write_later(offset, b'x' * PART)
            opened.flush()
        ceph.create_snapshot(disk)
        clone = ceph_step.CloneDisk(
            conf=client.conf, user=client.user,
            parent=[disk.pool, disk.image, disk.snapshot],
            pool=ceph_module.IMAGES, image_id=str(uuid.uuid4()), owner=None)
        clone.do(world)
        ceph.add_flatten(clone.name)
        process.wait_until(
            lambda: any(task.share for task in ceph.flattening(clone.name)),
            timeout=TIMEOUT, what='a manager that flattens')

        clone.undo(world)

        self.assertIsNone(ceph.find(clone.name))
        self.assertEqual([], ceph.flattening(clone.name))
