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

"""Commands that end, one way or the other."""

import os
import pathlib
import threading

import fixtures
from oslotest import base

from tests.lab import errors
from tests.lab import process
from tests.stages import processes

# Seconds, so long that a command is still running when it is ended; and so
# short that one which is not ended at all fails the test.
LONG = 50
PATIENCE = 20


class RunTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.log = self.folder / 'log'
        self.runner = processes.Processes()

    def run_shell(self, script, *, limit=LONG, **facts):
        return self.runner.run(['sh', '-c', script], self.log, limit=limit,
                               **facts)

    def in_the_background(self, script, **facts):
        """Run a script in a thread, and wait until it says that it runs."""
        fifo = self.folder / 'fifo'
        os.mkfifo(fifo)
        ended = []
        thread = threading.Thread(target=lambda: ended.append(
            self.run_shell(f'echo >{fifo}; {script}', **facts)))
        thread.start()
        self.addCleanup(thread.join)
        fifo.read_text()
        return thread, ended

    def assert_is_dead(self, pid):
        process.wait_until(lambda: process.start_ticks(pid) is None,
                           timeout=PATIENCE, what=f'end of process {pid}')

    def test_it_writes_into_the_log(self):
        self.log.write_text('before\n')
        self.assertEqual(3, self.run_shell('echo out; echo err >&2; exit 3'))
        self.assertEqual("before\n\n$ sh -c 'echo out; echo err >&2; exit 3'"
                         '\nout\nerr\n', self.log.read_text())

    def test_where_and_with_what_it_runs(self):
        self.run_shell('pwd; echo $GREETING', cwd=self.folder,
                       env={'GREETING': 'hello'})
        self.assertIn(f'\n{self.folder}\nhello\n', self.log.read_text())

    def test_nothing_is_asked_of_the_terminal(self):
        self.assertEqual(1, self.run_shell('read answer'))

    def test_one_that_takes_too_long_is_ended(self):
        self.assertEqual(processes.TIMED_OUT,
                         self.run_shell(f'sleep {LONG}', limit=0.1))
        self.assertIn('not ended after 0.1 s', self.log.read_text())

    def test_one_that_does_not_listen_is_killed(self):
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.processes.KILL_AFTER', 0.1))
        self.assertEqual(processes.TIMED_OUT, self.run_shell(
            f'trap "" TERM; sleep {LONG} & wait; sleep {LONG}', limit=0.5))

    def test_what_it_left_behind_is_killed(self):
        self.run_shell(f'sleep {LONG} & echo $! >{self.folder}/pid')
        self.assert_is_dead(int((self.folder / 'pid').read_text()))

    def test_a_program_that_is_missing(self):
        failed = self.assertRaises(
            errors.LabError, self.runner.run, ['/no/such/program'], self.log,
            limit=LONG)
        self.assertIn('/no/such/program: No such file', str(failed))

    def test_all_can_be_ended(self):
        thread, ended = self.in_the_background(f'sleep {LONG}')
        self.runner.stop()
        thread.join(PATIENCE)
        self.assertEqual([-15], ended)

    def test_nothing_is_started_after_that(self):
        self.assertFalse(self.runner.stopped)
        self.runner.stop()
        self.assertTrue(self.runner.stopped)
        self.assertRaises(processes.Stopped, self.run_shell, 'true')

    def test_one_that_must_not_be_interrupted_is_waited_for(self):
        release = self.folder / 'release'
        os.mkfifo(release)
        _, ended = self.in_the_background(f'cat {release}; exit 5',
                                          to_its_end=True)
        stopper = threading.Thread(target=self.runner.stop)
        stopper.start()
        release.write_text('')
        stopper.join(PATIENCE)
        process.wait_until(lambda: ended, timeout=PATIENCE, what='the end')
        self.assertEqual([5], ended)


class TailTestCase(base.BaseTestCase):

    def test_the_last_lines(self):
        log = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'log')
        log.write_text('one\ntwo\nthree\n')
        self.assertEqual('two\nthree', processes.tail(log, 2))
        self.assertEqual('one\ntwo\nthree', processes.tail(log, 9))

    def test_there_is_none(self):
        self.assertEqual('(no /no/log)',
                         processes.tail(pathlib.Path('/no/log'), 2))
