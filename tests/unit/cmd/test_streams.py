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

"""Output without a reader: broken pipes, full disks, closed terminals."""

import os
import pty
import signal
import subprocess
import sys

import ddt
import fixtures
from oslotest import base

from nova_snap.cmd import main as main_module
from nova_snap.cmd import show
from nova_snap import errors
from nova_snap.model import phase as phase_model
from tests.fakes import node as fake_node
from tests.unit.cmd import scene

Phase = phase_model.Phase

LISTS = ('list', 'status', 'check', 'image-create --dry-run VM n')


class Stream(fixtures.Fixture):
    """A stream of a real descriptor, which cannot be written.

    :ivar stream: what the command gets
    """

    def _setUp(self):
        self.stream = os.fdopen(self.descriptor(), 'w')
        self.addCleanup(self._close)

    def _close(self):
        try:
            self.stream.close()
        except OSError:
            # What was not dropped is written at last.
            pass


class Unread(Stream):
    """A pipe whose reader has gone."""

    def descriptor(self):
        reader, writer = os.pipe()
        os.close(reader)
        return writer


class Full(Stream):
    def descriptor(self):
        return os.open('/dev/full', os.O_WRONLY)


class Closed(Stream):
    """As ``>&-`` leaves it."""

    def descriptor(self):
        return os.open(os.devnull, os.O_RDONLY)


class Hungup(Stream):
    """A terminal that was closed."""

    def descriptor(self):
        master, slave = pty.openpty()
        os.close(master)
        return slave


class StreamTestCase(scene.CommandTestCase):

    def broken(self, kind):
        return self.useFixture(kind()).stream

    def words(self, text):
        return [fake_node.NAME if word == 'VM' else word
                for word in text.split()]


@ddt.ddt
class ListTestCase(StreamTestCase):

    @ddt.data(*LISTS)
    def test_a_list_without_a_reader_ends_silently(self, text):
        for more in ([], ['--json']):
            said = self.run_command(*self.words(text), *more,
                                    out=self.broken(Unread))
            self.assertEqual((main_module.ExitCode.UNREAD, ''),
                             (said.code, said.err))

    @ddt.data(*((text, kind, words) for text in LISTS for kind, words in (
        (Full, 'No space left on device'),
        (Closed, 'Bad file descriptor'), (Hungup, 'Input/output error'))))
    @ddt.unpack
    def test_one_that_cannot_be_written_is_a_failure(self, text, kind,
                                                     words):
        said = self.run_command(*self.words(text), out=self.broken(kind))
        self.assertEqual(
            (
                main_module.ExitCode.FAILED,
                f'nova-snap: Standard output cannot be written: {words}\n',
            ),
            (said.code, said.err),
        )


@ddt.ddt
class DoneTestCase(StreamTestCase):
    """What was done stays done."""

    @ddt.data(*((kind, more) for kind in (Unread, Full, Closed)
                for more in ((), ('--json',))))
    @ddt.unpack
    def test_an_image_is_there(self, kind, more):
        said = self.run_command('--quiet', 'image-create', fake_node.NAME,
                                'nightly', *more, out=self.broken(kind))
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        [image_id] = self.fake.glance.stored
        self.assertTrue(said.err.startswith(
            f'nova-snap: Image {image_id} is active. Standard output'),
            said.err)
        self.assertEqual(1, said.err.count('\n'))

    @ddt.data((), ('--json',))
    def test_what_was_left_is_settled(self, more):
        self.leave(self.undefined())
        said = self.run_command('recover', *more, out=self.broken(Unread))
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertIn('1 of 1 records are settled', said.err)
        self.assertEqual([], self.fake.process().store.ids())

    def test_what_is_left_still_is_told(self):
        self.leave(self.undefined(), host='another')
        entry = self.undefined()
        entry.facts.pop('uuid')
        self.leave(entry, id='0f3f2d57-3c5d-4f3c-9c0b-0b3bb26a5f70')
        said = self.run_command('recover', out=self.broken(Unread))
        self.assertEqual(main_module.ExitCode.LEFT, said.code)
        self.assertIn('0 of 2 records are settled', said.err)
        self.assertIn('1 of 2 records are not settled', said.err)


@ddt.ddt
class ToldTestCase(StreamTestCase):
    """Standard error has no reader."""

    @ddt.data(Unread, Full, Closed, Hungup)
    def test_a_snapshot_goes_on(self, kind):
        said = self.run_command('--verbose', 'image-create',
                                fake_node.NAME, 'nightly',
                                err=self.broken(kind))
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        [image_id] = self.fake.glance.stored
        self.assertIn(f'Image {image_id} (nightly) is active', said.out)
        self.assertTrue(self.fake.guest.isPersistent())

    def test_without_any_reader_the_image_is_made(self):
        said = self.run_command('image-create', fake_node.NAME, 'nightly',
                                out=self.broken(Unread),
                                err=self.broken(Unread))
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual(1, len(self.fake.glance.stored))

    @ddt.data(Unread, Hungup)
    def test_a_terminal_that_goes_cancels(self, kind):
        # Its signal comes when nothing can be told any more.
        undone = []

        def make_node(_observer):
            try:
                signal.raise_signal(signal.SIGHUP)
            finally:
                undone.append(True)

        self.use_node(make_node)
        said = self.run_command('status', err=self.broken(kind))
        self.assertEqual(main_module.ExitCode.CANCELLED, said.code)
        self.assertEqual([True], undone)

    @ddt.data(Unread, Hungup)
    def test_a_failure_has_its_exit_code(self, kind):
        def make_node(_observer):
            raise errors.RollbackIncomplete(reason='no', undone='x',
                                            record='r')

        self.use_node(make_node)
        said = self.run_command('status', err=self.broken(kind))
        self.assertEqual(main_module.ExitCode.LEFT, said.code)


