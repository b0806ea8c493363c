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
import typing as ty

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.model import extents as extents_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import stream
from nova_snap.transfer import ahead
from nova_snap.transfer import rate
from nova_snap.transfer import source as source_module
from nova_snap import units

# Bytes that are hashed and sent at once, but at the end: of a disk in many
# small pieces each would be a call of its own.
LEAST_SENT = 256 * units.KiB

Range: ty.TypeAlias = tuple[int, int]


class Disk(ty.Protocol):
    """What reads a disk; :class:`nova_snap.transfer.nbd.Export` is one."""

    def read(self, ranges: cabc.Iterable[Range]
             ) -> cabc.Iterator[memoryview]:
        """Yield the bytes of each range, in order.

        What was yielded is valid until the next one is asked for.
        """

    def settle(self) -> None:
        """Leave nothing under way, for a pause of any length."""


#: Opens the disk for one pass. Each has a connection of its own: one that
#: broke off may leave answers behind that it has asked for.
Connect: ty.TypeAlias = cabc.Callable[[], ty.ContextManager[Disk]]


class DiskSource:
    """A disk that does not change, as bytes of an image.

    Every pass begins at byte 0 and gives the same bytes.

    :ivar changed: the parts that differ from an earlier moment; None where
        that is not known
    """

    def __init__(self, layout: pieces_model.Layout, connect: Connect, *,
                 changed: cabc.Iterable[extents_model.Extent] | None = None,
                 bandwidth: int = 0,
                 clock: clock_module.Clock | None = None) -> None:
        """Know the disk; nothing is read yet.

        :param changed: see the attribute
        :param bandwidth: bytes per second for all passes; 0 is no limit
        """
        self.changed = changed
        self._layout = layout
        self._connect = connect
        self._limit = (rate.Limit(bandwidth, clock or clock_module.Clock())
                       if bandwidth else None)

    @property
    def size_bytes(self) -> int:
        return self._layout.size_bytes

    def open(self, *, progress: stream.Progress | None = None,
             is_hashed: bool = True) -> 'DiskReader':
        """Begin a pass at byte 0.

        :raises StorageError: when the disk cannot be opened
        """
        return DiskReader(self._layout, self._connect, limit=self._limit,
                          progress=progress, is_hashed=is_hashed)

    @contextlib.contextmanager
    def data(self, *, progress: stream.Progress | None = None) -> (
            cabc.Iterator[cabc.Iterator[tuple[int, bytes]]]):
        """Have what is not known to be zeros, with its places, for the block.

        Of a raw image alone. It is not hashed: of a disk that is mostly
        empty the zeros would take longer than all the rest.

        :raises StorageError: when the disk cannot be opened, or read
        """
        with self._read(self._layout.pieces(), progress) as data:
            yield data

    @contextlib.contextmanager
    def changes(self, *, progress: stream.Progress | None = None) -> (
            cabc.Iterator[cabc.Iterator[tuple[int, bytes]]]):
        """Have the data in what has changed, with their places.

        As :meth:`data`; the zeros in it are in :attr:`changed`.

        :raises StorageError: when the disk cannot be opened, or read
        """
        with self._read((piece for extent in self.changed or ()
                         if not extent.is_zero
                         for piece in pieces_model.of_disk(
                             extent.offset, extent.length)),
                        progress) as data:
            yield data

    @contextlib.contextmanager
    def _read(self, pieces: cabc.Iterable[pieces_model.Piece],
              progress: stream.Progress | None) -> (
                  cabc.Iterator[cabc.Iterator[tuple[int, bytes]]]):
        wanted = [(piece.offset, piece.length) for piece in pieces
                  if isinstance(piece, pieces_model.OfDisk)]
        with self._connect() as disk:
            made = ahead.Ahead(map(bytes, disk.read(wanted)), disk.settle)
            try:
                yield self._data(wanted, made, progress)
            finally:
                made.close()

    def _data(self, wanted: cabc.Iterable[Range], made: ahead.Ahead,
              progress: stream.Progress | None) -> (
                  cabc.Iterator[tuple[int, bytes]]):
        for offset, length in wanted:
            chunk = made.next() or b''
            if len(chunk) != length:
                raise errors.StorageError(
                    reason=f'{len(chunk)} bytes at {offset} of the disk were '
                           f'read, not {length}')
            if self._limit is not None:
                self._limit.take(length)
            if progress is not None:
                progress(offset + length, self.size_bytes)
            yield offset, chunk

    def digest(self, algorithm: str) -> str | None:
        """Read the disk once more for another hash than SHA-512.

        :returns: hex, or None where Python does not know the algorithm
        :raises StorageError: when the disk cannot be read
        """
        return source_module.digest_of(
            algorithm, lambda: DiskReader(self._layout, self._connect,
                                          is_hashed=False))


class DiskReader(ahead.AheadReader):
    """One pass over the image of a disk."""

    def __init__(self, layout: pieces_model.Layout, connect: Connect, *,
                 limit: rate.Limit | None = None,
                 progress: stream.Progress | None = None,
                 is_hashed: bool = True) -> None:
        with contextlib.ExitStack() as opened:
            disk = opened.enter_context(connect())
            super().__init__(_image(layout, disk), layout.size_bytes,
                             opened=opened.pop_all(), limit=limit,
                             progress=progress, is_hashed=is_hashed,
                             settle=disk.settle)


def _image(layout: pieces_model.Layout,
           disk: Disk) -> cabc.Iterator[bytes]:
    """Yield the whole image in chunks that are worth a call each.

    :raises StorageError: when there is less of it
    """
    done = 0
    small = bytearray()
    for chunk in _chunks(layout, disk):
        done += len(chunk)
        if not small and len(chunk) >= LEAST_SENT:
            yield bytes(chunk)
            continue
        small += chunk
        if len(small) >= LEAST_SENT:
            yield bytes(small)
            small.clear()
    if small:
        yield bytes(small)
    if done != layout.size_bytes:
        raise errors.StorageError(
            reason=f'The image of the disk ended after {done} bytes of '
                   f'{layout.size_bytes}')


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
