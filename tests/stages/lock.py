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

"""Who uses the lab's folder, so that two checkouts do not use it at once.

The virtual environments in it are those of one checkout, and so is what
runs there. A tool holds a shared lock on a file that names the checkout, its
process and itself, as long as it runs: tools of one checkout may run at the
same time, a tool of another one is refused.
"""

import collections.abc as cabc
import contextlib
import fcntl
import os
import pathlib
import time

from tests.lab import errors
from tests.lab import process

# In the lab's folder.
USERS = 'in-use'

# Folders of the lab in which daemons may be left running, and how far down
# their pid files are.
RUN_DIRS = ('run', 'e2e', 'vfio', 'bench', 'faults')
DEPTH = 3

# Seconds. Another tool of ours holds the file for some microseconds only,
# when it writes.
TAKE_TIMEOUT = 5
POLL = 0.1


def take(folder: pathlib.Path, checkout: pathlib.Path, tool: str, *,
         ends: bool = False) -> int:
    """Take the lab's folder for a checkout, as long as this process lives.

    :param tool: its name, for the one who finds the folder taken
    :param ends: it is there to end what was left running, of any checkout
    :returns: the descriptor that holds the lock; a program that is executed
        in this process's place holds it too, a child does not
    :raises LabError: when a tool of another checkout uses it, or what that
        one started still runs; nothing was changed
    """
    descriptor = os.open(folder / USERS,
                         os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _take(descriptor, folder, checkout, tool, ends=ends)
    except BaseException:
        os.close(descriptor)
        raise
    os.set_inheritable(descriptor, True)
    return descriptor


def take_alone(file: pathlib.Path, tool: str) -> int:
    """Hold a file's lock as long as this process lives, as :func:`take`.

    :returns: the descriptor, likewise
    :raises LabError: when another process holds it
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    if not _lock(descriptor, fcntl.LOCK_EX, 0):
        os.close(descriptor)
        raise errors.LabError(f'another {tool} runs: {file} is locked')
    os.set_inheritable(descriptor, True)
    return descriptor


@contextlib.contextmanager
def held(file: pathlib.Path, *, patience: float = 0) -> cabc.Iterator[None]:
    """Hold a file's lock, alone.

    :param patience: seconds to wait for another process or thread
    :raises LabError: when it is still held by another then
    """
    with file.open('ab') as opened:
        if not _lock(opened.fileno(), fcntl.LOCK_EX, patience):
            raise errors.LabError(f'another process holds {file}')
        yield


def _take(descriptor: int, folder: pathlib.Path, checkout: pathlib.Path,
          tool: str, *, ends: bool) -> None:
    line = f'{os.getpid()} {process.start_ticks(os.getpid())} {tool}\n'
    deadline = time.monotonic() + TAKE_TIMEOUT
    while True:
        if not _lock(descriptor, fcntl.LOCK_SH, TAKE_TIMEOUT):
            raise errors.LabError(f'{folder / USERS} is locked')
        owner, users = _read(descriptor)
        if owner == str(checkout):
            os.write(descriptor, line.encode())
            return
        if _lock(descriptor, fcntl.LOCK_EX, 0):
            # Nothing says that the file is the same as before.
            owner, users = _read(descriptor)
            if owner and owner != str(checkout) and not ends:
                _refuse_leftovers(folder, owner)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f'{checkout}\n'.encode())
            # To make a lock a shared one gives it up for a moment: see
            # whose the folder is then.
        elif time.monotonic() > deadline:
            raise errors.LabError(
                f'{folder} is in use by {", ".join(users) or "a tool"} of '
                f'{owner}: wait, or set NOVA_SNAP_LAB to another folder')


def _lock(descriptor: int, kind: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        else:
            return True


def _read(descriptor: int) -> tuple[str, list[str]]:
    """Return the checkout, and its tools that still run."""
    text = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()
    owner, _, rest = text.partition('\n')
    users = []
    for line in rest.splitlines():
        pid, ticks, tool = line.split(maxsplit=2)
        if process.start_ticks(int(pid)) == ticks:
            users.append(f'{tool} (process {pid})')
    return owner, users


def _refuse_leftovers(folder: pathlib.Path, owner: str) -> None:
    """Refuse a folder in which a daemon of another checkout runs."""
    for run_dir in RUN_DIRS:
        for depth in range(1, DEPTH + 1):
            pattern = '/'.join((run_dir, *'*' * (depth - 1), '*.pid'))
            for pid_file in folder.glob(pattern):
                daemon = process.Daemon(pid_file.stem, pid_file.parent)
                if daemon.pid is not None:
                    raise errors.LabError(
                        f'{daemon.name} (process {daemon.pid}), which a tool '
                        f'of {owner} started, still runs in {folder}: end it '
                        f'with "{_ender(run_dir)} --down", or set '
                        'NOVA_SNAP_LAB to another folder')


def _ender(run_dir: str) -> str:
    """Name the tool that ends what runs in a folder."""
    return {'run': 'tools/demo', 'bench': 'bench/run'}.get(
        run_dir, f'tools/{run_dir}')
