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

"""Commands that write into a log, end in time, and can all be ended."""

import collections.abc as cabc
import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading

from tests.lab import errors

# Seconds that a command may take to end by itself once it was asked to.
KILL_AFTER = 60

# The exit status of a command that took too long, as timeout(1) has it.
TIMED_OUT = 124


class Stopped(Exception):
    """Everything is being ended: nothing is started any more."""


class Processes:
    """The commands that run at this moment, in any thread."""

    def __init__(self) -> None:
        # A signal's handler may come in between.
        self._lock = threading.RLock()
        # With whether it is left to end by itself.
        self._running: dict[subprocess.Popen[bytes], bool] = {}
        self._stopped = False

    def run(self, argv: cabc.Sequence[str], log: pathlib.Path, *,
            limit: float, cwd: pathlib.Path | None = None,
            env: cabc.Mapping[str, str] | None = None,
            to_its_end: bool = False) -> int:
        """Run a command to its end, and return its exit status.

        What it started and did not end is killed with it, unless that leads
        a session of its own.

        :param log: what it writes is added there
        :param limit: seconds, after which it is ended: TIMED_OUT
        :param env: added to our own
        :param to_its_end: :meth:`stop` waits for it and does not end it
        :raises Stopped: after :meth:`stop`
        :raises LabError: when it cannot be started
        """
        with log.open('ab', buffering=0) as out:
            out.write(f'\n$ {shlex.join(argv)}\n'.encode())
            child = self._start(argv, out.fileno(), cwd, env,
                                to_its_end=to_its_end)
            try:
                return child.wait(limit)
            except subprocess.TimeoutExpired:
                _end(child)
                out.write(f'\nnot ended after {limit} s\n'.encode())
                return TIMED_OUT
            finally:
                _signal(child, signal.SIGKILL)
                with self._lock:
                    self._running.pop(child)

    @property
    def stopped(self) -> bool:
        """Whether all is being ended."""
        return self._stopped

    def stop(self) -> None:
        """End all commands, and let no other be started."""
        with self._lock:
            self._stopped = True
            running = dict(self._running)
        to_end = [child for child, to_its_end in running.items()
                  if not to_its_end]
        for child in to_end:
            _signal(child, signal.SIGTERM)
        for child in to_end:
            _end(child)
        for child in running:
            child.wait()

    def _start(self, argv: cabc.Sequence[str], out: int,
               cwd: pathlib.Path | None,
               env: cabc.Mapping[str, str] | None, *, to_its_end: bool
               ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Stopped
            try:
                child = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, cwd=cwd,
                    env={**os.environ, **(env or {})},
                    start_new_session=True)
            except OSError as exc:
                raise errors.LabError(f'{argv[0]}: {exc.strerror}') from exc
            self._running[child] = to_its_end
        return child


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _end(child: subprocess.Popen[bytes]) -> None:
    _signal(child, signal.SIGTERM)
    try:
        child.wait(KILL_AFTER)
    except subprocess.TimeoutExpired:
        _signal(child, signal.SIGKILL)
        child.wait()


def tail(log: pathlib.Path, lines: int) -> str:
    """Return the end of a log."""
    try:
        text = log.read_text(errors='replace')
    except OSError:
        return f'(no {log})'
    return '\n'.join(text.splitlines()[-lines:])


def say(text: str) -> None:
    """Say what is being done, apart from the results."""
    print(f'== {text}', file=sys.stderr, flush=True)
