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

"""What a stage counts, and how it is read out of a command's output."""

import dataclasses
import re

# What stestr writes at its end, and what it is to us. An expected failure is
# a test that does what it says.
STESTR_TOTAL = re.compile(
    r'^ - (Passed|Expected Fail|Failed|Unexpected Success|Skipped): (\d+)$',
    re.MULTILINE)
STESTR_WORDS = {
    'Passed': 'passed', 'Expected Fail': 'passed',
    'Failed': 'failed', 'Unexpected Success': 'failed',
    'Skipped': 'skipped'}

# What it writes when no test was chosen.
NO_MATCH = "The specified regex doesn't match with anything"

# What a program writes that checks one thing after the other.
CHECK = re.compile(r'^(ok|not ok) ', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Figures:
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: 'Figures') -> 'Figures':
        return Figures(self.passed + other.passed,
                       self.failed + other.failed,
                       self.skipped + other.skipped)

    def __str__(self) -> str:
        return (f'{self.passed} passed, {self.failed} failed, '
                f'{self.skipped} skipped')

    @property
    def ran(self) -> int:
        """How many were run: a skipped test was not."""
        return self.passed + self.failed


ONE_PASSED = Figures(passed=1)
ONE_FAILED = Figures(failed=1)
ONE_SKIPPED = Figures(skipped=1)


def of_command(status: int) -> Figures:
    """Count a command as one test."""
    return ONE_FAILED if status else ONE_PASSED


def of_stestr(output: str, status: int) -> Figures:
    """Count the tests of one run of stestr.

    A run that ended badly and has no failed test counts as one: nothing
    could be run, or it was ended on the way. One that no test was chosen for
    has run nothing.

    :param output: what that run wrote, and nothing of another
    """
    if NO_MATCH in output:
        return Figures()
    # The last of each: a test may print the same words.
    totals = {name: int(number)
              for name, number in STESTR_TOTAL.findall(output)}
    counted = Figures()
    for name, number in totals.items():
        counted += Figures(**{STESTR_WORDS[name]: number})
    return _with_status(counted, status)


def of_checks(output: str, status: int) -> Figures:
    """Count the lines "ok" and "not ok" of a program.

    One that ended badly before it could say what is wrong has failed once.
    """
    words = CHECK.findall(output)
    return _with_status(
        Figures(passed=words.count('ok'), failed=words.count('not ok')),
        status)


def _with_status(counted: Figures, status: int) -> Figures:
    return counted + ONE_FAILED if status and not counted.failed else counted
