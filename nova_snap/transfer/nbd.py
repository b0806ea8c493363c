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

"""Read a disk over NBD: its size, where its data are, and the data.

As much of the protocol as a read-only export on a unix socket needs. There
are no threads in here. The server is not trusted: what it answers is checked,
no wait is without a deadline, and the first error closes the connection.
Behind half a message lie bytes of a guest, which could look like a reply.

:source: https://github.com/NetworkBlockDevice/nbd, doc/proto.md; its sections
    are named where they are followed
"""

import bisect
import collections
import collections.abc as cabc
import contextlib
import errno
import os
import struct
import types

from nova_snap import errors
from nova_snap.model import extents as extents_model
from nova_snap.transfer import nbd_wire
from nova_snap import units

# The most bytes of one read, and so of one buffer. A server should take
# this many ("Size constraints").
LARGEST_READ = units.MiB
# The most bytes that a block status is asked for: the field has 32 bits, and
# QEMU's clusters have 64 KiB.
LARGEST_STATUS = 4 * units.GiB - 64 * units.KiB
# Extents that are kept, 8 bytes each, and with an image laid out 20.
MOST_EXTENTS = 1 << 20
# Of one block status ("NBD_CMD_BLOCK_STATUS"), 8 bytes each.
MOST_DESCRIPTORS = 1 << 20
# The names below are the protocol's, without NBD_ ("Values").
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668e33ef
CMD_READ, CMD_DISC, CMD_BLOCK_STATUS = 0, 2, 7
REPLY_FLAG_DONE = 1
REPLY_NONE, REPLY_OFFSET_DATA, REPLY_OFFSET_HOLE = 0, 1, 2
REPLY_BLOCK_STATUS = 5
REPLY_ERROR = 1 << 15
STATE_ZERO = 2
# Of a bitmap of QEMU's.
STATE_DIRTY = 1
DESCRIPTOR = struct.Struct('>II')


