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

"""The labs of the stages: each started by the first that needs it."""

import pathlib
import threading

from tests.lab import errors
from tests.lab import place
from tests.stages import ground as ground_module
from tests.stages import performance
from tests.stages import processes

# Seconds to look at the lab, and to end all of it.
STATUS_LIMIT = 60
DOWN_LIMIT = 300


class Lab:
    """A lab, and whether it is ours to end.

    What ran before is left running.
    """

    def __init__(self, folder: str, *parts: str) -> None:
        """Know a lab.

        :param folder: its run folder's name, below the lab's folder
        :param parts: what ``python -m tests.lab`` starts besides, as
            ``--volumes``
        """
        self._folder = folder
        self._parts = parts
        self._lock = threading.Lock()
        self._is_ours = False

    def run_dir(self, ground: ground_module.Ground) -> pathlib.Path:
        """Name its run folder, which is an option of the tests."""
        return ground.folder / self._folder

    def up(self, run: performance.Performance) -> None:
        """Start the lab, unless it runs.

        :raises LabError: when it does not start
        """
        where = ('--run-dir', str(self.run_dir(run.ground)), *self._parts)
        with self._lock:
            if _lab(run, 'status', *where)[0]:
                self._is_ours = True
            status, output = _lab(run, 'up', *where, limit=performance.LIMIT)
        if status:
            raise errors.LabError(
                f'the lab does not start: {output.splitlines()[-1]}')

    def down(self, ground: ground_module.Ground) -> bool:
        """End what is ours; tell whether that went well."""
        with self._lock:
            is_ours, self._is_ours = self._is_ours, False
        if not is_ours:
            return True
        # Of its own: the others may have been stopped.
        status = processes.Processes().run(
            [ground.venv('venv').program('python'), '-m', 'tests.lab',
             'down', '--run-dir', str(self.run_dir(ground))],
            ground.folder / 'test' / 'down.log',
            limit=DOWN_LIMIT, cwd=place.CHECKOUT)
        return not status


def _lab(run: performance.Performance, *words: str,
         limit: float = STATUS_LIMIT) -> tuple[int, str]:
    return run.run(run.ground.product().program('python'), '-m', 'tests.lab',
                   *words, limit=limit)
