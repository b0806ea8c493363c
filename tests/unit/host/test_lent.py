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

import os
import pathlib
import stat

import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.host import files as files_module

QEMU = 4242


class LentTestCase(base.BaseTestCase):
    """A directory where QEMU writes, and we do not."""

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'qemu')
        self.files = files_module.Files()

    def owner(self):
        return self.path.stat().st_uid

    def test_without_a_known_user_it_is_ours_and_taken_back(self):
        self.files.make_lent(str(self.path), None)
        self.assertEqual((os.geteuid(), files_module.LENT_MODE),
                         (self.owner(), stat.S_IMODE(
                             self.path.stat().st_mode)))
        self.files.take_back(str(self.path))
        self.assertEqual(os.geteuid(), self.owner())

    def test_it_is_qemus_and_taken_back(self):
        if os.geteuid() != 0:
            self.skipTest('only root can give directories away')
        self.files.make_lent(str(self.path), QEMU)
        self.assertEqual(QEMU, self.owner())
        self.files.take_back(str(self.path))
        self.assertEqual(0, self.owner())

    def test_one_that_is_gone_is_taken_back(self):
        self.files.take_back(str(self.path))
        self.files.take_back(str(self.path / 'below'))

    def test_a_link_in_its_place_is_not_followed(self):
        other = self.path.with_name('other')
        other.mkdir()
        self.path.symlink_to(other)
        self.assertRaises(errors.StorageError, self.files.take_back,
                          str(self.path))
