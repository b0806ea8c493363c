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

"""On which file system a file is, and whether a journal may be there."""

import pathlib

import ddt
import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.host import file_systems

# A line of /proc/self/mountinfo; the mount point is the fifth word.
MOUNT = '36 35 98:0 / {where} rw,noatime shared:1 - {kind} {source} rw\n'


@ddt.ddt
class LocalTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def mounts(self, *mounts):
        table = self.folder / 'mountinfo'
        table.write_bytes(b''.join(
            MOUNT.format(where=where, kind=kind,
                         source=f'from-{number}').encode()
            for number, (where, kind) in enumerate(mounts)))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.file_systems.MOUNTS', table))

    @ddt.named_data(
        ['that of the root', [('/', 'ext4')], 'ext4'],
        ['the innermost', [('/', 'ext4'), ('{}', 'xfs'), ('/srv', 'nfs')],
         'xfs'],
        ['in whatever order', [('{}', 'xfs'), ('/', 'ext4')], 'xfs'],
        ['the upper of two on one place',
         [('/', 'ext4'), ('{}', 'xfs'), ('{}', 'nfs4')], 'nfs4'],
        ['not one whose name begins alike',
         [('/', 'ext4'), ('{}-other', 'nfs')], 'ext4'],
        ['not one below', [('/', 'ext4'), ('{}/below', 'nfs')], 'ext4'],
    )
    def test_the_file_system_is(self, mounts, kind):
        self.mounts(*((where.format(self.folder), kind)
                      for where, kind in mounts))
        self.assertEqual(kind, file_systems.file_system_type(str(self.folder)))

    @ddt.named_data(
        ['a blank', 'a b', r'a\040b'],
        ['a backslash', 'a\\b', r'a\134b'],
        ['another alphabet', 'größe', 'größe'],
    )
    def test_a_name_with(self, name, written):
        (self.folder / name).mkdir()
        self.mounts(('/', 'ext4'), (f'{self.folder}/{written}', 'nfs4'))
        self.assertEqual(
            'nfs4', file_systems.file_system_type(str(self.folder / name))
        )

    @ddt.named_data(
        ['where it is', 'folder'],
        ['where it will be', 'folder/not/yet/there'],
        ['where a link leads to', 'link'],
    )
    def test_a_network_file_system_is_refused(self, path):
        (self.folder / 'folder').mkdir()
        (self.folder / 'link').symlink_to(self.folder / 'folder')
        self.mounts(('/', 'ext4'), (f'{self.folder}/folder', 'nfs4'))
        path = str(self.folder / path)
        error = self.assertRaises(
            errors.JournalError, file_systems.check_local, path
        )
        self.assertIn(path, str(error))
        self.assertIn('nfs4', str(error))
        self.assertIn('journal_dir', str(error))

    @ddt.data('nfs', 'ceph', 'fuse.glusterfs', 'ocfs2', 'cifs', '9p')
    def test_it_is_one_that_other_hosts_see(self, kind):
        self.mounts(('/', kind))
        self.assertRaises(errors.JournalError, file_systems.check_local, '/x')

    @ddt.data('ext4', 'xfs', 'btrfs', 'tmpfs', 'overlay', 'zfs')
    def test_a_local_one_is_fine(self, kind):
        self.mounts(('/', kind))
        file_systems.check_local('/x/y')

    @ddt.data('overlay', 'tmpfs', 'fuse.fuse-overlayfs')
    def test_one_that_goes_with_a_container_is_no_place_for_a_journal(
            self, kind):
        self.mounts(('/', kind))
        error = self.assertRaises(errors.JournalError,
                                  file_systems.check_lasting, '/x/y')
        self.assertIn(kind, str(error))

    @ddt.data(('nfs4', 'nfs4'), ('xfs', ''))
    @ddt.unpack
    def test_what_lies_across_a_network_is_named(self, kind, expected):
        self.mounts(('/', kind))
        self.assertEqual(expected, file_systems.network_type('/x'))

    @ddt.data(('nfs4', 'from-1'), ('fuse.glusterfs', 'from-1'), ('xfs', ''))
    @ddt.unpack
    def test_what_lies_across_a_network_is_mounted_from(self, kind, expected):
        self.mounts(('/', 'nfs'), ('/srv', kind), ('/srv/below', 'nfs'))
        self.assertEqual(expected, file_systems.network_source('/srv/x'))

    def test_a_volume_of_a_container_is_a_place_for_a_journal(self):
        self.mounts(('/', 'overlay'), ('/var/lib/nova', 'xfs'))
        file_systems.check_lasting('/var/lib/nova/nova_snap')

    @ddt.named_data(
        ['XFS', [('/', 'xfs')], True],
        ['Btrfs', [('/', 'btrfs')], True],
        ['the upper layer of a container', [('/', 'overlay')], True],
        ['ext4', [('/', 'ext4')], False],
        ['tmpfs', [('/', 'tmpfs')], False],
        ['NFS 3', [('/', 'nfs')], False],
        ['two kinds', [('/', 'xfs'), ('{}/below', 'btrfs')], False],
    )
    def test_files_share_blocks_on(self, mounts, expected):
        self.mounts(*((where.format(self.folder), kind)
                      for where, kind in mounts))
        (self.folder / 'below').mkdir()
        self.assertEqual(expected, file_systems.may_share_blocks(
            str(self.folder / 'mountinfo'), str(self.folder / 'below')))

    @ddt.data(('xfs', False), ('btrfs', True))
    @ddt.unpack
    def test_another_device_number_is(self, kind, expected):
        """Of another XFS, but of the same Btrfs."""
        self.mounts(('/', kind))
        self.assertEqual(expected, file_systems.may_share_blocks(
            '/proc/self/mountinfo', str(self.folder)))

    def test_what_is_not_there_shares_nothing(self):
        self.mounts(('/', 'xfs'))
        self.assertFalse(file_systems.may_share_blocks(
            str(self.folder / 'disk'), str(self.folder)))

    def test_in_a_chroot_that_is_no_mount_there_is_the_root(self):
        self.mounts(('/other', 'xfs'))
        self.assertEqual('/', file_systems.mount_point(str(self.folder)))

    def test_the_table_of_this_host_is_read(self):
        self.assertNotEqual('unknown', file_systems.file_system_type('/'))
