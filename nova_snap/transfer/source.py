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

"""A finished file as bytes to send, or none at all.

Every pass begins at byte 0 with a fresh file: a reader that was used is
never used again. Upstream sends what is left of a half-read file, and calls
it an image.
"""

import collections.abc as cabc
import contextlib
import hashlib
import os
import types
import typing as ty

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.model import stream
from nova_snap.transfer import ahead
from nova_snap.transfer import rate
from nova_snap import units

# As much as is read and hashed at once when no other size is asked for: large
# enough to keep the interpreter out of the way, small enough for the caches.
CHUNK_BYTES = units.MiB


def digest_of(algorithm: str, begin: cabc.Callable[[], stream.Reader]
              ) -> str | None:
    """Return a hash of one pass; None for one that Python does not know.

    :param begin: opens the pass; it is not called for an unknown hash
    :returns: hex
    """
    try:
        hasher = hashlib.new(algorithm, usedforsecurity=False)
    except ValueError:
        return None
    with begin() as reader:
        while chunk := reader.read():
            hasher.update(chunk)
    return hasher.hexdigest()


class FileSource:
    """A file that is whole and does not change while it is read.

    :ivar size_bytes: its size when this object was made; a file that has
        another one when it is read is an error
    """

    def __init__(self, path: str, *, bandwidth: int = 0,
                 clock: clock_module.Clock | None = None) -> None:
        """Look at the file.

        :param bandwidth: bytes per second for all passes; 0 is no limit
        :raises StorageError: when it cannot be looked at
        """
        self.path = path
        self._limit = (rate.Limit(bandwidth, clock or clock_module.Clock())
                       if bandwidth else None)
        with _translated(path), _open(path) as file:
            self._size = os.fstat(file.fileno()).st_size

    @property
    def size_bytes(self) -> int:
        return self._size

    def open(self, *, progress: stream.Progress | None = None,
             is_hashed: bool = True) -> 'FileReader':
        """Begin a pass at byte 0.

        :raises StorageError: when the file cannot be opened
        """
        return FileReader(self.path, self._size, limit=self._limit,
                          progress=progress, is_hashed=is_hashed)

    def digest(self, algorithm: str) -> str | None:
        """Read the file once more for another hash than SHA-512.

        It goes at full speed: these bytes do not leave the host.

        :returns: hex, or None where Python does not know the algorithm
        :raises StorageError: when the file cannot be read or has changed
        """
        return digest_of(algorithm,
                         lambda: FileReader(self.path, self._size,
                                            is_hashed=False))


class NoData:
    """The source of an image without data."""

    @property
    def size_bytes(self) -> int:
        return 0

    def open(self, *, progress: stream.Progress | None = None,
             is_hashed: bool = True) -> 'NoDataReader':
        """Begin a pass that is over at once."""
        return NoDataReader()

    def digest(self, algorithm: str) -> str | None:
        """Return the hash of nothing; None for one not known here."""
        return digest_of(algorithm, NoDataReader)


class NoDataReader:
    """One pass over nothing."""

    def __enter__(self) -> 'NoDataReader':
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None, /) -> None:
        pass

    def sha512(self) -> str:
        return hashlib.sha512().hexdigest()

    def read(self, size: int = -1, /) -> bytes:
        return b''


class FileReader(ahead.AheadReader):
    """One pass over a file."""

    def __init__(self, path: str, size: int, *,
                 limit: rate.Limit | None = None,
                 progress: stream.Progress | None = None,
                 is_hashed: bool = True) -> None:
        with contextlib.ExitStack() as opened:
            with _translated(path):
                file = opened.enter_context(_open(path))
            super().__init__(_content(file, path, size), size,
                             opened=opened.pop_all(), limit=limit,
                             progress=progress, is_hashed=is_hashed)


def _open(path: str) -> ty.BinaryIO:
    """Open it, and not what a link in its place leads to."""
    above, name = os.path.split(path)
    with folder_module.opened(above, follow=False) as folder:
        # Unbuffered: the chunks are large, a copy less.
        return open(folder.open(name, os.O_RDONLY), 'rb', buffering=0)


def _content(file: ty.BinaryIO, path: str,
             size: int) -> cabc.Iterator[bytes]:
    """Yield what is in a file.

    :raises StorageError: when it cannot be read, or is not as long as it was
    """
    done = 0
    while True:
        with _translated(path):
            chunk = file.read(CHUNK_BYTES)
        done += len(chunk)
        if done > size or (not chunk and done < size):
            raise errors.StorageError(
                reason=f'{path} changed while it was read: it had {size} '
                       f'bytes, now it ends at or after {done}')
        if not chunk:
            return
        yield chunk


@contextlib.contextmanager
def _translated(path: str) -> cabc.Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise errors.StorageError(
            reason=f'{path} cannot be read: {exc.strerror or exc}') from exc