class Export:
    """A disk that an NBD server exports, read on one connection.

    For one thread at a time. After an error, every call raises.

    :ivar size_bytes: of the disk; known within the ``with`` block
    """

    def __init__(self, path: str, name: str = '', *, bitmap: str = '',
                 timeout: float = nbd_wire.TIMEOUT) -> None:
        """Name the disk; ``with`` connects.

        :param path: of the server's unix socket
        :param name: of the export; '' is the server's default one
        :param bitmap: of the export, for :meth:`unchanged`; a connection has
            this or :meth:`extents`
        :param timeout: seconds for the handshake, and for each answer that is
            waited for, however the server divides it
        """
        self._wire = nbd_wire.Wire(path, name, timeout)
        self._name = name.encode()
        self._context = (nbd_wire.DIRTY_BITMAP + bitmap.encode() if bitmap
                         else nbd_wire.ALLOCATION)
        self._context_id = 0
        self._pending: dict[int, _Request] = {}
        self._last_cookie = 0
        self.size_bytes = 0

    def __enter__(self) -> 'Export':
        """Connect and enter the export.

        :raises ExportFailed: when the server cannot be reached, refuses, or
            cannot say where the data are
        """
        self._wire.connect()
        with self._wire.conversation():
            self.size_bytes, self._context_id = nbd_wire.shake_hands(
                self._wire, self._name, self._context)
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None, /) -> None:
        """Say goodbye, where there still is a connection, and close."""
        self._wire.restart_deadline()
        with contextlib.suppress(errors.ExportFailed):
            with self._wire.conversation():
                self._wire.send('>IHHQQI', REQUEST_MAGIC, 0, CMD_DISC, 0, 0,
                                0)
        self._wire.close()

    def extents(self) -> extents_model.Extents:
        """Ask for the data and the zeros of the whole disk.

        From 0 to the end without a gap, neighbours of one kind joined. Where
        the disk is in more pieces than memory should hold, the shortest zeros
        count as data.

        :raises ExportFailed: when the server fails, or contradicts itself
        """
        return self._merged(lambda flags: bool(flags & STATE_ZERO))

    def unchanged(self) -> extents_model.Extents:
        """Ask for what a bitmap says has not changed, as if that were zeros.

        The rest may be the same as before: a bitmap counts clusters.

        :raises ExportFailed: when the server fails, or contradicts itself
        """
        return self._merged(lambda flags: not flags & STATE_DIRTY)

    def _merged(self, is_left_out: cabc.Callable[[int], bool]) -> (
            extents_model.Extents):
        return extents_model.merge((
            extents_model.Extent(offset, size, is_left_out(flags))
            for offset, size, flags in self._found()), self.size_bytes,
            most=MOST_EXTENTS)

    def read(self, ranges: cabc.Iterable[tuple[int, int]], *,
             depth: int = 4) -> cabc.Iterator[memoryview]:
        """Yield the bytes of each range, in the order of the ranges.

        A view is valid until the next one is taken: then its buffer is used
        again, and the view is released (a use raises ValueError).

        :param ranges: offset and length of each, in bytes; from 1 to
            LARGEST_READ, within the disk
        :param depth: ranges that the server works on at the same time, also
            while the caller works on a view; a buffer each, and one more
        :raises ExportFailed: when the server fails
        :raises ValueError: for a range that cannot be asked for
        """
        if depth < 1:
            raise ValueError(f'{depth} ranges at the same time')
        wanted = iter(ranges)
        buffers: list[bytearray] = []
        under_way: collections.deque[_Read] = collections.deque()

        def begin() -> None:
            while len(under_way) < depth and (
                    asked := next(wanted, None)) is not None:
                buffer = buffers.pop() if buffers else bytearray(LARGEST_READ)
                under_way.append(self._begin_read(*asked, buffer))

        begin()
        while under_way:
            read = under_way.popleft()
            self._wire.restart_deadline()
            self._finish(read)
            # Before the caller has this one: the server is not to wait.
            begin()
            with read.view.toreadonly() as view:
                yield view
            buffers.append(read.buffer)

    def settle(self) -> None:
        """Take all that was asked for, for a pause of any length.

        An answer that is not taken holds QEMU up: when it has to stop the
        guest, at a pause, a shutdown or a reboot, it waits for that first.

        :raises ExportFailed: when the server fails
        :source: QEMU nbd/server.c nbd_drained_poll
        """
        for request in list(self._pending.values()):
            self._wire.restart_deadline()
            self._finish(request)

    def _begin_read(self, offset: int, length: int,
                    buffer: bytearray) -> '_Read':
        if (not 0 < length <= LARGEST_READ
                or not 0 <= offset <= self.size_bytes - length):
            raise ValueError(f'{length} bytes at {offset} of a disk of '
                             f'{self.size_bytes}')
        read = _Read(self._wire, offset, length, buffer)
        self._wire.restart_deadline()
        self._begin(CMD_READ, read)
        return read

    def _found(self) -> cabc.Iterator[tuple[int, int, int]]:
        """Yield offset, length and flags as the server tells them.

        Each part of LARGEST_STATUS has one deadline, in however many answers
        its status comes.
        """
        offset = 0
        while offset < self.size_bytes:
            end = min(offset + LARGEST_STATUS, self.size_bytes)
            self._wire.restart_deadline()
            while offset < end:
                status = _Status(self._wire, offset, end - offset,
                                 self.size_bytes, self._context_id)
                self._begin(CMD_BLOCK_STATUS, status)
                self._finish(status)
                yield from status.parts()
                offset = status.end

    def _begin(self, command: int, request: '_Request') -> None:
        self._last_cookie += 1
        self._pending[self._last_cookie] = request
        with self._wire.conversation():
            self._wire.send('>IHHQQI', REQUEST_MAGIC, 0, command,
                            self._last_cookie, request.offset, request.length)

    def _finish(self, request: '_Request') -> None:
        """Take messages until the answer to one request is whole.

        Those that belong to others are kept there. That includes requests
        whose caller went away.
        """
        with self._wire.conversation():
            while not request.is_done:
                self._take_message()

    def _take_message(self) -> None:
        """Take one reply, or one chunk of it ("Transmission")."""
        magic, flags, kind, cookie = self._wire.receive('>IHHQ')
        request = self._pending.get(cookie)
        if request is None or magic not in {SIMPLE_REPLY_MAGIC,
                                            STRUCTURED_REPLY_MAGIC}:
            raise self._wire.failed('a reply is to no request')
        if magic == SIMPLE_REPLY_MAGIC:
            raise request.failed(_error_name((flags << 16) + kind))
        length, = self._wire.receive('>I')
        if kind & REPLY_ERROR:
            raise request.failed(self._take_error(length))
        is_last = bool(flags & REPLY_FLAG_DONE)
        if kind != REPLY_NONE:
            request.take(kind, length)
        elif length or not is_last:
            raise request.failed('an empty chunk that is not')
        if is_last:
            del self._pending[cookie]
            request.end_reply()

    def _take_error(self, length: int) -> str:
        """Read the chunk of an error; the first one is final for us."""
        code, text_length = self._wire.receive('>IH')
        if not text_length <= length - 6 <= nbd_wire.LONGEST_MESSAGE:
            raise self._wire.failed(f'an error has {length} bytes')
        text, = self._wire.receive(f'{text_length}s')
        text = nbd_wire.fit_for_log(text)
        return f'{_error_name(code)}. {text}'.rstrip('. ')


