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

import fcntl
import os
import pathlib
import struct

import fixtures
from oslotest import base

from nova_snap.host import qemu_locks


class QemuLocksTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / 'delta'

    def test_a_lock_as_qemu_has_it_is_seen(self):
        self.path.write_bytes(b'')
        self.assertFalse(qemu_locks.are_held(str(self.path)))
        with open(self.path, 'rb') as file:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(
                'hhqqi4x', fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0))
            self.assertTrue(qemu_locks.are_held(str(self.path)))
        self.assertFalse(qemu_locks.are_held(str(self.path)))

    def test_a_file_system_that_shows_locks(self):
        self.path.write_bytes(b'')
        self.assertTrue(qemu_locks.are_shown(str(self.path)))
        # The one that it had for a moment is gone.
        self.assertFalse(qemu_locks.are_held(str(self.path)))

    def test_a_lock_is_asked_of_no_server(self):
        self.path.write_bytes(b'')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.file_systems.file_system_type',
            lambda path: 'nfs4'))
        self.assertFalse(qemu_locks.are_shown(str(self.path)))

    def test_where_none_is_shown(self):
        self.path.write_bytes(b'')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.qemu_locks.LOCKS', self.folder / 'locks'))
        (self.folder / 'locks').write_text('')
        for name in 'delta', 'gone':
            self.assertFalse(qemu_locks.are_shown(str(self.folder / name)))

    def test_on_a_file_that_is_gone_no_lock_is_seen(self):
        self.assertFalse(qemu_locks.are_held(str(self.path / 'gone')))
