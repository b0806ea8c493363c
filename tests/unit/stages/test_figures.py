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

"""Counting what ran."""

import ddt
from oslotest import base

from tests.stages import figures

STESTR = """
{0} tests.unit.test_a.ATestCase.test_one [0.1s] ... ok

======
Totals
======
Ran: 7 tests in 1.0000 sec.
 - Passed: 3
 - Skipped: 1
 - Expected Fail: 1
 - Unexpected Success: 0
 - Failed: 2
Sum of execute time for each test: 1.0000 sec.
"""
GOOD = STESTR.replace('Failed: 2', 'Failed: 0')


@ddt.ddt
class FiguresTestCase(base.BaseTestCase):

    def test_they_read_as_the_last_line_of_a_run(self):
        self.assertEqual('1 passed, 2 failed, 3 skipped',
                         str(figures.Figures(1, 2, 3)))

    def test_what_was_skipped_was_not_run(self):
        self.assertEqual(3, figures.Figures(1, 2, 3).ran)

    @ddt.data((0, figures.ONE_PASSED), (1, figures.ONE_FAILED),
              (-9, figures.ONE_FAILED))
    @ddt.unpack
    def test_a_command_counts_as_one(self, status, counted):
        self.assertEqual(counted, figures.of_command(status))


class StestrTestCase(base.BaseTestCase):

    def test_all_kinds_are_counted(self):
        self.assertEqual(figures.Figures(4, 2, 1),
                         figures.of_stestr(STESTR, 1))

    def test_a_success_that_was_not_expected_has_failed(self):
        text = GOOD.replace('Success: 0', 'Success: 2')
        self.assertEqual(figures.Figures(4, 2, 1),
                         figures.of_stestr(text, 1))

    def test_a_good_run(self):
        self.assertEqual(figures.Figures(4, 0, 1),
                         figures.of_stestr(GOOD, 0))

    def test_what_a_test_printed_is_not_counted(self):
        self.assertEqual(figures.Figures(4, 0, 1),
                         figures.of_stestr(' - Passed: 99\n' + GOOD, 0))

    def test_a_bad_end_without_a_failed_test_is_a_failure(self):
        self.assertEqual(figures.Figures(4, 1, 1),
                         figures.of_stestr(GOOD, 1))

    def test_a_run_that_could_not_begin_has_failed(self):
        self.assertEqual(figures.ONE_FAILED,
                         figures.of_stestr('ImportError: nova', 1))

    def test_a_name_without_a_test_runs_nothing(self):
        self.assertEqual(figures.Figures(),
                         figures.of_stestr(figures.NO_MATCH, 1))


class ChecksTestCase(base.BaseTestCase):

    def test_each_line_is_one(self):
        self.assertEqual(
            figures.Figures(2, 1, 0),
            figures.of_checks('ok it\nnot ok this\n    ok not\nok that\n', 1))

    def test_ended_before_it_could_say_why(self):
        self.assertEqual(figures.Figures(1, 1, 0),
                         figures.of_checks('ok it\n', 2))

    def test_nothing_at_all(self):
        self.assertEqual(figures.Figures(), figures.of_checks('', 0))
