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

"""Stages that are performed, and what is said of them."""

import contextlib
import io
import os
import pathlib
import signal
import threading

import ddt
import fixtures
from oslotest import base

from tests.lab import errors
from tests.stages import __main__ as main_module
from tests.stages import figures
from tests.stages import lock
from tests.stages import options as options_module
from tests.stages import stages

PATIENCE = 20

FAILED_LOG = """\
{0} tests.unit.test_a.ATestCase.test_one [0.1s] ... FAILED
{0} tests.unit.test_a.ATestCase.test_two [0.1s] ... ok
"""
SKIPPED_LOG = """\
{0} tests.unit.test_a.ATestCase.test_one ... SKIPPED: no Nova
{0} tests.unit.test_a.ATestCase.test_two ... SKIPPED: no Nova
{0} tests.unit.test_a.ATestCase.test_six ... SKIPPED: no root
"""


class SessionTest(base.BaseTestCase):
    """Calls of tools/test, with stages of the test's own."""

    def setUp(self):
        super().setUp()
        self.lab = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable('NOVA_SNAP_LAB',
                                                     str(self.lab)))

    def stage(self, name='unit', counted=figures.ONE_PASSED, *, log='',
              raises=None, do=None, **facts):
        """Return a stage that writes, counts and fails as the test says."""
        def perform(run):
            if do:
                do()
            run.log.write_text(log)
            if raises:
                raise raises
            return counted
        return stages.Stage(name, perform, **facts)

    def session(self, *wanted, **facts):
        return main_module.Session(options_module.Options(wanted, **facts))

    def run_stages(self, *wanted, **facts):
        """Perform stages; return the lines, and keep the session."""
        self.ran = self.session(*wanted, **facts)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.ran.perform()
            self.ran.end()
        return said.getvalue().splitlines()


@ddt.ddt
class ReportTestCase(SessionTest):

    def test_one_line_for_each_stage(self):
        lines = self.run_stages(
            self.stage('lint', figures.Figures(2)),
            self.stage('unit', figures.Figures(5, 0, 1)))
        self.assertEqual(
            ['lint            ok         0 s   2 passed, 0 failed, 0 skipped',
             'unit            ok         0 s   5 passed, 0 failed, 1 skipped'],
            lines)
        self.assertEqual(figures.Figures(7, 0, 1), self.ran.report.total)

    def test_a_stage_that_ran_nothing_has_failed(self):
        lines = self.run_stages(self.stage(counted=figures.Figures(0, 0, 4)))
        self.assertIn('FAILED', lines[0])
        self.assertIn('0 passed, 1 failed, 4 skipped', lines[0])
        self.assertEqual('    no test was run', lines[1])
        self.assertEqual(1, self.ran.report.total.failed)

    def test_a_name_that_no_test_has(self):
        lines = self.run_stages(
            self.stage(counted=figures.Figures(), log=figures.NO_MATCH),
            names=('test_a', 'test_b'))
        self.assertEqual(
            ['    no test of unit has the name test_a or test_b'], lines[1:])
        self.assertEqual(figures.ONE_FAILED, self.ran.report.total)

    def test_a_failure_shows_the_end_of_the_log(self):
        lines = self.run_stages(self.stage(
            counted=figures.Figures(1, 1), log=FAILED_LOG))
        self.assertEqual(
            ['    failed: tests.unit.test_a.ATestCase.test_one',
             *(f'    | {line}' for line in FAILED_LOG.splitlines()),
             f'    all of it: {self.lab}/test/unit.log'], lines[1:])

    def test_each_reason_to_skip_once(self):
        lines = self.run_stages(self.stage(log=SKIPPED_LOG))
        self.assertEqual(['    skipped 2: no Nova', '    skipped 1: no root'],
                         lines[1:])

    def test_what_a_stage_could_not_begin_with(self):
        lines = self.run_stages(self.stage(
            raises=errors.LabError('must be run as root: it\nis so')))
        self.assertIn('0 passed, 1 failed, 0 skipped', lines[0])
        self.assertEqual(['    must be run as root: it', '    is so'],
                         lines[1:])

    def test_a_bug_of_a_stage_is_its_failure(self):
        lines = self.run_stages(self.stage('lint', raises=KeyError('this')),
                                self.stage('unit'))
        self.assertIn("    KeyError: 'this'", lines)
        self.assertIn('unit            ok', lines[-1])

    def test_what_was_left_out_counts_as_skipped(self):
        lines = self.run_stages(
            self.stage(), left_out=(self.stage('volumes'),))
        self.assertEqual('volumes         skipped          --fast was given',
                         lines[0])
        self.assertEqual(figures.Figures(1, 0, 1), self.ran.report.total)

    def test_the_log_of_another_run_is_not_read(self):
        self.run_stages(self.stage(log=SKIPPED_LOG))
        self.assertEqual(1, len(self.run_stages(
            stages.Stage('unit', lambda _: figures.ONE_PASSED))))

    def test_a_stage_that_another_tool_performs(self):
        session = self.session(self.stage())
        with lock.held(session.logs / 'unit.lock'):
            lines = self.run_stages(self.stage())
        self.assertIn('another process holds', lines[1])


