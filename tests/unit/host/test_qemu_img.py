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

import json
import os
import pathlib
import signal
import stat
import threading

import ddt
import fixtures
from oslo_concurrency import processutils
from oslotest import base

from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model
from nova_snap import units
from tests.unit import data
from tests.unit.host import program

TOP = layer_model.Layer('/srv/guests/top.qcow2', 'qcow2')
MIDDLE = layer_model.Layer('/srv/guests/middle.qcow2', 'qcow2')
BASE = layer_model.Layer('/srv/guests/base.raw', 'raw')
BLOCK = layer_model.Layer(
    '/dev/vg/base', 'raw', storage=layer_model.Storage.BLOCK
)

FASTER = ('-m', '16', '-W')
FLAT = qemu_img_module.Conversion(image_format='qcow2', compression='',
                           bandwidth=0, expected=100, stall_timeout=60)
# Long enough for some looks at it.
LOOKS_SECONDS = 1


def _no_progress(_done, _total):
    pass


def _tool():
    return qemu_img_module.QemuImg(cpu_time=7, address_space=3 * units.GiB)


@ddt.ddt
class DescribeTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['a raw file', [BASE],
         {'driver': 'raw',
          'file': {'driver': 'file', 'filename': BASE.path}}],
        ['a block device', [BLOCK],
         {'driver': 'raw',
          'file': {'driver': 'host_device', 'filename': BLOCK.path}}],
        # Without the word QEMU would look into the header for a name.
        ['a qcow2 file that has nothing below', [TOP],
         {'driver': 'qcow2', 'backing': None,
          'file': {'driver': 'file', 'filename': TOP.path}}],
        ['three layers', [TOP, MIDDLE, BLOCK],
         {'driver': 'qcow2',
          'file': {'driver': 'file', 'filename': TOP.path},
          'backing': {
              'driver': 'qcow2',
              'file': {'driver': 'file', 'filename': MIDDLE.path},
              'backing': {
                  'driver': 'raw',
                  'file': {'driver': 'host_device',
                           'filename': BLOCK.path}}}}],
    )
    def test_each_layer_names_its_format(self, chain, expected):
        self.assertEqual(expected, qemu_img_module.describe(chain))

    def test_a_raw_file_has_nothing_below_whatever_it_says(self):
        # The guest writes what it likes into it.
        self.assertNotIn('backing', qemu_img_module.describe([BASE, MIDDLE]))

    @ddt.data('/srv/a b', '/srv/"quoted"', '/srv/a,b=c', '/srv/ümlaut',
              '/srv/json:{}')
    def test_any_name_is_a_name(self, path):
        written = json.dumps(
            qemu_img_module.describe([layer_model.Layer(path, 'raw')])
        )
        self.assertEqual(path, json.loads(written)['file']['filename'])


