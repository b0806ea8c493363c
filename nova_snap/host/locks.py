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

:source: fcntl(2), "Advisory record locking"
"""

import collections.abc as cabc
import contextlib
import os
import pathlib
import threading

from oslo_concurrency import lockutils

from nova_snap import clock as clock_module
from nova_snap import errors

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

# Between two tries: who only looks whether a lock is held lets it go at once,
# and a snapshot that ends may take a while.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5

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

    def _try(self, stack: contextlib.ExitStack, uuid: str) -> bool:
        self._prepare(uuid)
        try:
            stack.enter_context(lockutils.lock(
                uuid, external=True, lock_path=str(self._path),
                semaphores=_THREADS, do_log=False, blocking=False))
        except lockutils.AcquireLockFailedException:
            return False
        except (OSError, threading.ThreadError) as exc:
            raise self._unusable(exc) from exc
        return True

    def _prepare(self, uuid: str) -> None:
        """Make directory and file as the right user, if they are not there.

        A file that is there may be locked by us: it is not opened.
        """
        try:
            for directory in (self._path.parent, self._path):
                if not directory.is_dir():
                    # Another process may make it at the same moment.
                    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
                    self._own(directory)
            file = self._path / uuid
            if not file.exists():
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(file, os.O_CREAT | os.O_EXCL
                                     | os.O_RDWR, FILE_MODE))
                    self._own(file)
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, exc: Exception) -> errors.JournalError:
        return errors.JournalError(
            reason=f'No lock can be had in {self._path}: {exc}. Does '
                   '[nova_snap]journal_dir belong to another user?')

    def _own(self, path: pathlib.Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner)
