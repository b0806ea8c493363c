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

"""Bytes that are read and hashed while those before them are sent."""

import collections.abc as cabc
import contextlib
import hashlib
import queue
import threading
import types

from nova_snap.model import stream
from nova_snap.transfer import rate

# Chunks of up to 1 MiB that wait to be sent: enough that neither side waits
# for the other at each one.
DEPTH = 4

Settle = cabc.Callable[[], None]


class Ahead:
    """What an iterator yields, made in a thread of its own.

    An error of the iterator is raised to its reader, behind all that was
    yielded before.

    :param made: iterated in the thread alone. Each step must end by itself.
    :param settle: called there before a wait for the reader, which may be
        long
    """

    def __init__(self, made: cabc.Iterator[bytes],
                 settle: Settle = lambda: None) -> None:
        self._made = made
        self._settle = settle
        self._is_at_end = self._is_closed = False
        self._room = threading.Semaphore(DEPTH)
        self._ready: queue.SimpleQueue[bytes | BaseException | None] = (
            queue.SimpleQueue())
        self._thread = threading.Thread(target=self._run, name='read ahead',
                                        daemon=True)
        self._thread.start()

    def next(self) -> bytes | None:
        """Return what comes next; None at the end, and ever after.

        :raises ValueError: when it was closed
        """
        if self._is_closed:
            raise ValueError('the pass is over')
        if self._is_at_end:
            return None
        found = self._ready.get()
        self._room.release()
        if isinstance(found, bytes):
            return found
        self._is_at_end = True
        if found is not None:
            raise found
        return None

    def close(self) -> None:
        """Make no more, and wait for the step that is under way."""
        self._is_closed = True
        self._room.release()
        self._thread.join()

    def _run(self) -> None:
        try:
            for chunk in self._made:
                self._ready.put(chunk)
                if not self._room.acquire(blocking=False):
                    self._settle()
                    self._room.acquire()
                if self._is_closed:
                    return
            self._ready.put(None)
        except BaseException as exc:  # noqa: BLE001 - raised to the reader
            self._ready.put(exc)


class AheadReader:
    """One pass over a source, in order; it does not seek.

    There is no ``seek`` and no ``tell``: an HTTP library that finds them
    may wind back and send again by itself.
    """

    def __init__(self, made: cabc.Iterator[bytes], size: int, *,
                 opened: contextlib.ExitStack, limit: rate.Limit | None,
                 progress: stream.Progress | None, is_hashed: bool,
                 settle: Settle = lambda: None) -> None:
        """Begin to read.

        :param made: chunks, none of them empty; it raises where there are
            not as many bytes as there should be
        :param size: how many that is
        :param opened: what it is read from; closed with the reader
        :param settle: see :class:`Ahead`
        """
        self._size = size
        self._limit = limit
        self._progress = progress
        self._done = 0
        self._hash = hashlib.sha512() if is_hashed else None
        self._rest = b''
        self._open = opened
        self._ahead = Ahead(
            made if self._hash is None else _hashed(made, self._hash), settle)
        # Before the connection or file that its thread reads.
        self._open.callback(self._ahead.close)

    def __enter__(self) -> 'AheadReader':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None, /) -> None:
        self.close()

    def close(self) -> None:
        """Read no more; the hash stays readable."""
        self._open.close()

    def sha512(self) -> str:
        """Return the hash of the whole pass; to be asked at its end.

        Of one that is hashed alone.
        """
        assert self._hash is not None
        return self._hash.hexdigest()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, not more than a chunk has; none at the end.

        :raises StorageError: when the source cannot be read
        """
        if not self._rest and size:
            self._rest = self._ahead.next() or b''
        wanted = len(self._rest) if size < 0 else size
        if self._limit is not None:
            wanted = min(wanted, self._limit.burst_bytes)
        # What is taken whole is not copied.
        data, self._rest = self._rest[:wanted], self._rest[wanted:]
        self._done += len(data)
        if data and self._limit is not None:
            self._limit.take(len(data))
        if data and self._progress is not None:
            self._progress(self._done, self._size)
        return data


def _hashed(made: cabc.Iterator[bytes],
            hasher: 'hashlib._Hash') -> cabc.Iterator[bytes]:
    for chunk in made:
        hasher.update(chunk)
        yield chunk
