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

"""The image of a disk, made while it is sent: no file is in between."""

import collections.abc as cabc
import contextlib
import hashlib
import time
import types
import typing as ty

from nova_snap import errors
from nova_snap.model import pieces as pieces_model
from nova_snap.model import stream
from nova_snap.transfer import rate
from nova_snap.transfer import source as source_module

Range: ty.TypeAlias = tuple[int, int]


class Disk(ty.Protocol):
    """What reads a disk; :class:`nova_snap.transfer.nbd.Export` is one."""

    def read(self, ranges: cabc.Iterable[Range]
             ) -> cabc.Iterator[memoryview]:
        """Yield the bytes of each range, in order.

        What was yielded is valid until the next one is asked for.
        """


#: Opens the disk for one pass. Each has a connection of its own: one that
#: broke off may leave answers behind that it has asked for.
Connect: ty.TypeAlias = cabc.Callable[[], ty.ContextManager[Disk]]


class DiskSource:
    """A disk that does not change, as bytes of an image.

    Every pass begins at byte 0 and gives the same bytes.
    """

    def __init__(self, layout: pieces_model.Layout, connect: Connect, *,
                 bandwidth: int = 0, clock: stream.Clock = time) -> None:
        """Know the disk; nothing is read yet.

        :param bandwidth: bytes per second for all passes; 0 is no limit
        """
        self._layout = layout
        self._connect = connect
        self._limit = rate.Limit(bandwidth, clock) if bandwidth else None

    @property
    def size_bytes(self) -> int:
        return self._layout.size_bytes

    def open(self, *,
             progress: stream.Progress | None = None) -> 'DiskReader':
        """Begin a pass at byte 0.

        :raises StorageError: when the disk cannot be opened
        """
        return DiskReader(self._layout, self._connect, limit=self._limit,
                          progress=progress)

    def digest(self, algorithm: str) -> str | None:
        """Read the disk once more for another hash than SHA-512.

        :returns: hex, or None where Python does not know the algorithm
        :raises StorageError: when the disk cannot be read
        """
        return source_module.digest_of(
            algorithm, lambda: DiskReader(self._layout, self._connect))


class DiskReader:
    """One pass over the image, in order; it does not seek."""

    def __init__(self, layout: pieces_model.Layout, connect: Connect, *,
                 limit: rate.Limit | None = None,
                 progress: stream.Progress | None = None) -> None:
        self._size = layout.size_bytes
        self._limit = limit
        self._progress = progress
        self._done = 0
        self._hash = hashlib.sha512()
        self._rest = memoryview(b'')
        self._open = contextlib.ExitStack()
        disk = self._open.enter_context(connect())
        self._chunks = _chunks(layout, disk)

    def __enter__(self) -> 'DiskReader':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None, /) -> None:
        self._open.close()

    def sha512(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, not more than a piece has.

        :raises StorageError: when the disk cannot be read
        """
        while not self._rest and size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return self._ended()
            self._rest = chunk
        wanted = len(self._rest) if size < 0 else size
        if self._limit is not None:
            wanted = min(wanted, self._limit.burst_bytes)
        # The buffer below a chunk is filled again when the next is taken.
        data = bytes(self._rest[:wanted])
        self._rest = self._rest[wanted:]
        self._hash.update(data)
        self._done += len(data)
        if data and self._limit is not None:
            self._limit.take(len(data))
        if data and self._progress is not None:
            self._progress(self._done, self._size)
        return data

    def _ended(self) -> bytes:
        if self._done != self._size:
            raise errors.StorageError(
                reason=f'The image of the disk ended after {self._done} '
                       f'bytes of {self._size}')
        return b''


def _chunks(layout: pieces_model.Layout,
            disk: Disk) -> cabc.Iterator[memoryview]:
    """Yield the bytes of each piece; those of the disk are read ahead."""
    of_disk = disk.read((piece.offset, piece.length)
                        for piece in layout.pieces()
                        if isinstance(piece, pieces_model.OfDisk))
    for piece in layout.pieces():
        if isinstance(piece, pieces_model.OfDisk):
            yield next(of_disk)
        else:
            yield memoryview(piece.data)
