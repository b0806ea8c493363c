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

"""One stage while it is performed: what it runs, and where it writes."""

import collections.abc as cabc
import dataclasses
import pathlib
import shutil

from tests.lab import place
from tests.stages import figures
from tests.stages import ground as ground_module
from tests.stages import names
from tests.stages import venvs

# Seconds after which a command is ended; each takes a small part of it.
LIMIT = 900

# Tests of one class run in one process, in order.
GROUP_REGEX = r'([^\.]+\.)+'

TEST_ENVIRONMENT = {
    # A file that is never closed is a bug of ours; other warnings are of
    # others.
    'PYTHONWARNINGS': 'default::ResourceWarning',
    # What a test prints and logs belongs to its failure, not to the log.
    'OS_STDOUT_CAPTURE': '1', 'OS_STDERR_CAPTURE': '1', 'OS_LOG_CAPTURE': '1',
}


@dataclasses.dataclass(frozen=True)
class Performance:
    """One stage, and what its functions need.

    :ivar logs: the folder of the stages' logs
    :ivar names: of the tests that are wanted; all when there are none
    :ivar releases: of Nova, in place of all that the driver is for
    """

    stage: str
    logs: pathlib.Path
    ground: ground_module.Ground
    names: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()

    @property
    def log(self) -> pathlib.Path:
        """What the stage writes."""
        return self.logs / f'{self.stage}.log'

    def run(self, *argv: str, limit: float = LIMIT,
            cwd: pathlib.Path = place.CHECKOUT,
            env: cabc.Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command; return its exit status and what it wrote."""
        before = self.log.stat().st_size if self.log.exists() else 0
        status = self.ground.runner.run(argv, self.log, limit=limit, cwd=cwd,
                                        env=env)
        with self.log.open('rb') as log:
            log.seek(before)
            return status, log.read().decode(errors='replace')

    def checks(self, *commands: cabc.Sequence[str]) -> figures.Figures:
        """Run commands, each of which counts as one test."""
        counted = figures.Figures()
        for argv in commands:
            counted += figures.of_command(self.run(*argv)[0])
        return counted

    def tests(self, venv: venvs.Venv, folder: str, *, test_timeout: int,
              limit: float = LIMIT, cwd: pathlib.Path = place.CHECKOUT,
              serial: bool = False,
              run_dir: pathlib.Path | None = None) -> figures.Figures:
        """Run the tests of a folder, or those that are named.

        :param folder: below tests/
        :param test_timeout: seconds for one test
        :param limit: seconds for all
        :param cwd: below which the tests are found, and nothing else
        :param serial: one after the other
        :param run_dir: of the lab that they are to use
        """
        results = self.logs / f'{folder}.stestr'
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        status, output = self.run(
            venv.program('python'), '-m', 'stestr', '--top-dir', '.',
            '--test-path', f'./tests/{folder}',
            '--group_regex', GROUP_REGEX, '--repo-url', str(results), 'run',
            *(['--serial'] if serial else []),
            *(names.pattern(name) for name in self.names),
            limit=limit, cwd=cwd,
            env={**TEST_ENVIRONMENT, 'OS_TEST_TIMEOUT': str(test_timeout),
                 **({'NOVA_SNAP_LAB_RUN': str(run_dir)} if run_dir else {})})
        return figures.of_stestr(output, status)
