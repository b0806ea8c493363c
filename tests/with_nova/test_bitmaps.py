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

"""Bitmaps of ours, and Nova's own work on the disks that have them."""

import json
from unittest import mock

from tests.fakes import disk as fake_disk
from tests.with_nova import scene

NOVAS = 'nova.virt.libvirt.driver.LibvirtDriver.finish_migration'
OURS = 'nova_snap-11111111-1111-4111-8111-111111111111'
OTHERS = 'monday'


class FinishMigrationTestCase(scene.SceneTestCase):

    def setUp(self):
        super().setUp()
        self.guest.destroy()
        self.disk = self.fake.disks[0]
        file = fake_disk.DiskFile.load(self.disk)
        file.bitmaps = [OURS, OTHERS]
        file.save(self.disk)
        self.found = []
        self.novas = self.useFixture(scene.fixtures.MockPatch(
            NOVAS, side_effect=lambda *args, **kwargs:
                self.found.append(self.bitmaps()))).mock

    def bitmaps(self):
        return fake_disk.DiskFile.load(self.disk).bitmaps

    def finish(self, *disks):
        """Finish a migration; return with what Nova was called."""
        info = json.dumps(disks)
        self.start_driver().finish_migration(
            self.context, mock.sentinel.migration, self.instance, info,
            mock.sentinel.network, mock.sentinel.image, True, {},
            power_on=False)
        self.novas.assert_called_once_with(
            self.context, mock.sentinel.migration, self.instance, info,
            mock.sentinel.network, mock.sentinel.image, True, {},
            power_on=False)

    def test_ours_are_gone_when_novas_turn_comes(self):
        self.finish({'type': 'qcow2', 'path': self.disk})
        self.assertEqual([[OTHERS]], self.found)

    def test_a_raw_disk_has_none(self):
        self.finish({'type': 'raw', 'path': self.disk})
        self.assertEqual([[OURS, OTHERS]], self.found)

    def test_one_disk_that_is_not_there_keeps_no_other_from_it(self):
        self.finish({'type': 'qcow2', 'path': '/nowhere/disk'},
                    {'type': 'qcow2', 'path': self.disk})
        self.assertEqual([[OTHERS]], self.found)

    def test_one_that_cannot_be_removed_does_not_stop_nova(self):
        self.calls.fail_named('bitmap --remove')
        self.finish({'type': 'qcow2', 'path': self.disk})
        self.assertEqual([[OURS, OTHERS]], self.found)

    def test_nor_does_what_is_not_understood(self):
        self.finish('disk')
        self.assertEqual([[OURS, OTHERS]], self.found)
