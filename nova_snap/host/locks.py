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

"""One lock for each instance, on this host, across all processes.

A process that dies lets its locks go, whatever killed it: an owner is alive
when its lock is held. No other code must open a lock file, because closing any
descriptor of it lets the lock go.

A lock file is there as long as its lock is held: the holder removes it before
it lets go. So a process that has locked a file looks whether the file still
has its name, and tries again with the one that has it now if not.
oslo.concurrency does not look, so its locks for processes could not be
removed, and it opens whatever a link leads to.

:source: fcntl(2), "Advisory record locking"
"""

import collections.abc as cabc
import contextlib
import fcntl
import os
import pathlib
import uuid as uuid_module

from oslo_concurrency import lockutils

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap import folder as folder_module

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

# Between two tries: who only looks whether a lock is held lets it go at once,
# and a snapshot that ends may take a while.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5

# Each but the first is one in which another process let the lock go.
TRIES = 20

# In the name of a file that is made under another one than its own.
SEPARATOR = '.'

# What all operations hold in turn to see how much room the others leave.
ROOM = 'room'
# Seconds: it is held for two looks and a record.
ROOM_SECONDS = 30

# The threads that hold an instance. Not oslo.concurrency's own, which go by
# the name alone: Nova holds one of an instance's UUID while it shelves it.
# :source: nova/compute/manager.py shelve_instance
_THREADS = lockutils.Semaphores()


class Locks:
    """The locks below one directory.

    :param owner: uid and gid for the files, or None to leave them
    :param timeout: seconds to try: a process that looks whether a lock is
        held holds it for that moment
    """

    def __init__(self, journal_dir: str,
                 owner: tuple[int, int] | None = None, *,
                 timeout: float = 0,
                 clock: clock_module.Clock | None = None) -> None:
        self._path = pathlib.Path(journal_dir) / 'locks'
        self._owner = owner
        self._timeout = timeout
        self._clock = clock or clock_module.Clock()

    @contextlib.contextmanager
    def instance(self, uuid: str) -> cabc.Iterator[None]:
        """Hold the instance, or say soon that another process does.

        :raises InstanceLocked: when another process or thread holds it
        :raises JournalError: when the lock file cannot be made or opened
        """
        with contextlib.ExitStack() as stack:
            self._acquire(stack, uuid, self._timeout)
            yield

    @contextlib.contextmanager
    def room(self) -> cabc.Iterator[None]:
        """Hold what counts the room of this host, for a moment.

        :raises JournalError: when it cannot be held
        """
        with contextlib.ExitStack() as stack:
            try:
                self._acquire(stack, ROOM, ROOM_SECONDS)
            except errors.InstanceLocked as exc:
                raise errors.JournalError(
                    reason=f'The lock {self._path / ROOM} is held by another '
                           f'process for {ROOM_SECONDS} s. Does it hang?'
                ) from exc
            yield

    def _acquire(self, stack: contextlib.ExitStack, uuid: str,
                 timeout: float) -> None:
        for _ in self._clock.looks(timeout,
                                   first_pause=FIRST_PAUSE_SECONDS,
                                   longest_pause=LONGEST_PAUSE_SECONDS):
            if self._try(stack, uuid):
                return
        raise errors.InstanceLocked(
            instance=uuid,
            reason=f'its lock is not free within {timeout} s')

    def is_held(self, uuid: str) -> bool:
        """Tell whether a living process holds the instance.

        :raises JournalError: when the lock file cannot be made or opened
        """
        with contextlib.ExitStack() as stack:
            return not self._try(stack, uuid)

    def remove_unused(self) -> None:
        """Remove what killed processes have left of their locks.

        :raises JournalError: when they cannot be looked for
        """
        try:
            with folder_module.opened(self._path) as folder:
                # Not to be opened: one may be a second name of a file that we
                # have locked.
                folder.remove_files(lambda name: SEPARATOR in name)
                names = folder.names()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise self._unusable(exc) from exc
        for name in names:
            # What cannot be opened is no lock file of ours.
            with contextlib.suppress(errors.JournalError):
                self.is_held(name)

    def _try(self, stack: contextlib.ExitStack, name: str) -> bool:
        """Hold the lock until the stack ends, or say that another does."""
        thread = _THREADS.get(name)
        if not thread.acquire(blocking=False):
            # A second descriptor of its file would let the lock go.
            return False
        with contextlib.ExitStack() as attempt:
            attempt.callback(thread.release)
            try:
                self._prepare()
                folder = attempt.enter_context(
                    folder_module.opened(self._path))
                file = _lock(folder, name)
            except OSError as exc:
                raise self._unusable(exc) from exc
            if file is None:
                return False
            attempt.callback(_unlock, folder, name, file)
            stack.enter_context(attempt.pop_all())
        return True

    def _prepare(self) -> None:
        """Make the directory as the right user, if it is not there."""
        for directory in (self._path.parent, self._path):
            if not directory.is_dir():
                with folder_module.opened(directory.parent) as folder, \
                        contextlib.suppress(FileExistsError):
                    # Another process may make it at the same moment.
                    folder.make(directory.name, DIRECTORY_MODE, self._owner)

    def _unusable(self, exc: Exception) -> errors.JournalError:
        return errors.JournalError(
            reason=f'No lock can be had in {self._path}: {exc}. Does '
                   '[nova_snap]journal_dir belong to another user?')


def _lock(folder: folder_module.Folder, name: str) -> int | None:
    """Lock the file of this name.

    :returns: its descriptor; None when another process has locked it
    """
    for _ in range(TRIES):
        try:
            file = folder.open(name, os.O_RDWR)
        except FileNotFoundError:
            _make(folder, name)
            continue
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.holds(name, file):
                return file
        except (BlockingIOError, PermissionError):
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        # The one that held it has removed it since we opened it.
        os.close(file)
    return None


def _make(folder: folder_module.Folder, name: str) -> None:
    """Make a lock file, which its owner can open as soon as it has its name.

    Another process may do the same, or remove what we make.
    """
    new = f'{name}{SEPARATOR}{uuid_module.uuid4().hex}'
    file = folder.create(new, FILE_MODE)
    try:
        folder.give(file)
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            folder.link(new, name)
    finally:
        os.close(file)
        folder.remove(new)


def _unlock(folder: folder_module.Folder, name: str, file: int) -> None:
    """Remove the file of a lock that we hold, and let it go."""
    try:
        # Where it cannot be removed it stays, and can be locked again.
        with contextlib.suppress(OSError):
            folder.remove(name)
    finally:
        os.close(file)
