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

"""Children of one process that has loaded already what they run.

To start Python and load the command takes longer than what most tests want
of it. A child is a process of its own all the same.
"""

import collections.abc as cabc
import json
import os
import subprocess
import sys
import typing as ty

from tests.lab import place

Run = cabc.Callable[[dict[str, ty.Any]], ty.NoReturn]


def serve(run: Run) -> None:
    """Run each order that comes in a child, until there are no more."""
    # The answers' own way out: what a child prints goes to its files.
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            run(order)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), file=answers)


def to_files(folder: str) -> None:
    """Let this process read nothing, and print to files of a folder."""
    _redirect(0, os.devnull, os.O_RDONLY)
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        _redirect(number, os.path.join(folder, name),
                  os.O_CREAT | os.O_TRUNC | os.O_WRONLY)


def _redirect(number: int, path: str, flags: int) -> None:
    descriptor = os.open(path, flags, 0o600)
    os.dup2(descriptor, number)
    os.close(descriptor)


class Server:
    """The process that runs all children, one after the other."""

    def __init__(self, module: str, life: float) -> None:
        """Start it.

        :param module: calls :func:`serve`
        :param life: seconds that no child lives longer than
        """
        self._life = life
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith('OS_')}
        self._process = subprocess.Popen(
            [sys.executable, '-m', module], text=True, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd=place.CHECKOUT, start_new_session=True)

    def run(self, order: cabc.Mapping[str, ty.Any]) -> int:
        """Run one child to its end and return its exit code."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        print(json.dumps(order), file=stdin, flush=True)
        return int(json.loads(stdout.readline()))

    def stop(self) -> None:
        """End them all."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(self._life)
        self._process.stdout.close()