class LanesTestCase(SessionTest):
    """Two stages at the same time, where nothing is shared."""

    def setUp(self):
        super().setUp()
        self.barrier = threading.Barrier(2)
        self.niceness = {}

    def meet(self, name):
        """Return a chore that waits for one of the other lane."""
        def do():
            self.niceness[name] = os.getpriority(os.PRIO_PROCESS, 0)
            self.barrier.wait(PATIENCE)
        return do

    def test_the_lab_and_the_others_at_the_same_time(self):
        before = os.getpriority(os.PRIO_PROCESS, 0)
        self.run_stages(
            self.stage('unit', do=self.meet('unit')),
            self.stage('functional', do=self.meet('functional'),
                       lane=stages.Lane.LAB, has_guests=True))
        self.assertEqual(figures.Figures(2), self.ran.report.total)
        self.assertEqual(
            {'functional': before,
             'unit': min(before + main_module.NICENESS, 19)}, self.niceness)
        self.assertEqual(before, os.getpriority(os.PRIO_PROCESS, 0))

    def test_two_labs_at_the_same_time(self):
        before = os.getpriority(os.PRIO_PROCESS, 0)
        self.run_stages(
            self.stage('faults', do=self.meet('faults'),
                       lane=stages.Lane.SECOND_LAB),
            self.stage('functional', do=self.meet('functional'),
                       lane=stages.Lane.LAB))
        self.assertEqual(figures.Figures(2), self.ran.report.total)
        self.assertEqual(dict.fromkeys(('faults', 'functional'), before),
                         self.niceness)

    def test_without_a_guest_nothing_is_slowed_down(self):
        before = os.getpriority(os.PRIO_PROCESS, 0)
        self.run_stages(
            self.stage('unit', do=self.meet('unit')),
            self.stage('nova', do=self.meet('nova'),
                       lane=stages.Lane.SECOND_LAB))
        self.assertEqual(dict.fromkeys(('unit', 'nova'), before),
                         self.niceness)

    def test_a_lab_that_follows_is_not_slowed_down(self):
        before = os.getpriority(os.PRIO_PROCESS, 0)
        self.run_stages(
            self.stage('nova', lane=stages.Lane.SECOND_LAB),
            self.stage('kills', do=self.meet('kills'), has_guests=True,
                       lane=stages.Lane.SECOND_LAB),
            self.stage('functional', do=self.meet('functional'),
                       lane=stages.Lane.LAB, has_guests=True))
        if os.geteuid() == 0:
            self.assertEqual(dict.fromkeys(('functional', 'kills'), before),
                             self.niceness)

    def test_guests_next_to_the_lab_are_not_slowed_down(self):
        before = os.getpriority(os.PRIO_PROCESS, 0)
        self.run_stages(
            self.stage('volumes', do=self.meet('volumes'), has_guests=True),
            self.stage('functional', do=self.meet('functional'),
                       lane=stages.Lane.LAB, has_guests=True),
            self.stage('unit', do=lambda: None))
        self.assertEqual(figures.Figures(3), self.ran.report.total)
        if os.geteuid() == 0:
            self.assertEqual(dict.fromkeys(('functional', 'volumes'), before),
                             self.niceness)

    def test_those_of_one_lane_one_after_the_other(self):
        order = []
        for lane in stages.Lane:
            order.clear()
            self.run_stages(*(
                self.stage(name, do=lambda name=name: order.append(name),
                           lane=lane) for name in ('one', 'two', 'three')))
            self.assertEqual(['one', 'two', 'three'], order)

    def test_a_failure_stops_no_other(self):
        lines = self.run_stages(
            self.stage('one', figures.ONE_FAILED),
            self.stage('two', figures.ONE_FAILED, lane=stages.Lane.LAB),
            self.stage('three'))
        self.assertEqual(figures.Figures(1, 2), self.ran.report.total)
        # The two lanes end in any order.
        self.assertEqual(
            1, len([line for line in lines
                    if line.startswith('three           ok')]))


@ddt.ddt
class MainTestCase(SessionTest):

    def setUp(self):
        super().setUp()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', io.StringIO()))

    def main(self, *performed):
        """Run main() on these stages; return its status and the lines."""
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.options.parse',
            lambda _: options_module.Options(performed)))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = main_module.main([])
        self.addCleanup(self._let_go)
        return status, said.getvalue().splitlines()

    def _let_go(self):
        """Close the lock's descriptor, which main() keeps to its end."""
        for link in pathlib.Path('/proc/self/fd').iterdir():
            with contextlib.suppress(OSError):
                if link.readlink() == self.lab / lock.USERS:
                    os.close(int(link.name))

    def test_the_last_line_has_the_figures_alone(self):
        status, lines = self.main(self.stage('lint', figures.Figures(2)),
                                  self.stage('unit', figures.Figures(5, 0, 1)))
        self.assertEqual(0, status)
        self.assertEqual('7 passed, 0 failed, 1 skipped', lines[-1])

    @ddt.data(figures.ONE_FAILED, figures.Figures(), figures.ONE_SKIPPED,
              figures.Figures(9, 1))
    def test_the_status_says_that_something_failed(self, counted):
        status, lines = self.main(self.stage(counted=counted))
        self.assertEqual(1, status)
        self.assertIn(' 1 failed,', lines[-1])

    def test_a_folder_that_is_in_use(self):
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.lock.TAKE_TIMEOUT', 0))
        lock.take(self.lab, pathlib.Path('/home/them/nova_snap'),
                  'tools/demo')
        status, lines = self.main(self.stage())
        self.assertEqual((1, ['0 passed, 1 failed, 0 skipped']),
                         (status, lines))

    @ddt.data(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    def test_a_signal_ends_all_that_runs(self, number):
        def perform(run):
            # The signal comes when the command has been started.
            return figures.of_command(run.run(
                'sh', '-c', f'kill -{int(number)} {os.getpid()}; sleep 50',
                cwd=self.lab)[0])

        with contextlib.redirect_stdout(io.StringIO()) as said:
            left = self.assertRaises(SystemExit, self.main,
                                     stages.Stage('unit', perform),
                                     self.stage('flow'))
        self.addCleanup(self._let_go)
        self.assertEqual(128 + number, left.code)
        self.assertEqual('', said.getvalue())
        log = (self.lab / 'test' / 'unit.log').read_text()
        self.assertNotIn('not ended', log)
