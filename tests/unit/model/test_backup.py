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

from lxml import etree
from oslotest import base

from nova_snap.model import backup as backup_model

BACKUP = backup_model.Backup(
    '/srv/snapshots/nova_snap-1/qemu/nbd',
    (('vda', '/srv/snapshots/nova_snap-1/scratch-vda.qcow2'),
     ('vdb', '/srv/snapshots/nova_snap-1/scratch-vdb.qcow2')))

# As libvirt 9.0 shows one of another program's, by TCP.
THEIRS = """<domainbackup mode='pull'>
  <server transport='tcp' name='localhost' port='10809'/>
  <disks>
    <disk name='vda' backup='yes' type='file' backupmode='full'>
      <driver type='qcow2'/><scratch file='/var/tmp/theirs'/>
    </disk>
    <disk name='vdb' backup='no'/>
  </disks>
</domainbackup>"""


class BackupTestCase(base.BaseTestCase):

    def test_what_begins_a_backup_shows_whose_it_is(self):
        self.assertEqual(BACKUP, backup_model.parse(
            backup_model.begin_xml(BACKUP)))

    def test_each_disk_is_exported_under_its_target(self):
        root = etree.fromstring(backup_model.begin_xml(BACKUP))
        self.assertEqual('pull', root.get('mode'))
        self.assertEqual(['vda', 'vdb'],
                         [disk.get('exportname')
                          for disk in root.iter('disk')])

    def test_a_backup_of_another_program(self):
        self.assertEqual(
            backup_model.Backup('', (('vda', '/var/tmp/theirs'),)),
            backup_model.parse(THEIRS))
