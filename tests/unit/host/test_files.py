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

import contextlib
import errno
import os
import pathlib
import pwd
import stat

import ddt
import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.host import files as files_module
from nova_snap.model import first_bytes as first_bytes_model
from nova_snap import units


class FilesTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(os.umask, os.umask(0))
        self.folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.files = files_module.Files()

    def mode(self, path):
        return stat.S_IMODE(path.stat().st_mode)


def _denied(path):
    raise PermissionError(13, 'Permission denied', path)


@ddt.ddt
class ScratchTestCase(FilesTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.folder / 'snapshots' / 'nova_snap-1'

    def make(self):
        self.files.make_scratch(str(self.path))

    @ddt.data(0, 0o022, 0o077)
    def test_qemu_may_enter_and_no_other_user_list(self, umask):
        os.umask(umask)
        self.path.parent.mkdir()
        self.make()
        self.assertEqual(0o701, self.mode(self.path))

    @ddt.data(0, 0o022, 0o077)
    def test_the_one_above_is_made_as_nova_makes_it(self, umask):
        os.umask(umask)
        self.make()
        self.assertEqual(0o755, self.mode(self.path.parent))

    def test_the_one_above_is_the_operators_once_it_is_there(self):
        self.path.parent.mkdir(0o750)
        self.make()
        self.assertEqual(0o750, self.mode(self.path.parent))

    def test_a_file_system_may_have_another_owner_for_it(self):
        # As an NFS that takes all users for one. Root could own it.
        if os.geteuid() != 0:
            self.skipTest('only root can give files away')
        self.path.parent.mkdir()
        mkdir = os.mkdir

        def squashed(name, *args, **options):
            mkdir(name, *args, **options)
            os.chown(name, 65534, 65534, dir_fd=options['dir_fd'])

        self.useFixture(fixtures.MonkeyPatch('os.mkdir', squashed))
        error = self.assertRaises(errors.StorageError, self.make)
        self.assertIn('root_squash', str(error))
        self.path.rmdir()

        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 4242))
        self.make()
        self.assertEqual(0o701, self.mode(self.path))

    def test_the_one_above_need_not_be_read(self):
        with self.unprivileged():
            self.path.parent.mkdir(0o300)
            self.make()
            (self.path / 'delta').touch()
            self.files.remove(str(self.path / 'delta'))
            self.files.remove_scratch(str(self.path))
            self.assertFalse(self.path.exists())
            self.path.parent.rmdir()

    @contextlib.contextmanager
    def unprivileged(self):
        """Be a user whom modes keep out."""
        if os.geteuid() == 0:
            for directory in (self.folder.parent, self.folder):
                directory.chmod(0o777)
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)
        yield
        if os.getuid() == 0:
            os.seteuid(0)

    def test_one_that_is_there_is_not_taken(self):
        self.make()
        error = self.assertRaises(errors.StorageError, self.make)
        self.assertIn(str(self.path), str(error))

    def test_it_goes_with_all_that_is_in_it(self):
        self.make()
        (self.path / 'delta').write_text('')
        (self.path / 'more').mkdir()
        self.files.remove_scratch(str(self.path))
        self.assertEqual([], os.listdir(self.path.parent))

    def test_one_that_is_gone_is_fine(self):
        self.files.remove_scratch(str(self.path))

    @ddt.data('snapshots', 'nova_snap', 'important')
    def test_a_directory_of_others_is_not_removed(self, name):
        (self.folder / name).mkdir()
        self.assertRaises(errors.StorageError, self.files.remove_scratch,
                          str(self.folder / name))
        self.assertTrue((self.folder / name).is_dir())

    def test_what_a_link_points_to_is_not_removed(self):
        (self.folder / 'important').mkdir()
        self.path.parent.mkdir()
        self.path.symlink_to(self.folder / 'important')
        error = self.assertRaises(errors.StorageError,
                                  self.files.remove_scratch, str(self.path))
        self.assertNotIn('None', str(error))
        self.assertTrue((self.folder / 'important').is_dir())

    def test_a_file_in_it_that_went_by_itself_is_fine(self):
        self.make()
        (self.path / 'delta').write_text('')
        unlink = os.unlink

        def late(name, **options):
            unlink(name, **options)
            unlink(name, **options)

        self.useFixture(fixtures.MonkeyPatch('os.unlink', late))
        self.files.remove_scratch(str(self.path))
        self.assertFalse(self.path.exists())


