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

"""The lab that the stages share: started by the first that needs it."""

import threading

from tests.lab import errors
from tests.lab import place
from tests.stages import ground as ground_module
from tests.stages import performance
from tests.stages import processes

# Seconds to look at the lab, and to end all of it.
STATUS_LIMIT = 60
DOWN_LIMIT = 300


class SharedLab:
    """The lab, and which part of it is ours to end.

    What ran before is left running.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._to_end: tuple[str, ...] = ()

    def up(self, run: performance.Performance, *arguments: str) -> None:
        """Start the lab, unless it runs.

        :param arguments: those of ``python -m tests.lab``
        :raises LabError: when it does not start
        """
        with self._lock:
            if not self._to_end and _lab(run, 'status')[0]:
                self._to_end = ('down',)
            elif (not self._to_end
                  and _lab(run, 'status', *arguments)[0]):
                self._to_end = ('down', *arguments)
            status, output = _lab(run, 'up', *arguments,
                                  limit=performance.LIMIT)
        if status:
            raise errors.LabError(
                f'the lab does not start: {output.splitlines()[-1]}')

    def down(self, ground: ground_module.Ground) -> bool:
        """End what is ours; tell whether that went well."""
        with self._lock:
            words, self._to_end = self._to_end, ()
        if not words:
            return True
        # Of its own: the others may have been stopped.
        status = processes.Processes().run(
            [ground.venv('venv').program('python'), '-m', 'tests.lab',
             *words], ground.folder / 'test' / 'down.log',
            limit=DOWN_LIMIT, cwd=place.CHECKOUT)
        return not status


def _lab(run: performance.Performance, *words: str,
         limit: float = STATUS_LIMIT) -> tuple[int, str]:
    return run.run(run.ground.product().program('python'), '-m', 'tests.lab',
                   *words, limit=limit)
