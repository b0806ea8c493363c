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

"""The storage of snapshots_directory hangs, or breaks, at the worst moment.

Upstream's guest stays frozen for as long as it hangs.
"""

import os
import threading
import time

import fixtures

from nova_snap import errors
from nova_snap import units
from tests.functional import base

SIZE = units.GiB

# Seconds: for the end of a mirror, and until the storage answers again.
ABORT_SECONDS = 3
HANGS_SECONDS = 10
# What the rest of a freeze may take on a loaded machine.
SLACK_SECONDS = 4


class StorageTestCase(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.storage = self.file_system('storage', SIZE)
        self.options['libvirt']['snapshots_directory'] = str(
            self.storage.path)
        self.options['nova_snap']['space_reserve'] = '0'
        # Its recorder writes past the file systems, and so also when they
        # are frozen: the mirror has something to do.
        self.running = self.guest('qcow2', shared=True, agent='run')
        self.before = base.look(self.running)
        self.times = {}

    def clocked(self, name, act=lambda: None):
        """Return a hook that notes when a call was made."""
        def hook(call, *args):
            if name not in self.times:
                act()
            self.times.setdefault(name, time.monotonic())
            return call()
        return hook

    def test_a_frozen_guest_does_not_wait_for_it(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.hypervisor.blockjob.ABORT_SECONDS', ABORT_SECONDS))
        answers = threading.Timer(HANGS_SECONDS, self.storage.hang, (False,))
        self.addCleanup(answers.cancel)

        def hang():
            self.storage.hang(True)
            answers.start()

        error = self.assertRaises(
            errors.MirrorTimeout, self.take, self.running, base.Hooks({
                'domain.freeze': self.clocked('freeze'),
                'block_device.abort': self.clocked('abort', hang),
                'domain.thaw': self.clocked('thaw')}), quiesce='require')

        answers.join()
        self.assertIn('hang', str(error))
        frozen = self.times['thaw'] - self.times['freeze']
        self.assertLess(ABORT_SECONDS, frozen)
        self.assertLess(frozen, ABORT_SECONDS + SLACK_SECONDS)
        self.assertEqual(['lost+found'], os.listdir(self.storage.path))
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()
