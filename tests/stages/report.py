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

"""What tools/test prints: one line for each stage, and why one failed."""

import collections
import pathlib
import re
import threading

from tests.stages import figures
from tests.stages import processes

# Lines of a log that are shown when a stage fails.
TAIL = 60

FAILED_TEST = re.compile(r'^\{\d+\} (.*) \[.*\] \.\.\. FAILED$',
                         re.MULTILINE)
SKIPPED_TEST = re.compile(r'^.* \.\.\. SKIPPED: (.*)$', re.MULTILINE)


class Report:
    """The lines, printed as the stages end, and the figures of all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = figures.Figures()

    def ended(self, stage: str, counted: figures.Figures, seconds: float,
              log: pathlib.Path, *, names: tuple[str, ...] = (),
              why: str = '') -> None:
        """Print how a stage ended, and count it.

        One that ran nothing has failed.

        :param names: of the tests that were wanted, all when there are none
        :param why: it could not even begin; its log says nothing then
        """
        text = log.read_text(errors='replace') if log.exists() else ''
        if not counted.ran:
            why = why or _nothing(stage, names, text)
            counted += figures.ONE_FAILED
        word = 'FAILED' if counted.failed else 'ok'
        lines = [f'{stage:<15} {word:<7} {seconds:4.0f} s   {counted}']
        lines += _reasons(text)
        if counted.failed:
            lines += _failures(text, log, why)
        self._print(counted, lines)

    def left_out(self, stage: str, why: str) -> None:
        """Print why a stage was not performed; it counts as skipped."""
        self._print(figures.ONE_SKIPPED, [f'{stage:<15} skipped          '
                                          f'{why}'])

    def _print(self, counted: figures.Figures, lines: list[str]) -> None:
        with self._lock:
            self.total += counted
            print('\n'.join(lines), flush=True)


def _nothing(stage: str, names: tuple[str, ...], text: str) -> str:
    if names and figures.NO_MATCH in text:
        return f'no test of {stage} has the name {" or ".join(names)}'
    return 'no test was run'


def _reasons(text: str) -> list[str]:
    """Say why tests were skipped, each reason once."""
    counter = collections.Counter(SKIPPED_TEST.findall(text))
    return [f'    skipped {times}: {reason}'
            for reason, times in sorted(counter.items())]


def _failures(text: str, log: pathlib.Path, why: str) -> list[str]:
    if why:
        return [f'    {line}' for line in why.splitlines()]
    return [*(f'    failed: {name}' for name in FAILED_TEST.findall(text)),
            *(f'    | {line}'
              for line in processes.tail(log, TAIL).splitlines()),
            f'    all of it: {log}']