@ddt.ddt
class CheckTestCase(base.BaseTestCase):
    """As QEMU 7.2 was seen to say it."""

    def check(self, said):
        self.program = self.useFixture(program.Program('qemu-img', said))
        return _tool().is_cut_short(TOP.path)

    @ddt.named_data(
        ['a whole one', 'echo "No errors were found on the image."'],
        ['one with leaks', 'echo "Leaked cluster 5 refcount=1 reference=0"; '
         'echo "1 leaked clusters were found on the image."; exit 3'],
        ['another error', 'echo "ERROR cluster 5 refcount=0 reference=1" >&2;'
         'echo "1 errors were found on the image."; exit 2'],
    )
    def test_one_that_has_its_end(self, said):
        self.assertIs(False, self.check(said))
        *words, described = self.program.words
        self.assertEqual(['check', '--'], words)
        self.assertEqual(qemu_img_module.describe([TOP]),
                         json.loads(described.removeprefix('json:')))
        self.assertEqual(['7', str(3 * units.GiB // units.KiB)],
                         self.program.limits)

    def test_one_that_has_lost_its_end(self):
        self.assertIs(True, self.check(
            'yes "ERROR: counting reference for region exceeding the end of '
            'the file by one cluster or more: offset 0x500000 size 0x10000" '
            '| head -n 1000000 >&2; exit 2'))

    def test_one_that_cannot_be_checked(self):
        error = self.assertRaises(errors.StorageError, self.check,
                                  'echo "qemu-img: Could not open" >&2; '
                                  'exit 1')
        self.assertIn(f'could not check {TOP.path}: qemu-img: Could not open',
                      str(error))


@ddt.ddt
class FirstBytesTestCase(base.BaseTestCase):

    @ddt.data((units.GiB, 34 * units.KiB), (1000, 512), (0, 0))
    @ddt.unpack
    def test_no_more_is_read_and_the_look_is_bounded(self, disk, size):
        seen = self.useFixture(program.Program(
            'qemu-img', 'for last; do :; done; printf first > "$last"'))
        self.assertEqual(b'first', _tool().first_bytes([TOP, BASE], disk))
        *words, described, path = seen.words
        self.assertEqual(['convert', '-O', 'raw'], words)
        self.assertEqual(
            {'driver': 'raw', 'size': size,
             'file': qemu_img_module.describe([TOP, BASE])},
            json.loads(described.removeprefix('json:')))
        self.assertEqual(['7', str(3 * units.GiB // units.KiB)], seen.limits)
        self.assertFalse(os.path.exists(path))

    def test_a_failure_names_the_file(self):
        self.useFixture(program.Program('qemu-img', 'echo "no" >&2; exit 1'))
        error = self.assertRaises(errors.StorageError, _tool().first_bytes,
                                  [TOP, BASE], units.GiB)
        self.assertIn(f'could not look at {TOP.path}: no', str(error))


@ddt.ddt
class InfoTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['a raw file', 'raw', 'raw', (None, None, None)],
        ['a qcow2 file', 'qcow2-flat', 'qcow2', (None, None, None)],
        ['a vmdk file', 'vmdk', 'vmdk', (None, None, None)],
        ['a vdi file', 'vdi', 'vdi', (None, None, None)],
        ['a backing file by its full name', 'qcow2-on-backing-file',
         'qcow2', ('/srv/guests/base.raw', 'raw', None)],
        ['a backing file without a format', 'qcow2-without-backing-format',
         'qcow2', ('/srv/guests/base.raw', None, None)],
        ['a data file', 'qcow2-with-data-file', 'qcow2',
         (None, None, 'data.raw')],
    )
    def test_what_qemu_img_says_is_read(self, name, image_format, names):
        self.useFixture(fixtures.MockPatchObject(
            processutils, 'execute', autospec=True,
            return_value=(data.text('qemu_img', f'{name}.json'), '')))
        info = _tool().info('/srv/guests/x', image_format)
        self.assertEqual((image_format, units.MiB),
                         (info.format, info.virtual_size))
        self.assertEqual(names, (info.backing_file, info.backing_format,
                                 info.data_file))

    def test_the_format_is_named_and_the_look_is_bounded(self):
        seen = self.useFixture(program.Program(
            'qemu-img', f"cat '{data.ROOT}/qemu_img/raw.json'"))
        _tool().info('/srv/guests/odd name', 'raw')
        self.assertEqual(['info', '--output=json', '-f', 'raw',
                          '/srv/guests/odd name'], seen.words)
        self.assertEqual('C', seen.environment['LC_ALL'])
        self.assertEqual(['7', str(3 * units.GiB // units.KiB)],
                         seen.limits)

    def test_what_it_says_of_a_bad_file_is_told(self):
        self.useFixture(program.Program(
            'qemu-img', 'echo "not in qcow2 format" >&2; exit 1'))
        error = self.assertRaises(errors.StorageError, _tool().info,
                                  '/srv/guests/x', 'qcow2')
        self.assertIn('/srv/guests/x', str(error))
        self.assertIn('not in qcow2 format', str(error))


class MeasureTestCase(base.BaseTestCase):

    def test_what_qemu_img_says_is_read(self):
        seen = self.useFixture(program.Program(
            'qemu-img', """echo '{"required": 7, "fully-allocated": 9}'"""))
        self.assertEqual(7, _tool().measure((TOP, BASE)))
        *words, chain = seen.words
        self.assertEqual(['measure', '--output=json', '-O', 'qcow2'], words)
        self.assertEqual(qemu_img_module.describe((TOP, BASE)),
                         json.loads(chain.removeprefix('json:')))

    def test_what_it_cannot_tell_is_not_known(self):
        for script in ('exit 1', 'echo nonsense', 'echo {}'):
            self.useFixture(program.Program('qemu-img', script))
            self.assertIsNone(_tool().measure((TOP,)))


class CreateOverlayTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).join('delta')
        self.seen = self.useFixture(program.Program('qemu-img'))

    def test_the_backing_file_is_named_with_its_format_and_not_opened(self):
        _tool().create_overlay(self.path, 4096, BLOCK)
        self.assertEqual(
            ['create', '-q', '-f', 'qcow2', '-u', '-F', 'raw', '-b',
             '/dev/vg/base', self.path, '4096'], self.seen.words)

    def test_over_nothing(self):
        _tool().create_overlay(self.path, 4096, None)
        self.assertEqual(['create', '-q', '-f', 'qcow2', self.path,
                          '4096'], self.seen.words)

    def test_a_failure_names_the_file(self):
        self.useFixture(program.Program('qemu-img',
                                        'echo "No space left"; exit 1'))
        error = self.assertRaises(errors.StorageError,
                                  _tool().create_overlay, self.path, 1, None)
        self.assertIn(self.path, str(error))
        self.assertIn('No space left', str(error))

    def test_without_qemu_img_the_package_is_named(self):
        self.useFixture(fixtures.MockPatchObject(
            processutils, 'execute', autospec=True,
            side_effect=FileNotFoundError('env')))
        error = self.assertRaises(errors.StorageError,
                                  _tool().create_overlay, self.path, 1, None)
        self.assertIn('qemu-utils', str(error))

    def test_no_other_user_may_read_it(self):
        self.addCleanup(os.umask, os.umask(0))
        _tool().create_overlay(self.path, 4096, None)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))


@ddt.ddt
class ConvertTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = str(pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'image'))

    def convert(self, chain=(TOP, BASE), progress=_no_progress, **changes):
        _tool().convert(
            chain, self.path,
            qemu_img_module.Conversion(**{**vars(FLAT), **changes}),
            progress=progress)

    def without_direct_io(self):
        """A file system that cannot do O_DIRECT, as tmpfs once was."""
        real = os.open

        def opens(path, flags, *rest, **options):
            if flags & os.O_DIRECT:
                raise OSError(22, 'Invalid argument')
            return real(path, flags, *rest, **options)

        self.useFixture(fixtures.MonkeyPatch('os.open', opens))

    def with_direct_io(self):
        real = os.open
        self.useFixture(fixtures.MonkeyPatch(
            'os.open', lambda path, flags, *rest, **options: real(
                path, flags & ~os.O_DIRECT, *rest, **options)))

    @ddt.named_data(
        ['qcow2', {}, ['-O', 'qcow2', *FASTER]],
        ['qcow2, compressed', {'compression': 'zstd'},
         ['-O', 'qcow2', *FASTER, '-c', '-o', 'compression_type=zstd']],
        ['raw', {'image_format': 'raw'}, ['-O', 'raw', *FASTER]],
        ['vmdk, at a rate', {'image_format': 'vmdk', 'bandwidth': 1000},
         ['-O', 'vmdk', '-m', '16', '-r', '1000']],
    )
    def test_every_format_is_named(self, changes, options):
        seen = self.useFixture(program.Program('qemu-img'))
        self.convert(**changes)
        command, _, mode, *rest = seen.words
        *found, source, path = rest
        self.assertEqual('convert', command)
        self.assertIn(mode, ('none', 'writeback'))
        self.assertEqual(options, found)
        self.assertEqual(self.path, path)
        self.assertTrue(source.startswith('json:'))
        self.assertEqual(qemu_img_module.describe((TOP, BASE)),
                         json.loads(source.removeprefix('json:')))
        self.assertEqual('C', seen.environment['LC_ALL'])

    @ddt.named_data(
        ['past the cache of the host where that can be', 'with_direct_io',
         'none'],
        ['through it elsewhere', 'without_direct_io', 'writeback'],
    )
    def test_it_writes(self, file_system, mode):
        seen = self.useFixture(program.Program('qemu-img'))
        getattr(self, file_system)()
        self.convert()
        self.assertEqual(['-t', mode], seen.words[1:3])
        # What was made to find it out is gone.
        self.assertEqual(['image'],
                         os.listdir(os.path.dirname(self.path)))

    def test_no_other_user_may_read_it(self):
        self.addCleanup(os.umask, os.umask(0))
        self.useFixture(program.Program('qemu-img'))
        self.convert()
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))

    def test_a_file_that_is_there_is_not_written(self):
        pathlib.Path(self.path).write_text('mine')
        self.useFixture(program.Program('qemu-img'))
        error = self.assertRaises(errors.StorageError, self.convert)
        self.assertIn(self.path, str(error))

    def test_a_failure_says_what_qemu_img_says(self):
        self.useFixture(program.Program(
            'qemu-img', 'echo "Failed to get shared write lock" >&2; exit 1'))
        error = self.assertRaises(errors.StorageError, self.convert)
        self.assertIn(self.path, str(error))
        self.assertIn('Failed to get shared write lock', str(error))

    def test_it_is_told_how_much_is_there(self):
        # It ends when it was told, and not before.
        gate = self.path + '.gate'
        os.mkfifo(gate)
        self.useFixture(program.Program(
            'qemu-img', f"head -c 65536 /dev/zero > '{self.path}'; "
                        f"sync '{self.path}'; read word < '{gate}'"))
        told = []

        def progress(done, total):
            if done and not told:
                pathlib.Path(gate).write_text('go on\n')
                told.append((done, total))

        self.convert(progress=progress, expected=4096)
        # Never more than what is expected: a bar must not pass its end.
        self.assertEqual([(4096, 4096)], told)

    def test_an_interrupt_ends_it(self):
        # It would wait for ever, and a child that lives on would write into
        # a directory that is removed.
        gate = self.path + '.gate'
        os.mkfifo(gate)
        seen = self.useFixture(program.Program(
            'qemu-img', f"echo > '{self.path}'; sync '{self.path}'; "
                        f"exec cat '{gate}'"))
        main = threading.main_thread().ident

        def progress(done, _total):
            if done:
                signal.pthread_kill(main, signal.SIGINT)

        self.useFixture(Interruptible())
        self.assertRaises(KeyboardInterrupt, self.convert,
                          progress=progress)
        self.assertRaises(ProcessLookupError, os.kill, seen.pid, 0)

    def test_an_interrupt_at_the_start_leaves_no_watcher(self):
        # A thread that is not stopped would keep the process from ending.
        start = threading.Thread.start

        def interrupted(thread):
            start(thread)
            raise KeyboardInterrupt

        self.useFixture(program.Program('qemu-img', 'exit 0'))
        self.useFixture(fixtures.MonkeyPatch('threading.Thread.start',
                                             interrupted))
        self.assertRaises(KeyboardInterrupt, self.convert)
        self.assertEqual([], [thread for thread in threading.enumerate()
                              if thread.name == 'qemu-img'])

    def test_what_each_coroutine_says_of_a_full_disk_is_said_once(self):
        self.useFixture(program.Program('qemu-img', (
            'for at in 3 2 1; do echo "qemu-img: error while writing at byte '
            '$at: No space left on device" >&2; done; exit 1')))
        error = self.assertRaises(errors.StorageError, self.convert)
        self.assertTrue(str(error).endswith(
            'qemu-img: error while writing at byte 3: No space left on '
            'device'), str(error))

    def test_one_that_stands_still_is_ended(self):
        gate = self.path + '.gate'
        os.mkfifo(gate)
        seen = self.useFixture(program.Program('qemu-img',
                                               f"exec cat '{gate}'"))
        error = self.assertRaises(errors.StorageError, self.convert,
                                  stall_timeout=0)
        self.assertIn('moved no byte', str(error))
        self.assertIn(self.path, str(error))
        self.assertRaises(ProcessLookupError, os.kill, seen.pid, 0)

    def with_proc(self, *files):
        """Let nothing but these be read of qemu-img's in /proc."""
        folder = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.qemu_img.PROC', folder))
        return f"mkdir '{folder}'/$$; " + ''.join(
            f"ln -s /proc/$$/{name} '{folder}'/$$/; " for name in files)

    def test_of_one_that_cannot_be_looked_at_the_end_is_waited_for(self):
        self.useFixture(program.Program(
            'qemu-img', self.with_proc() + f'exec sleep {LOOKS_SECONDS}'))
        self.convert(stall_timeout=0)

    def test_one_that_computes_does_not_stand_still(self):
        gate = self.path + '.gate'
        # What it moves is not to be read; it computes until the gate is there.
        self.useFixture(program.Program('qemu-img', self.with_proc('stat') + (
            f"until [ -e '{gate}' ]; do :; done")))
        timer = threading.Timer(LOOKS_SECONDS,
                                lambda: open(gate, 'w').close())
        timer.start()
        self.addCleanup(timer.join)
        self.convert(stall_timeout=LOOKS_SECONDS / 2)

    def test_one_that_neither_moves_nor_computes_is_ended(self):
        seen = self.useFixture(program.Program(
            'qemu-img',
            self.with_proc('stat') + f"exec cat '{self.path}.gate'"))
        os.mkfifo(self.path + '.gate')
        self.assertRaises(errors.StorageError, self.convert, stall_timeout=0)
        self.assertRaises(ProcessLookupError, os.kill, seen.pid, 0)


class Interruptible(fixtures.Fixture):
    """Ctrl-C once, whatever the runner of the tests makes of it."""

    def _setUp(self):
        def interrupt(_number, _frame):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt

        self.addCleanup(signal.signal, signal.SIGINT,
                        signal.signal(signal.SIGINT, interrupt))
