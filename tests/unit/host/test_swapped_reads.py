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

"""Root reads what another user can exchange for a link to a file of root's.

What it reads ends in an image, in a record or in a message. It must be what
that user could have read, or nothing.
"""

import os
import pathlib
import re
import subprocess

import ddt
import fixtures

from nova_snap import errors
from nova_snap.host import files as files_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.journal import store as store_module
from nova_snap.model import layer as layer_model
from nova_snap.transfer import source as source_module
from nova_snap import units
from tests.unit.host import program
from tests.unit.host import swapped
from tests.unit.journal import records

DISK_WORDS = 'of nova'
# What each program does when Nova's user has made its move: it reads the file
# that it was told to.
READ = """
ln -sf {secret} {disk}
for word; do case $word in
    json:*)
        file=$(echo "$word" | grep -o 'filename": "[^"]*' | cut -d '"' -f 3)
        break;;
    /*) file=$word;;
esac; done
"""


class ReadsTestCase(swapped.SwappedTestCase):

    def setUp(self):
        super().setUp()
        self.instance = self.state_path / 'instance'
        self.instance.mkdir()
        self.disk = self.instance / 'disk'
        self.disk.write_text(DISK_WORDS)
        for path in (self.instance, self.disk):
            os.chown(path, *swapped.NOVA)
        self.files = files_module.Files(swapped.NOVA)

    def link(self, path=None, target=None):
        """Put Nova's link in the place of what is there."""
        path = path or self.disk
        path.rename(path.with_name(f'{path.name}-aside'))
        path.symlink_to(target or self.file)
        os.lchown(path, *swapped.NOVA)

    def assert_refused(self, call, *args):
        error = self.assertRaises(errors.StorageError, call, *args)
        self.assertNotIn(swapped.WORDS, str(error))
        return str(error)


@ddt.ddt
class LinkTestCase(ReadsTestCase):
    """It is there before root looks."""

    LOOKS = ('allocated_bytes', 'changed_at', 'file_id', 'first_bytes')

    def look(self, name):
        return getattr(self.files, name)(str(self.disk))

    @ddt.data(*LOOKS)
    def test_it_is_not_followed_by(self, name):
        self.link()
        said = self.assert_refused(self.look, name)
        self.assertIn(f'link {self.disk} of another user (uid 4242)', said)

    def test_it_is_followed_when_the_advice_is(self):
        self.link(target='disk-aside')
        said = self.assert_refused(self.look, 'allocated_bytes')
        [command] = re.findall('"(chown [^"]+)"', said)
        subprocess.run(['sh', '-c', command], check=True)
        self.look('allocated_bytes')

    @ddt.data(*LOOKS)
    def test_nor_in_the_place_of_the_directory_by(self, name):
        (self.roots / self.disk.name).symlink_to(self.file)
        self.link(self.instance, self.roots)
        self.assert_refused(self.look, name)

    @ddt.data(*LOOKS)
    def test_nor_through_a_link_of_roots_by(self, name):
        self.link()
        through = self.folder / 'through'
        through.symlink_to(self.disk)
        self.assert_refused(getattr(self.files, name), str(through))

    @ddt.data(*LOOKS)
    def test_one_that_root_has_made_is_followed_by(self, name):
        self.link(target='disk-aside')
        os.lchown(self.disk, *swapped.ROOT)
        self.look(name)

    @ddt.data(*LOOKS)
    def test_a_circle_of_roots_is_an_error_of(self, name):
        self.disk.unlink()
        self.disk.symlink_to(self.disk)
        self.assert_refused(self.look, name)

    def test_nor_is_the_file_cloned(self):
        self.link()
        scratch = self.state_path / 'nova_snap-1'
        scratch.mkdir()
        shared = []
        self.useFixture(fixtures.MonkeyPatch(
            'fcntl.ioctl', lambda *args: shared.append(args)))
        self.assertFalse(self.files.clone(str(self.disk),
                                          str(scratch / 'clone')))
        self.assertEqual([], shared)

    def test_another_user_than_root_follows_it(self):
        # It leads to nothing that this user must not read.
        self.link(target='disk-aside')
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 4242))
        self.assertEqual(DISK_WORDS.encode(), self.look('first_bytes'))

    @ddt.data('allocated_bytes', 'first_bytes')
    def test_a_pipe_is_no_wait_without_end_for(self, name):
        self.disk.unlink()
        os.mkfifo(self.disk)
        self.assertIn('neither a file nor a block device',
                      self.assert_refused(self.look, name))


