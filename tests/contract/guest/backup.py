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

"""What holds of a backup job."""

import os

import libvirt

from nova_snap.model import backup as backup_model
from nova_snap import units
from tests.contract.guest import contract


class BackupContract(contract.Contract):

    def setUp(self):
        super().setUp()
        self.size = self.domain.block_sizes(contract.DISK)[0]
        self.job = self.domain.backup_job()

    def backup(self, scratch):
        return backup_model.Backup(self.side.socket(),
                                   ((contract.DISK, scratch),))

    def test_it_runs_until_it_is_ended(self):
        scratch = self.side.make_scratch(self.size)
        backup = self.backup(scratch)
        self.assertIsNone(self.job.running())
        self.job.begin(backup)
        self.assertEqual(backup, self.job.running())
        self.assertTrue(os.path.exists(backup.socket))

        self.job.end(backup.socket)

        self.assertIsNone(self.job.running())
        self.assertFalse(os.path.exists(backup.socket))
        self.assertTrue(os.path.exists(scratch))

    def test_it_makes_no_scratch_file(self):
        scratch = self.side.make_scratch(self.size)
        os.remove(scratch)
        contract.refused(libvirt.VIR_ERR_SYSTEM_ERROR, self.job.begin,
                         self.backup(scratch))
        self.assertIsNone(self.job.running())

    def test_it_takes_no_scratch_file_of_another_size(self):
        for size in (self.size - units.MiB, self.size + units.MiB):
            contract.refused(libvirt.VIR_ERR_INTERNAL_ERROR, self.job.begin,
                             self.backup(self.side.make_scratch(size)))
            self.assertIsNone(self.job.running())

    def test_there_is_one_alone(self):
        backup = self.backup(self.side.make_scratch(self.size))
        self.job.begin(backup)
        other = backup_model.Backup(backup.socket + '-2', (
            (contract.DISK, self.side.make_scratch(self.size)),))
        contract.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, self.job.begin,
                         other)
        self.assertEqual(backup, self.job.running())