@ddt.ddt
class OneFileTestCase(FilesTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.folder / 'delta'

    def test_it_is_removed_once(self):
        self.path.write_text('')
        self.files.remove(str(self.path))
        self.files.remove(str(self.path))
        self.assertFalse(self.files.exists(str(self.path)))

    def test_a_directory_is_not_removed(self):
        self.path.mkdir()
        error = self.assertRaises(errors.StorageError, self.files.remove,
                                  str(self.path))
        self.assertIn(str(self.path), str(error))

    def test_it_is_taken_back_from_qemu(self):
        if os.geteuid() != 0:
            self.skipTest('only root can give files away')
        self.path.write_text('')
        os.chown(self.path, 64055, 64055)
        self.files.own(str(self.path))
        self.assertEqual(os.geteuid(), self.path.stat().st_uid)

    def test_one_that_is_gone_cannot_be_taken(self):
        error = self.assertRaises(errors.StorageError, self.files.own,
                                  str(self.path))
        self.assertIn(str(self.path), str(error))

    def test_only_what_is_allocated_is_counted(self):
        with open(self.path, 'wb') as file:
            file.truncate(100 * units.MiB)
            file.write(b'x' * 8192)
            file.flush()
            os.fsync(file.fileno())
        allocated = self.files.allocated_bytes(str(self.path))
        self.assertTrue(8192 <= allocated < units.MiB, allocated)

    def test_what_is_preallocated_is_not(self):
        with open(self.path, 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, 8 * units.MiB)
            file.write(b'x' * 8192)
            file.flush()
            os.fsync(file.fileno())
        self.assertLess(self.files.allocated_bytes(str(self.path)), units.MiB)

    def test_of_more_pieces_than_are_counted_the_rest_is(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.files.MOST_EXTENTS', 1))
        with open(self.path, 'wb') as file:
            for _ in range(3):
                file.write(b'x' * units.MiB)
                file.seek(units.MiB, os.SEEK_CUR)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        self.assertLessEqual(3 * units.MiB,
                             self.files.allocated_bytes(str(self.path)))

    def test_what_is_not_there_yet_lies_where_it_will(self):
        for path in (self.path, self.path / 'below'):
            self.assertEqual(os.stat(self.path.parent).st_dev,
                             self.files.file_system(str(path)))
        self.assertNotEqual(self.files.file_system('/proc/none'),
                            self.files.file_system(str(self.path)))

    def test_it_is_not_known_what_lies_behind_a_closed_door(self):
        self.useFixture(fixtures.MonkeyPatch('os.stat', _denied))
        self.assertRaises(errors.StorageError, self.files.file_system,
                          str(self.path))
        self.assertFalse(self.files.is_missing(str(self.path)))

    def test_what_is_not_there_is_missing(self):
        self.assertTrue(self.files.is_missing(str(self.path)))
        self.path.touch()
        self.assertFalse(self.files.is_missing(str(self.path)))

    def test_what_was_written_is_what_is_in_a_directory(self):
        self.assertEqual(0, self.files.written_bytes(str(self.path)))
        self.path.mkdir()
        empty = self.files.written_bytes(str(self.path))
        (self.path / 'delta').write_bytes(b'x' * units.MiB)
        self.assertLessEqual(units.MiB, self.files.written_bytes(
            str(self.path)) - empty)
        self.assertLessEqual(units.MiB, self.files.written_bytes(
            str(self.path / 'delta')))

    def test_of_a_block_device_all_is(self):
        with open(self.path, 'wb') as file:
            file.truncate(100 * units.MiB)
        self.useFixture(fixtures.MockPatch(
            'stat.S_ISBLK', autospec=True, return_value=True))
        self.assertEqual(100 * units.MiB,
                         self.files.allocated_bytes(str(self.path)))

    def test_a_block_device_is_told_from_a_file(self):
        is_block_device = self.files.is_block_device
        self.assertFalse(is_block_device(str(self.path)))
        self.path.touch()
        self.assertFalse(is_block_device(str(self.path)))
        self.useFixture(fixtures.MockPatch(
            'stat.S_ISBLK', return_value=True))
        self.assertTrue(is_block_device(str(self.path)))

    def test_it_is_the_same_file_under_another_name_only(self):
        self.path.write_bytes(b'')
        known = self.files.file_id(str(self.path))
        moved = self.path.rename(self.folder / 'moved')
        self.path.write_bytes(b'')
        self.assertEqual(known, self.files.file_id(str(moved)))
        self.assertNotEqual(known, self.files.file_id(str(self.path)))

    @ddt.data(('server:/disks', True), ('', False))
    @ddt.unpack
    def test_after_another_mount_it_is_the_same(self, source, expected):
        self.path.touch()
        self.useFixture(fixtures.MockPatch(
            'nova_snap.host.file_systems.network_source',
            return_value=source))
        mode, inode, _, *more = os.stat(self.path)
        one, other = (os.stat_result((mode, inode, device, *more))
                      for device in (51, 52))
        self.useFixture(fixtures.MockPatch(
            'nova_snap.host.files._figures', side_effect=[one, other]))
        first, second = (self.files.file_id(str(self.path)) for _ in range(2))
        self.assertEqual(expected, first == second)

    def test_which_file_one_is_that_is_gone_is_not_known(self):
        self.assertRaises(errors.StorageError, self.files.file_id,
                          str(self.path / 'gone'))

    @ddt.data(0, 511, first_bytes_model.LENGTH + 1)
    def test_no_more_than_its_first_bytes_are_read(self, size):
        content = os.urandom(size)
        self.path.write_bytes(content)
        self.assertEqual(content[:first_bytes_model.LENGTH],
                         self.files.first_bytes(str(self.path)))

    def test_how_one_begins_that_is_gone_is_not_known(self):
        self.assertRaises(errors.StorageError, self.files.first_bytes,
                          str(self.path / 'gone'))

    def test_how_a_file_of_the_image_cache_begins(self):
        self.folder.chmod(0o755)
        self.path.write_bytes(b'QFI\xfb' + b'\0' * 10000)
        self.path.chmod(0o644)
        head = self.files.head_of_cached(str(self.path), str(self.folder))
        self.assertEqual(b'QFI\xfb' + b'\0' * 508, head)

    @ddt.named_data(
        ['elsewhere', lambda path: path.rename(path.parent / 'x' / 'delta'),
         'x/delta'],
        ['below a link', lambda path: (path.parent / 'y').symlink_to('x'),
         'y/delta'],
        ['a link', lambda path: (path.rename(path.parent / 'x' / 'delta'),
                                 path.symlink_to('x/delta')), 'delta'],
        ['a pipe', lambda path: (path.unlink(), os.mkfifo(path)), 'delta'],
        ['of a group', lambda path: path.chmod(0o664), 'delta'],
        ['of all', lambda path: path.chmod(0o646), 'delta'],
        ['exchanged by all', lambda path: path.parent.chmod(0o757), 'delta'],
        ['gone', pathlib.Path.unlink, 'delta'],
    )
    def test_not_of_the_image_cache_is_what_is(self, change, name):
        self.folder.chmod(0o755)
        (self.folder / 'x').mkdir()
        self.path.touch(0o644)
        self.assertEqual(b'', self.files.head_of_cached(
            str(self.path), str(self.folder)))
        change(self.path)
        self.assertIsNone(self.files.head_of_cached(
            str(self.folder / name), str(self.folder)))

    def test_a_disk_that_is_not_there_is_refused(self):
        error = self.assertRaises(
            errors.StorageError, self.files.allocated_bytes, str(self.path))
        self.assertIn(str(self.path), str(error))
        self.assertIn('mounted', str(error))

    def test_a_disk_that_may_not_be_read_is_refused(self):
        self.useFixture(fixtures.MockPatch(
            'os.open', autospec=True,
            side_effect=PermissionError(errno.EACCES, 'Permission denied')))
        error = self.assertRaises(
            errors.StorageError, self.files.allocated_bytes, str(self.path))
        self.assertIn('Run as root', str(error))

    def test_the_room_is_what_an_ordinary_user_has(self):
        figures = os.statvfs(self.folder)
        free = self.files.free_bytes(str(self.folder))
        self.assertTrue(
            0 < free <= figures.f_bfree * figures.f_frsize, free)

    def test_the_room_of_nothing_is_refused(self):
        error = self.assertRaises(errors.StorageError, self.files.free_bytes,
                                  str(self.path))
        self.assertIn(str(self.path), str(error))


@ddt.ddt
class SnapshotsRoomTestCase(FilesTestCase):

    @ddt.named_data(
        ['one that is there', True, False, 'snapshots'],
        ['the default, not made yet: the one above', False, True, '.'],
        ['the default that is there', True, True, 'snapshots'],
    )
    def test_the_room_is_that_of(self, exists, is_default, expected):
        path = self.folder / 'snapshots'
        if exists:
            path.mkdir()
        self.assertEqual(
            str(self.folder / expected),
            files_module.snapshots_room(str(path), is_default=is_default))

    @ddt.named_data(
        ['one that the operator named', 'snapshots', False],
        ['the default below nothing', 'instances/snapshots', True],
    )
    def test_a_missing_one_is_refused(self, name, is_default):
        path = str(self.folder / name)
        error = self.assertRaises(
            errors.StorageError,
            files_module.snapshots_room,
            path,
            is_default=is_default,
        )
        self.assertIn(f'install -d -m 0755 {path}', str(error))


@ddt.ddt
class QemuEntersTestCase(FilesTestCase):
    """No directory on the way may keep QEMU's user out."""

    USER = (64055, 64055)

    def setUp(self):
        super().setUp()
        # Those above are the machine's, not the test's.
        self.outer = self.folder / 'outer'
        self.inner = self.outer / 'inner'
        self.inner.mkdir(parents=True)
        for directory in (self.folder.parent, self.folder):
            if directory != pathlib.Path('/tmp'):
                directory.chmod(0o755)

    def check(self, user=USER):
        files_module.check_qemu_enters(str(self.inner), user)

    @ddt.data(0o701, 0o755, 0o711)
    def test_it_enters(self, mode):
        self.outer.chmod(mode)
        self.check()

    @ddt.data(0o700, 0o750, 0o754)
    def test_the_one_that_keeps_it_out_is_named(self, mode):
        self.outer.chmod(mode)
        error = self.assertRaises(errors.StorageError, self.check)
        self.assertIn(f'chmod o+x {self.outer}', str(error))
        self.assertIn('64055', str(error))

    @ddt.named_data(
        ['the user of libvirt is not told', None],
        ['QEMU is root', (0, 0)],
    )
    def test_nothing_is_said_where(self, user):
        self.outer.chmod(0o700)
        self.check(user)

    @ddt.named_data(
        ['its owner enters by the first digit', (1, 0), 0o700, True],
        ['its owner does not by the last', (1, 0), 0o677, False],
        ['its group enters by the second digit', (0, 1), 0o710, True],
        ['its group does not by the last', (0, 1), 0o701, False],
    )
    def test_as_the_kernel_sees_it(self, owner, mode, enters):
        if os.geteuid() != 0:
            self.skipTest('only root can give directories away')
        uid, gid = (number * 64055 for number in owner)
        os.chown(self.outer, uid, gid)
        self.outer.chmod(mode)
        if enters:
            self.check()
        else:
            self.assertRaises(errors.StorageError, self.check)

    def test_a_group_that_its_user_is_in_counts(self):
        if os.geteuid() != 0:
            self.skipTest('only root can give directories away')
        os.chown(self.outer, 0, 4343)
        self.outer.chmod(0o710)
        self.assertRaises(errors.StorageError, self.check)

        user = pwd.getpwuid(os.geteuid())
        self.useFixture(fixtures.MockPatch(
            'pwd.getpwuid', autospec=True, return_value=user))
        self.useFixture(fixtures.MockPatch(
            'os.getgrouplist', autospec=True,
            side_effect=lambda name, gid: [gid, 4343]))
        self.check()

    def test_a_user_that_this_host_does_not_know_has_one_group(self):
        self.useFixture(fixtures.MockPatch(
            'pwd.getpwuid', autospec=True, side_effect=KeyError))
        self.outer.chmod(0o701)
        self.check()
        self.outer.chmod(0o700)
        self.assertRaises(errors.StorageError, self.check)

    def test_one_that_is_not_there_is_not_entered(self):
        self.inner.rmdir()
        error = self.assertRaises(errors.StorageError, self.check)
        self.assertIn(str(self.inner), str(error))


class WhoTestCase(FilesTestCase):

    def test_root_writes_as_the_owner_of_state_path(self):
        if os.geteuid() != 0:
            self.skipTest('only root writes as others')
        os.chown(self.folder, 4242, 4343)
        self.assertEqual((4242, 4343),
                         files_module.owner_for_writes(str(self.folder)))

    def test_without_a_state_path_as_itself(self):
        self.assertIsNone(
            files_module.owner_for_writes(str(self.folder / 'missing')))

    def test_who_is_not_root_writes_as_itself(self):
        self.useFixture(fixtures.MockPatch('os.geteuid', autospec=True,
                                           return_value=1000))
        self.assertIsNone(files_module.owner_for_writes(str(self.folder)))

    def test_each_boot_has_an_id(self):
        self.assertRegex(files_module.boot_id(), r'^[0-9a-f-]{36}$')