@ddt.ddt
class ProgramTestCase(ReadsTestCase):
    """qemu-img and qemu-nbd open the files by themselves, and later."""

    def setUp(self):
        super().setUp()
        self.tool = qemu_img_module.QemuImg(cpu_time=7,
                                            address_space=3 * units.GiB)
        self.scratch = self.state_path / 'nova_snap-1'
        self.scratch.mkdir()
        os.chown(self.scratch, *swapped.NOVA)
        self.read = self.folder / 'read'

    def program(self, name='qemu-img', body=''):
        self.useFixture(program.Program(name, READ.format(
            secret=self.file, disk=self.disk)
            + f'cat "$file" > {self.read}\n' + body))

    def chain(self):
        return (layer_model.Layer(str(self.disk), 'raw'),)

    def convert(self):
        self.tool.convert(
            self.chain(), str(self.scratch / 'image'),
            qemu_img_module.Conversion(
                image_format='raw', compression='', bandwidth=0, expected=1,
                stall_timeout=60), progress=lambda done, total: None)

    def serve(self):
        with qemu_nbd_module.QemuNbd().serving(
                self.chain(), str(self.scratch / 'socket')):
            pass

    CALLS = {
        'info': lambda self: self.tool.info(str(self.disk), 'raw'),
        'measure': lambda self: self.tool.measure(self.chain()),
        'first_bytes': lambda self: self.tool.first_bytes(
            self.chain(), units.MiB),
        'is_cut_short': lambda self: self.tool.is_cut_short(str(self.disk)),
        'convert': convert,
        'serve': serve,
    }

    @ddt.data(*CALLS)
    def test_a_link_that_comes_late_is_not_read_by(self, name):
        self.program()
        self.program('qemu-nbd')
        try:
            self.CALLS[name](self)
        except (errors.StorageError, ValueError):
            # The program says nothing of use.
            pass
        self.assertEqual(DISK_WORDS, self.read.read_text())

    @ddt.data(*CALLS)
    def test_one_that_is_there_is_refused_by(self, name):
        self.program()
        self.program('qemu-nbd')
        self.link()
        if name == 'measure':
            self.assertIsNone(self.CALLS[name](self))
        else:
            self.assert_refused(self.CALLS[name], self)
        self.assertFalse(self.read.exists())

    def test_one_in_the_place_of_the_delta_is_refused(self):
        self.disk = self.scratch / 'delta'
        self.disk.symlink_to(self.file)
        os.lchown(self.disk, *swapped.NOVA)
        self.program()
        self.assert_refused(self.convert)

    def test_what_it_says_has_the_path_that_we_know(self):
        self.program(body='echo "qemu-img: $file: broken" >&2; exit 1')
        self.assertIn(f'qemu-img: {self.disk}: broken',
                      self.assert_refused(self.convert))

    @ddt.data(('base', '{}/base'), ('/srv/base', '/srv/base'),
              ('nbd://host/disk', 'nbd://host/disk'))
    @ddt.unpack
    def test_a_backing_file_is_found_from_that_path(self, named, found):
        self.program(body=f"""\
echo '{{"format": "qcow2", "virtual-size": 1, "backing-filename": "{named}"}}'
""")
        self.assertEqual(
            found.format(self.instance),
            self.tool.info(str(self.disk), 'qcow2').backing_file)


class FlatImageTestCase(ReadsTestCase):
    """It was written and judged, and is sent now."""

    def test_a_link_in_its_place_is_not_sent(self):
        self.link()
        self.assert_refused(source_module.FileSource, str(self.disk))

    def test_nor_one_that_comes_later(self):
        self.disk.write_text(swapped.WORDS)
        source = source_module.FileSource(str(self.disk))
        self.link()
        self.assert_refused(source.open)

    def test_nor_what_is_behind_one_in_the_place_of_the_directory(self):
        source = source_module.FileSource(str(self.disk))
        (self.roots / self.disk.name).write_text(DISK_WORDS)
        self.link(self.instance, self.roots)
        self.assert_refused(source.open)

    def test_a_pipe_is_no_wait_without_end(self):
        self.disk.unlink()
        os.mkfifo(self.disk)
        self.assert_refused(source_module.FileSource, str(self.disk))


class JournalTestCase(ReadsTestCase):

    def setUp(self):
        super().setUp()
        self.journal_dir = self.state_path / 'nova_snap'
        self.store = store_module.Store(str(self.journal_dir), swapped.NOVA)
        self.store.prepare()
        self.store.write(records.record())
        self.machine_id = self.journal_dir / 'machine-id'
        self.record = self.journal_dir / 'records' / 'a-record.json'

    def assert_unread(self, call, *args):
        error = self.assertRaises(errors.JournalError, call, *args)
        self.assertNotIn(swapped.WORDS, str(error))

    def test_a_secret_does_not_become_the_id_of_the_machine(self):
        # It would be written into the next record, which is Nova's to read.
        self.link(self.machine_id)
        self.assert_unread(self.store.machine_id)

    def test_nor_a_record(self):
        pathlib.Path(self.file).write_text(self.record.read_text())
        self.addCleanup(self.file.write_text, swapped.WORDS)
        self.link(self.record)
        self.assert_unread(self.store.read, 'a-record')

    def test_a_pipe_is_no_wait_without_end(self):
        for path, call, *args in (
                (self.machine_id, self.store.machine_id),
                (self.record, self.store.read, 'a-record')):
            path.unlink()
            os.mkfifo(path)
            self.assert_unread(call, *args)
