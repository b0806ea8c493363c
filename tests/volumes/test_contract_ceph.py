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

"""The contract of Ceph, on the real one, and what only that one does."""

import os
import signal
import time

from oslotest import base

from nova_snap.host import rbd as rbd_module
from nova_snap.host import rbd_client
from nova_snap.model import ceph as ceph_model
from tests.contract import ceph as ceph_contract
from tests.lab import ceph as ceph_module
from tests.volumes import scene

# Seconds for a connection, and for an operation: several make up a call.
TIMEOUT = 2
LONG = 10 * TIMEOUT


class RealTestCase(ceph_contract.CephContract, base.BaseTestCase):

    disks, images = ceph_module.DISKS, ceph_module.IMAGES

    def setUp(self):
        super().setUp()
        self.lab = scene.storage().ceph
        self.ceph = self.client(ceph_module.CLIENT)
        self.reader = self.client(ceph_module.READER)

    def make_disk(self):
        name = super().make_disk()
        self.addCleanup(self.remove, name)
        return name

    def make_clone(self):
        snapshot, clone = super().make_clone()
        self.addCleanup(self.remove, clone)
        return snapshot, clone

    def remove(self, name):
        """Remove an image, with the snapshot that a test may have made."""
        self.ceph.remove_snapshot(name)
        self.ceph.remove(name)

    def client(self, user, config_file=None,
               timeout=rbd_client.OPERATION_SECONDS):
        return rbd_module.Ceph(str(config_file or self.lab.config_file), user,
                               connect_timeout=TIMEOUT,
                               operation_timeout=timeout)

    def let_clone(self, version):
        self.lab.let_clone(version)

    def test_extents_are_those_with_data(self):
        snapshot = self.make_disk()
        with self.ceph.opened(snapshot.at(''), read_only=False) as disk:
            disk.write(ceph_contract.SIZE // 2, b'more')
            disk.flush()
            found = disk.extents()

        self.assertEqual([0, ceph_contract.SIZE // 2],
                         [offset for offset, _, _ in found])

    def test_a_client_that_has_no_key_here_hears_which(self):
        error = self.assertRaises(ceph_model.Refused,
                                  self.client('stranger').fsid)

        self.assertIn('client.stranger', str(error))
        self.assertIn('keyring', str(error))

    def test_monitors_that_are_down_are_named_in_time(self):
        config = self.lab.folder / 'nowhere.conf'
        config.write_text('[global]\nmon host = 127.0.0.1:1\nkeyring = '
                          f'{self.lab.folder}/keyring\n')
        began = time.monotonic()

        error = self.assertRaises(
            ceph_model.Unavailable,
            self.client(ceph_module.CLIENT, config).fsid)

        self.assertIn('127.0.0.1:1', str(error))
        self.assertLess(time.monotonic() - began, LONG)

    def test_a_manager_that_is_silent_ends_a_call_in_time(self):
        _, clone = self.make_clone()
        self.lab.stand_still('mgr')
        self.addCleanup(self.lab.go_on, 'mgr')
        began = time.monotonic()

        self.assertRaises(ceph_model.Unavailable, self.ceph.flattening,
                          clone)

        self.assertLess(time.monotonic() - began, LONG)

    def test_an_osd_that_is_silent_ends_a_call_in_time(self):
        _, clone = self.make_clone()
        osd = self.lab.osd_pid()
        self.addCleanup(os.kill, osd, signal.SIGCONT)
        os.kill(osd, signal.SIGSTOP)
        began = time.monotonic()

        ceph = self.client(ceph_module.CLIENT, timeout=TIMEOUT)
        error = self.assertRaises(ceph_model.Unavailable, ceph.find, clone)

        self.assertIn('HEALTH_', str(error))
        self.assertLess(time.monotonic() - began, LONG)
