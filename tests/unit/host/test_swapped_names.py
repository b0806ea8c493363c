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

"""Root in directories of another user, who changes names under its hands.

That user is Nova's. It owns ``state_path`` and all below, so it may put a
link there, or another directory, between any two calls of ours. What is
outside must stay as it is.
"""

import contextlib
import os
import shutil

import ddt
import fixtures

from nova_snap import errors
from nova_snap.host import files as files_module
from nova_snap.host import locks as locks_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.journal import store as store_module
from nova_snap.model import layer as layer_model
from nova_snap import units
from tests.unit.host import program
from tests.unit.host import swapped
from tests.unit.journal import records

CHAIN = (layer_model.Layer('/srv/disk', 'raw'),)


@ddt.ddt
class ScratchTestCase(swapped.SwappedTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.state_path / 'snapshots' / 'nova_snap-1'
        self.delta = self.path / 'delta'
        self.files = files_module.Files(swapped.NOVA)

    def make(self):
        self.files.make_scratch(str(self.path))

    @ddt.data('snapshots', 'nova_snap-1')
    def test_a_link_in_the_place_of_what_was_made_is_not_given_away(
            self, name):
        path = self.path if name == self.path.name else self.path.parent
        self.after('mkdir', lambda: self.swap(path), of=name)
        self.assertRaises(errors.StorageError, self.make)

    def test_nor_is_another_directory(self):
        def swap():
            self.path.rmdir()
            shutil.copytree(self.roots, self.path)
            self.path.chmod(0o750)

        self.after('mkdir', swap, of='nova_snap-1')
        self.assertRaises(errors.StorageError, self.make)
        self.assertEqual(0, self.path.stat().st_uid)

    def test_what_a_link_in_it_leads_to_is_not_removed(self):
        self.make()
        (self.path / 'link').symlink_to(self.roots)
        (self.path / 'file').symlink_to(self.file)
        self.files.remove_scratch(str(self.path))
        self.assertFalse(self.path.exists())

    def test_nor_of_a_directory_that_became_one(self):
        self.make()
        (self.path / 'more').mkdir()
        self.after('scandir', lambda: self.swap(self.path / 'more'))
        with contextlib.suppress(errors.StorageError):
            self.files.remove_scratch(str(self.path))

    def test_no_file_of_another_directory_is_removed(self):
        self.make()
        self.swap(self.path)
        self.assertRaises(errors.StorageError, self.files.remove,
                          str(self.path / self.file.name))

    def test_no_file_of_another_directory_is_taken(self):
        os.chown(self.file, *swapped.NOVA)
        self.addCleanup(os.chown, self.file, *swapped.ROOT)
        self.make()
        self.swap(self.path)
        self.assertRaises(errors.StorageError, self.files.own,
                          str(self.path / self.file.name))
        self.assertEqual(swapped.NOVA[0], self.file.stat().st_uid)

    @ddt.named_data(
        ['a link', os.symlink],
        ['a second name', os.link],
    )
    def test_not_taken_is_the_file_of(self, make):
        victim = self.folder / 'of-another'
        victim.touch()
        os.chown(victim, 64055, 64055)
        self.make()
        make(victim, self.delta)
        error = self.assertRaises(errors.StorageError, self.files.own,
                                  str(self.delta))
        self.assertIn(str(self.delta), str(error))
        self.assertEqual(64055, victim.stat().st_uid)

    def test_a_pipe_is_no_wait_without_end(self):
        self.make()
        os.mkfifo(self.delta)
        self.assertRaises(errors.StorageError, self.files.own,
                          str(self.delta))


class QemuImgTestCase(swapped.SwappedTestCase):
    """qemu-img opens its files by name."""

    def setUp(self):
        super().setUp()
        self.path = self.state_path / 'image'
        self.tool = qemu_img_module.QemuImg(cpu_time=7,
                                            address_space=3 * units.GiB)

    def program(self, body):
        self.useFixture(program.Program('qemu-img', f"""\
for word; do case $word in /*) file=$word;; esac; done
{body}
"""))

    def convert(self):
        self.tool.convert(CHAIN, str(self.path), qemu_img_module.Conversion(
            image_format='raw', compression='', bandwidth=0, expected=1,
            stall_timeout=60), progress=lambda done, total: None)

    def test_it_does_not_write_where_a_link_leads_to(self):
        # Nova's user is quicker than the program.
        self.program(f'ln -sf {self.file} {self.path}; printf %s new > $file')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.qemu_img.describe', lambda chain: {}))
        for write in (self.convert, lambda: self.tool.create_overlay(
                str(self.path), 4096, None)):
            with contextlib.suppress(errors.StorageError):
                write()
            self.path.unlink()

    def test_it_does_not_say_our_word_for_the_file(self):
        self.program('echo "$file: broken" >&2; exit 1')
        error = self.assertRaises(
            errors.StorageError, self.tool.create_overlay, str(self.path),
            4096, None)
        self.assertIn(f'{self.path}: broken', str(error))
        self.assertNotIn('/proc', str(error))

    def test_to_try_direct_io_makes_no_file(self):
        victim = self.roots / 'new'
        (self.state_path / 'image.direct').symlink_to(victim)
        made = []
        self.after('open', lambda: made.append(victim.exists()), of='image')
        self.program(f'test ! -e {victim}')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.qemu_img.describe', lambda chain: {}))
        self.convert()
        self.assertEqual([False], made)


class QemuNbdTestCase(swapped.SwappedTestCase):
    """qemu-nbd removes what it finds in the place of its socket."""

    def test_it_does_not_work_where_a_link_leads_to(self):
        scratch = self.state_path / 'nova_snap-1'
        scratch.mkdir()
        os.chown(scratch, *swapped.NOVA)
        self.useFixture(program.Program('qemu-nbd', f"""\
mv {scratch} {scratch}-aside
ln -s {self.roots} {scratch}
for word; do case $word in --socket=*) path=${{word#--socket=}};; esac; done
rm -f $path
touch $path
"""))
        serving = qemu_nbd_module.QemuNbd().serving(
            CHAIN, str(scratch / self.file.name))
        error = self.assertRaises(errors.StorageError, serving.__enter__)
        self.assertIn(str(scratch), str(error))
        self.assertEqual([self.file], list(self.roots.iterdir()))


class JournalTestCase(swapped.SwappedTestCase):

    def setUp(self):
        super().setUp()
        self.journal_dir = self.state_path / 'nova_snap'
        self.records = self.journal_dir / 'records'
        self.store = store_module.Store(str(self.journal_dir), swapped.NOVA)

    def write(self):
        self.store.write(records.record())

    def owner(self, path):
        figures = path.lstat()
        return figures.st_uid, figures.st_gid

    def test_a_link_in_the_place_of_the_directory_is_not_given_away(self):
        self.after('mkdir', lambda: self.swap(self.journal_dir),
                   of='nova_snap')
        self.assertRaises(errors.JournalError, self.store.prepare)

    def test_nor_in_the_place_of_that_of_the_records(self):
        self.after('mkdir', lambda: self.swap(self.records), of='records')
        self.assertRaises(errors.JournalError, self.store.prepare)

    def test_a_link_that_waits_for_a_record_is_not_followed(self):
        self.store.prepare()
        partial = self.records / 'an-instance.a-record.partial'
        for make in (os.symlink, os.link):
            make(self.file, partial)
            self.write()
            self.check()
        self.assertEqual(swapped.NOVA,
                         self.owner(self.records / 'a-record.json'))

    def test_nor_is_one_that_comes_while_it_is_written(self):
        self.store.prepare()
        self.after('fsync', lambda: self.swap(
            self.records / 'an-instance.a-record.partial', self.file))
        with contextlib.suppress(errors.JournalError):
            self.write()

    def test_nor_one_in_the_place_of_the_id_of_the_machine(self):
        self.journal_dir.mkdir()
        self.records.mkdir()

        def swap():
            (partial,) = self.journal_dir.glob('machine-id.*')
            self.swap(partial, self.file)

        self.after('fsync', swap)
        with contextlib.suppress(errors.JournalError):
            self.store.prepare()

    def test_a_record_that_gets_to_another_place_is_not_given_away(self):
        self.store.prepare()
        self.swap(self.records)
        self.write()
        self.assertEqual(swapped.ROOT,
                         self.owner(self.roots / 'a-record.json'))


class LocksTestCase(swapped.SwappedTestCase):

    def setUp(self):
        super().setUp()
        self.journal_dir = self.state_path / 'nova_snap'
        self.path = self.journal_dir / 'locks'
        self.locks = locks_module.Locks(str(self.journal_dir), swapped.NOVA)
        with self.locks.instance('first'):
            pass
        os.chown(self.path, *swapped.NOVA)
        self.lock = self.path / 'an-instance'

    def hold(self):
        with self.locks.instance('an-instance'):
            pass

    def test_no_file_is_made_where_a_link_leads_to(self):
        victim = self.roots / 'new'
        self.lock.symlink_to(victim)
        self.assertRaises(errors.JournalError, self.hold)
        self.assertFalse(victim.exists())

    def test_a_link_in_the_place_of_the_file_is_not_given_away(self):
        def swap():
            for path in self.path.iterdir():
                self.swap(path, self.file)

        self.after('open', swap, of='an-instance')
        with contextlib.suppress(errors.JournalError):
            self.hold()

    def test_nor_in_the_place_of_the_directory(self):
        self.path.rmdir()
        self.after('mkdir', lambda: self.swap(self.path), of='locks')
        self.assertRaises(errors.JournalError, self.hold)
        self.assertEqual([self.file], list(self.roots.iterdir()))
