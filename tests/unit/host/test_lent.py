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

from nova_snap import errors
from tests.unit.host import test_files


class LentTestCase(test_files.FilesTestCase):

    QEMU = 64055

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('only root gives a directory to another user')
        self.path = self.folder / 'nova_snap-1'
        self.files.make_scratch(str(self.path))
        self.lent = self.path / 'qemu'

    def test_what_qemu_makes_there_is_of_our_group(self):
        os.umask(0o077)
        self.files.make_lent(str(self.lent), self.QEMU)
        figures = self.lent.stat()
        self.assertEqual((self.QEMU, os.getegid()),
                         (figures.st_uid, figures.st_gid))
        self.assertEqual(0o2770, self.mode(self.lent))

    def test_without_a_user_it_is_ours(self):
        self.files.make_lent(str(self.lent), None)
        self.assertEqual(os.geteuid(), self.lent.stat().st_uid)

    def test_a_file_is_lent_and_taken_back(self):
        file = self.path / 'scratch-vda.qcow2'
        file.touch(0o600)
        self.files.lend(str(file), self.QEMU)
        self.assertEqual(self.QEMU, file.stat().st_uid)
        self.files.own(str(file))
        self.assertEqual(os.geteuid(), file.stat().st_uid)

    def test_a_link_in_place_of_a_file_is_not_lent(self):
        other = self.folder / 'other'
        other.touch(0o600)
        for name, make in (('link', pathlib.Path.symlink_to),
                           ('second-name', pathlib.Path.hardlink_to)):
            place = self.path / name
            make(place, other)
            self.assertRaises(errors.StorageError, self.files.lend,
                              str(place), self.QEMU)
        self.assertEqual(os.geteuid(), other.stat().st_uid)

    def test_it_is_taken_back_and_removed(self):
        self.files.make_lent(str(self.lent), self.QEMU)
        (self.lent / 'nbd').touch()
        self.files.take_back(str(self.lent))
        self.assertEqual(os.geteuid(), self.lent.stat().st_uid)
        self.files.remove_scratch(str(self.path))
        self.assertFalse(self.path.exists())

    def test_one_that_is_absent_is_ours(self):
        self.files.take_back(str(self.lent))
        self.path.rmdir()
        self.files.take_back(str(self.lent))

    def test_a_link_in_its_place_is_refused(self):
        other = self.folder / 'other'
        other.mkdir()
        os.chown(other, self.QEMU, -1)
        self.lent.symlink_to(other)
        self.assertRaises(errors.StorageError, self.files.take_back,
                          str(self.lent))
        self.assertEqual(self.QEMU, other.stat().st_uid)
