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

"""The command's words do not arrive: unread pipes, closed streams."""

import json
import os
import pty
import signal
import subprocess

import ddt

from nova_snap import units
from tests.functional import base

DONE, FAILED, UNREAD = 0, 1, 141

# Bytes per second: the mirror alone takes seconds.
SLOWLY = 8 * units.MiB


def unread():
    """Return the end of a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@ddt.ddt
class StreamsTestCase(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)
        self.before = base.look(self.running)

    def run_through(self, shell, *words, **streams):
        """Run the command as a shell starts it.

        :param shell: redirections
        :param streams: other than pipes that are read
        """
        environment = base.operators_environment()
        environment.pop('PYTHONUNBUFFERED', None)
        return subprocess.run(
            ['sh', '-c', f'exec "$@" {shell}', 'sh', *self.nova_snap_line(),
             *words], env=environment, stdin=subprocess.DEVNULL, text=True,
            timeout=base.COMMAND_TIMEOUT,
            **{'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE,
               **streams})

    def unread(self):
        writer = unread()
        self.addCleanup(os.close, writer)
        return writer

    def assert_image(self):
        """Assert that one image was made and nothing was left; name it."""
        (image_id,) = set(self.images()) - self._images_before
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image_id)
        return image_id

    @ddt.data('list', 'status', 'check', 'image-create --dry-run {} image')
    def test_a_list(self, text):
        words = text.format(self.running.spec.uuid).split()
        done = self.run_through('', *words, stdout=self.unread())
        self.assertEqual((UNREAD, ''), (done.returncode, done.stderr))
        for shell, reason in (('>/dev/full', 'No space left on device'),
                              ('>&-', 'Bad file descriptor')):
            done = self.run_through(shell, *words)
            self.assertEqual(
                (FAILED, 'nova-snap: Standard output cannot be written: '
                         f'{reason}\n'), (done.returncode, done.stderr))

    @ddt.data('', '>/dev/full', '>&-', '<&- >&-')
    def test_an_image_that_cannot_be_told(self, shell):
        done = self.run_through(shell, '--quiet', 'image-create',
                                self.running.spec.name, 'image', '--json',
                                stdout=self.unread())
        self.assertEqual(DONE, done.returncode, done.stderr)
        self.assertIn(f'Image {self.assert_image()} is active', done.stderr)
        self.assertNotIn('Traceback', done.stderr)

    @ddt.data('', '2>/dev/full', '2>&-', '<&- 2>&-')
    def test_progress_into_a_closed_stream(self, shell):
        done = self.run_through(shell, '--verbose', 'image-create',
                                self.running.spec.name, 'image', '--json',
                                stderr=self.unread())
        self.assertEqual(DONE, done.returncode)
        self.assertEqual(self.assert_image(),
                         json.loads(done.stdout)['images'][0]['image_id'])

    @ddt.data('', '<&- >&- 2>&-')
    def test_all_streams_closed(self, shell):
        done = self.run_through(
            shell, '--debug', 'image-create', self.running.spec.name,
            'image', stdout=self.unread(), stderr=self.unread())
        self.assertEqual(DONE, done.returncode)
        self.assert_image()

    @ddt.data(True, False)
    def test_a_terminal_that_goes(self, ignored):
        """It cancels, unless its signal was ignored from the start."""
        if ignored:
            self.addCleanup(signal.signal, signal.SIGHUP,
                            signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.options['nova_snap']['bandwidth'] = str(SLOWLY)
        master, slave = pty.openpty()
        command = subprocess.Popen(
            ['setsid', '--ctty', *self.nova_snap_line(), 'image-create',
             self.running.spec.name, 'image'],
            env=base.operators_environment(), stdin=slave, stdout=slave,
            stderr=slave)
        self.addCleanup(command.kill)
        os.close(slave)
        said = b''
        while b'\rCopying' not in said:
            said += os.read(master, base.CHUNK)
        os.close(master)
        code = command.wait(base.COMMAND_TIMEOUT)
        if ignored:
            self.assertEqual(DONE, code)
            self.assert_image()
        else:
            self.assertEqual(130, code)
            self.assert_guest_untouched(self.running, self.before)
            self.assert_nothing_left()
