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

"""Commands that end, and daemons that another process can find again."""

import collections.abc
import contextlib
import os
import pathlib
import signal
import subprocess
import time
import typing as ty

from tests.lab import errors
from tests.lab import place

PROC = pathlib.Path('/proc')

# Seconds: a command of the lab that takes longer is stuck.
COMMAND_TIMEOUT = 300

# Seconds between two looks at a thing we wait for.
POLL = 0.05

# Bytes of a log that are shown when a daemon does not start.
LOG_TAIL = 2000

Found = ty.TypeVar('Found')


def run(argv: collections.abc.Sequence[str], *,
        timeout: float = COMMAND_TIMEOUT, cwd: pathlib.Path | None = None,
        stdin: str = '') -> str:
    """Run a command to its end and return what it wrote to stdout.

    :raises LabError: when it fails or takes too long; its stderr is in the
        message
    """
    try:
        done = subprocess.run(argv, cwd=cwd, input=stdin, text=True,
                              capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired as exc:
        raise errors.LabError(f'{" ".join(argv)} took more than '
                              f'{timeout} s') from exc
    if done.returncode:
        raise errors.LabError(f'{" ".join(argv)} failed '
                              f'({done.returncode}): {done.stderr.strip()}')
    return done.stdout


def wait_until(look: collections.abc.Callable[[], Found], *,
               timeout: float, what: str, poll: float = POLL) -> Found:
    """Look until there is something to see, or true, and return it.

    :param timeout: seconds
    :param poll: seconds between two looks
    :raises LabError: when there is nothing in time
    """
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise errors.LabError(f'{what}: not within {timeout} s')
        time.sleep(poll)
    return found


def start_ticks(pid: int) -> str | None:
    """Tell when a process started, in clock ticks; None when it is dead.

    A pid alone may belong to another process by now; a pid and its start time
    do not. A zombie counts as dead.
    """
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    fields = stat.rpartition(')')[2].split()
    return None if fields[0] in 'ZX' else fields[19]


def command_lines(proc: pathlib.Path = PROC) -> dict[int, str]:
    """Return the command line of every process, words parted by blanks."""
    found = {}
    for path in proc.glob('[0-9]*/cmdline'):
        # It may end between the two looks.
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = path.read_text(
                errors='replace').replace('\0', ' ')
    return found


class Daemon:
    """One long-running process, known by its pid file.

    The file holds the pid and the start time, so that a second process finds
    the daemon again and never ends a stranger with the same pid. The daemon
    leads a session of its own: its children end with it.
    """

    def __init__(self, name: str, run_dir: pathlib.Path) -> None:
        self.name = name
        self.pid_file = run_dir / f'{name}.pid'
        self.log_file = run_dir / f'{name}.log'
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid while the daemon runs, else None."""
        if self._child is not None:
            self._child.poll()
        try:
            pid, ticks = self.pid_file.read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if start_ticks(int(pid)) == ticks else None

    def start(self, argv: collections.abc.Sequence[str], *,
              env: dict[str, str] | None = None) -> None:
        """Start the daemon, detached from us, unless it runs."""
        if self.pid is not None:
            return
        place.make_dir(self.pid_file.parent)
        with self.log_file.open('ab') as log:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(env or {})}, cwd='/',
                start_new_session=True)
        ticks = start_ticks(self._child.pid)
        self.pid_file.write_text(f'{self._child.pid} {ticks}\n')

    def wait_ready(self, ready: collections.abc.Callable[[], object], *,
                   timeout: float) -> None:
        """Wait until a condition holds while the daemon lives.

        :raises LabError: when the daemon dies or is not ready in time; the
            end of its log is in the message
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.pid is None:
                raise errors.LabError(f'{self.name} died: {self.log_tail()}')
            if time.monotonic() > deadline:
                raise errors.LabError(f'{self.name} is not ready after '
                                      f'{timeout} s: {self.log_tail()}')
            time.sleep(POLL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon and its children, if it runs."""
        pid = self.pid
        if pid is not None:
            self._signal(pid, number, group=True)

    def log_tail(self) -> str:
        """Return the end of the log."""
        try:
            return self.log_file.read_text(errors='replace')[-LOG_TAIL:]
        except OSError:
            return f'(no {self.log_file})'

    def stop(self, *, group: bool = True, patience: float = 10.0) -> None:
        """End the daemon: TERM, and KILL when it does not listen.

        :param group: end its children too; False for a daemon whose children
            must live on, as a guest of libvirtd
        """
        pid = self.pid
        if pid is not None:
            self._signal(pid, signal.SIGTERM, group=group)
            try:
                wait_until(lambda: self.pid is None, timeout=patience,
                           what=f'end of {self.name}')
            except errors.LabError:
                self._signal(pid, signal.SIGKILL, group=group)
                wait_until(lambda: self.pid is None, timeout=patience,
                           what=f'death of {self.name}')
            if group:
                self._signal(pid, signal.SIGKILL, group=True)
        self.pid_file.unlink(missing_ok=True)

    @staticmethod
    def _signal(pid: int, number: signal.Signals, *, group: bool) -> None:
        try:
            (os.killpg if group else os.kill)(pid, number)
        except ProcessLookupError:
            pass