class _Request:
    """A question that is answered in chunks ("Structured reply types")."""

    def __init__(self, wire: nbd_wire.Wire, offset: int, length: int) -> None:
        self._wire = wire
        self.offset = offset
        self.length = length
        self.is_done = False

    def failed(self, reason: str) -> errors.ExportFailed:
        """Return the one error, about this request."""
        return self._wire.failed(f'{type(self).__name__[1:].lower()} of '
                                 f'{self.length} bytes at {self.offset}: '
                                 f'{reason}')

    def take(self, kind: int, length: int) -> None:
        """Read one chunk of the reply."""
        raise NotImplementedError

    def end_reply(self) -> None:
        """Check that the answer is whole."""
        self.is_done = True


class _Read(_Request):
    """Bytes that come in any number of chunks, in any order."""

    def __init__(self, wire: nbd_wire.Wire, offset: int, length: int,
                 buffer: bytearray) -> None:
        super().__init__(wire, offset, length)
        self.buffer = buffer
        self.view = memoryview(buffer)[:length]
        # What did not come yet: where it begins and ends within the view.
        self._missing = [(0, length)]

    def take(self, kind: int, length: int) -> None:
        if kind == REPLY_OFFSET_DATA and length > 8:
            offset, = self._wire.receive('>Q')
            self._wire.receive_into(self._claim(offset, length - 8))
        elif kind == REPLY_OFFSET_HOLE and length == 12:
            offset, size = self._wire.receive('>QI')
            self._claim(offset, size)[:] = bytes(size)
        else:
            raise self.failed(f'a chunk of type {kind} and {length} bytes')

    def end_reply(self) -> None:
        if self._missing:
            raise self.failed('the reply is too short')
        super().end_reply()

    def _claim(self, offset: int, length: int) -> memoryview:
        """Return the place of bytes that did not come before."""
        start = offset - self.offset
        end = start + length
        at = bisect.bisect_right(self._missing, start,
                                 key=lambda gap: gap[0]) - 1
        if at < 0 or not length or end > self._missing[at][1]:
            raise self.failed(f'{length} bytes at {offset} were not asked '
                              'for, or come twice')
        first, last = self._missing[at]
        self._missing[at:at + 1] = [
            gap for gap in ((first, start), (end, last)) if gap[0] < gap[1]]
        return self.view[start:end]


class _Status(_Request):
    """The block status of a part of the disk ("Metadata querying").

    Of the allocation only the flag of zeros counts: a hole without it has
    unknown contents, and is read.
    """

    def __init__(self, wire: nbd_wire.Wire, offset: int, length: int,
                 disk_end: int, context_id: int) -> None:
        super().__init__(wire, offset, length)
        self._disk_end = disk_end
        self._context_id = context_id
        self.end = offset
        self._descriptors = b''

    def parts(self) -> cabc.Iterator[tuple[int, int, int]]:
        """Yield the answer, from the offset to the end of this object."""
        offset = self.offset
        for size, flags in DESCRIPTOR.iter_unpack(self._descriptors):
            yield offset, size, flags
            offset += size

    def take(self, kind: int, length: int) -> None:
        count, rest = divmod(length - 4, DESCRIPTOR.size)
        if (kind != REPLY_BLOCK_STATUS or rest
                or not 0 < count <= MOST_DESCRIPTORS):
            raise self.failed(f'a chunk of type {kind} and {length} bytes')
        context_id, descriptors = self._wire.receive(f'>I{length - 4}s')
        if context_id != self._context_id:
            return
        if self._descriptors:
            raise self.failed('it comes twice')
        self._descriptors = descriptors
        for size, _ in DESCRIPTOR.iter_unpack(descriptors):
            if not 0 < size <= self._disk_end - self.end:
                raise self.failed(f'{size} bytes at {self.end} of a disk of '
                                  f'{self._disk_end}')
            self.end += size

    def end_reply(self) -> None:
        if not self._descriptors:
            raise self.failed('the reply is empty')
        super().end_reply()


def _error_name(code: int) -> str:
    """Name an error of a reply, whose numbers are Linux's."""
    return (os.strerror(code) if code in errno.errorcode
            else f'error {code}')