class ProgressTestCase(base.BaseTestCase):

    def test_it_is_shown_until_it_cannot_be(self):
        master, slave = pty.openpty()
        with os.fdopen(slave, 'w') as stream:
            progress = show.Progress(quiet=False, stream=stream)
            progress.begins(Phase.MIRROR)
            progress.advances(0, 10)
            shown = os.read(master, 1000)
            self.assertIn(b'Copying the active layer', shown)
            os.close(master)
            progress.begins(Phase.UPLOAD)
            for done in range(10):
                progress.advances(done, 10)
            progress.complete()


@ddt.ddt
class ProcessTestCase(base.BaseTestCase):
    """A process has nothing but its descriptors."""

    def run_python(self, shell, *arguments, environment=''):
        """Run Python with streams that a shell has closed."""
        return subprocess.run(
            ['sh', '-c', f'exec env {environment} "$@" {shell}', 'sh',
             sys.executable, *arguments],
            env={name: value for name, value in os.environ.items()
                 if name != 'PYTHONUNBUFFERED'},
            capture_output=True, text=True)

    def run_code(self, shell, code, **options):
        return self.run_python(
            shell, '-c', 'import os, sys\nfrom nova_snap.cmd import show\n'
            'show.open_closed()\n' + code, **options)

    def run_main(self, shell, *words):
        return self.run_python(shell, '-m', 'nova_snap.cmd.main', *words)

    def test_a_file_does_not_become_a_standard_stream(self):
        done = self.run_code(
            '<&- 2>&-', 'print(os.open(os.devnull, os.O_RDONLY))\n'
                        'show.say("unread")\nshow.drop_unwritten()')
        self.assertEqual((0, '3\n', ''),
                         (done.returncode, done.stdout, done.stderr))

    def test_what_is_closed_cannot_be_written(self):
        done = self.run_code(
            '>&-', 'try:\n    show.out("x")\n'
                   'except show.OutputLost as exc:\n    show.say(str(exc))')
        self.assertEqual(
            (0, 'Standard output cannot be written: Bad file descriptor\n'),
            (done.returncode, done.stderr))

    def test_a_failure_is_not_told_on_standard_output(self):
        done = self.run_main('2>&-', '--config-file', '/missing', 'list')
        self.assertEqual((main_module.ExitCode.USAGE, '', ''),
                         (done.returncode, done.stdout, done.stderr))

    @ddt.data('>/dev/full', '>&-', '>/dev/full 2>&-', '<&- >&- 2>&-')
    def test_a_help_that_is_not_read_is_no_failure(self, shell):
        # Python would say so at its end, and end with 120.
        done = self.run_main(shell, '--help')
        self.assertEqual((0, ''), (done.returncode, done.stderr))

    @ddt.data('LC_ALL=C', 'LC_ALL=en_US.ISO-8859-1', 'PYTHONUTF8=0 LC_ALL=C',
              'PYTHONIOENCODING=latin-1')
    def test_what_a_locale_has_no_letter_for_is_printed_by_its_number(
            self, locale):
        done = self.run_code(
            '', 'show.out("vm-\\u4e2d")\nshow.say("\\u4e2d")\n',
            environment=locale)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertTrue(done.stdout.startswith('vm-'))

    def test_an_interrupt_while_it_is_loaded_is_no_traceback(self):
        done = self.run_python(
            '', '-c', INTERRUPTED_IMPORT)
        self.assertEqual(
            (130, '', 'nova-snap: cancelled; the guest is as it was\n'),
            (done.returncode, done.stdout, done.stderr))

    def test_an_interrupt_before_it_is_listened_for_is_no_traceback(self):
        done = self.run_python(
            '', '-c', INTERRUPTED_CALL, 'make_parser', 'list')
        self.assertEqual(
            (130, '', 'nova-snap: cancelled; the guest is as it was\n'),
            (done.returncode, done.stdout, done.stderr))

    def test_an_interrupt_after_the_end_changes_no_exit_code(self):
        done = self.run_python(
            '', '-c', INTERRUPTED_CALL, '_exit_code',
            '--config-file', '/missing', 'list')
        self.assertEqual(main_module.ExitCode.USAGE, done.returncode)
        self.assertNotIn('cancelled', done.stderr)

    def test_what_asks_glance_is_not_loaded_with_the_command(self):
        # It takes as long as half of the rest.
        done = self.run_python(
            '', '-c', 'import sys\nfrom nova_snap.cmd import main\n'
                      'sys.exit("glanceclient" in sys.modules)')
        self.assertEqual((0, ''), (done.returncode, done.stderr))


# Something that the command imports is interrupted.
INTERRUPTED_IMPORT = """
import sys
from nova_snap.cmd import start
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == 'oslo_config':
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
sys.exit(start.main())
"""

# A function of the command is interrupted.
INTERRUPTED_CALL = """
import os, signal, sys
from nova_snap.cmd import main, start
name = sys.argv.pop(1)
real = getattr(main, name)
def interrupted(*args):
    os.kill(os.getpid(), signal.SIGINT)
    return real(*args)
setattr(main, name, interrupted)
sys.exit(start.main())
"""
