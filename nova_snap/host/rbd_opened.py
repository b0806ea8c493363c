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

"""An image in Ceph, or a snapshot of one, while it is open."""

import collections
import collections.abc as cabc
import contextlib
import os
import typing as ty

from oslo_log import log as logging

from nova_snap import units

LOG = logging.getLogger(__name__)

# Writes of up to 1 MiB that are under way to an image at the same time: more
# gain nothing on a small cluster, and are memory of this process.
WRITES_AT_ONCE = 16
# Bytes of zeros in one call, each of which has the deadline of one operation.
MOST_ZEROS = units.GiB


class Opened:
    """An image or a snapshot that is open.

    Each method raises as the calls of :class:`Ceph`.

    :ivar size_bytes: of the whole image
    """

    def __init__(self, image: ty.Any,
                 translated: cabc.Callable[[str], ty.Any],
                 failure: ty.Any) -> None:
        """Know an image that is open.

        :param failure: the binding's own exception, made of an errno
        """
        self._image = image
        self._translated = translated
        self._failure = failure
        # librbd reads the bytes of a write until it has an end.
        self._under_way: collections.deque[tuple[ty.Any, bytes]] = (
            collections.deque())
        with translated('look at'):
            self.size_bytes = int(image.size())

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes; fewer than asked for at the end of the image."""
        with self._translated('read'):
            return bytes(self._image.read(offset, length))

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; they are safe after :meth:`flush`."""
        with self._translated('write'):
            self._image.write(data, offset)

    def write_later(self, offset: int, data: bytes) -> None:
        """Begin to write bytes; they are safe after :meth:`flush`.

        One that failed is raised by a later one, or by the flush.
        """
        with self._translated('write'):
            if len(self._under_way) >= WRITES_AT_ONCE:
                self._finish_write()
            self._under_way.append((
                self._image.aio_write(data, offset, _ignore), data))

    def write_zeros(self, offset: int, length: int) -> None:
        """Let a range read as zeros, as of a clone its parent's data.

        Not a discard: that leaves out what is smaller than a block of its.

        :source: ceph src/common/options rbd_skip_partial_discard,
            rbd_discard_granularity_bytes; src/librbd/librbd.cc
            Image::write_zeroes
        """
        end = offset + length
        with self._translated('write'):
            while offset < end:
                size = min(end - offset, MOST_ZEROS)
                self._image.write_zeroes(offset, size)
                offset += size

    def flush(self) -> None:
        """Wait until all that was written is safe."""
        with self._translated('write'):
            while self._under_way:
                self._finish_write()
            self._image.flush()

    def _finish_write(self) -> None:
        """Wait for the oldest write; librbd's own deadline ends it.

        Not for its callback: that runs in a thread of librbd's, which cannot
        wake one of eventlet's.
        """
        completion, _ = self._under_way.popleft()
        completion.wait_for_complete_and_cb()
        status = completion.get_return_value()
        if status < 0:
            raise self._failure(os.strerror(-status), errno=-status)

    def extents(self) -> list[tuple[int, int, bool]]:
        """Return offset, length and whether there are data, in order.

        What is between them is zeros.
        """
        found: list[tuple[int, int, bool]] = []
        with self._translated('compare'):
            self._image.diff_iterate(
                0, self.size_bytes, None,
                lambda offset, length, exists: found.append(
                    (offset, length, bool(exists))))
        return found


@contextlib.contextmanager
def closing(image: ty.Any, failure: ty.Any) -> cabc.Iterator[ty.Any]:
    """Close an image after the block, whose own error comes first.

    What cannot be written cannot be closed in order either, and that says
    less.

    :param failure: the binding's own exception
    """
    try:
        yield image
    except BaseException:
        try:
            image.close()
        except failure as exc:
            LOG.debug('An image in Ceph was not closed in order: %s', exc)
        raise
    image.close()


def _ignore(completion: ty.Any) -> None:
    """Do nothing when a write has ended."""
