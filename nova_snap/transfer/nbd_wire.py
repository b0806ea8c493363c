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

"""A connection to an NBD server, from the greeting to an export.

Every wait has a deadline. The first error closes the connection: behind half
a message lie bytes of a guest, which could look like a reply.

:source: https://github.com/NetworkBlockDevice/nbd, doc/proto.md; its sections
    are named where they are followed
"""

import collections.abc as cabc
import contextlib
import os
import socket
import struct
import typing as ty

from nova_snap import clock as clock_module
from nova_snap import errors

# Seconds for one answer. Linux gives a disk 30 before it resets it; a server
# may see that once and answer after all.
TIMEOUT = 60.0
# Bytes of a string ("Conventions"), and what may stand around it.
LONGEST_MESSAGE = 4096 + 16
# A disk's size is a signed number for Linux and for QEMU.
LARGEST_DISK = (1 << 63) - 1
CLOSED = 'the server closed the connection'

# The names below are the protocol's, without NBD_ ("Values").
OPTION_MAGIC = b'IHAVEOPT'
MAGIC = b'NBDMAGIC' + OPTION_MAGIC
OPTION_REPLY_MAGIC = 0x3e889045565a9
FLAG_FIXED_NEWSTYLE = FLAG_C_FIXED_NEWSTYLE = 1
OPT_ABORT, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT = 2, 7, 8, 10
REP_ACK, REP_META_CONTEXT, REP_ERROR = 1, 4, 1 << 31
REFUSALS = ('no reason', 'it does not know this', 'its policy forbids this',
            'it calls this invalid', 'its platform cannot do this',
            'it wants TLS', 'it has no such export', 'it shuts down',
            'it wants block sizes to be kept', 'it calls this too big')
INFO_EXPORT = 0
ALLOCATION = b'base:allocation'
# Followed by the name of a bitmap; of QEMU's servers alone.
# :source: QEMU docs/interop/nbd.txt, "qemu" namespace
DIRTY_BITMAP = b'qemu:dirty-bitmap:'


class Wire:
    """A connection on which every wait has a deadline."""

    def __init__(self, path: str, export: str, timeout: float) -> None:
        self._path = path
        self._export = export
        self._timeout = timeout
        self._waited = clock_module.Clock().stopwatch()
        self._socket: socket.socket | None = None

    def failed(self, reason: str) -> errors.ExportFailed:
        """Return the one error, about this export."""
        return errors.ExportFailed(path=self._path, export=self._export,
                                   reason=reason)

    def connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.restart_deadline()
        with self.conversation():
            self._timed().connect(self._path)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def restart_deadline(self) -> None:
        """Give the server its time from now on."""
        self._waited.restart()

    @contextlib.contextmanager
    def conversation(self) -> cabc.Iterator[None]:
        """Close the connection when the block is left half done."""
        if self._socket is None:
            raise self.failed('the connection is closed')
        try:
            yield
        except BaseException as exc:
            # Half a message may have been read.
            self.close()
            if isinstance(exc, OSError):
                raise self.failed(self._reason(exc)) from exc
            raise

    def send(self, layout: str, *fields: int | bytes) -> None:
        self._timed().sendall(struct.pack(layout, *fields))

    def receive(self, layout: str) -> tuple[ty.Any, ...]:
        message = bytearray(struct.calcsize(layout))
        self.receive_into(memoryview(message))
        return struct.unpack(layout, message)

    def receive_into(self, view: memoryview) -> None:
        """Fill a view."""
        while view:
            count = self._timed().recv_into(view)
            if not count:
                raise self.failed(CLOSED)
            view = view[count:]

    def _reason(self, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return f'no answer for {self._timeout:g} seconds'
        if isinstance(error, BrokenPipeError | ConnectionResetError):
            return CLOSED
        return os.strerror(error.errno) if error.errno else str(error)

    def _timed(self) -> socket.socket:
        """Return the socket, which waits until the deadline."""
        left = self._timeout - self._waited.seconds()
        if left <= 0:
            raise TimeoutError
        assert self._socket is not None
        self._socket.settimeout(left)
        return self._socket


def shake_hands(wire: Wire, name: bytes,
                context: bytes = ALLOCATION) -> tuple[int, int]:
    """Enter an export ("Fixed newstyle negotiation").

    No block sizes are asked for: so the server must take any ("Size
    constraints").

    :param context: what a block status is to be about
    :returns: the size of the disk, and the number of its context
    """
    magic, flags = wire.receive('>16sH')
    if magic != MAGIC or not flags & FLAG_FIXED_NEWSTYLE:
        raise wire.failed('the server does not speak NBD in the fixed '
                          'newstyle')
    wire.send('>I', FLAG_C_FIXED_NEWSTYLE)
    name = struct.pack('>I', len(name)) + name
    query = struct.pack('>II', 1, len(context)) + context
    context_id = size = None
    for _ in _option(wire, OPT_STRUCTURED_REPLY, 'structured replies', b''):
        pass
    for kind, answer in _option(wire, OPT_SET_META_CONTEXT,
                                'the block status', name + query):
        if kind == REP_META_CONTEXT and answer[4:] == context:
            context_id = int.from_bytes(answer[:4], 'big')
    if context_id is None:
        what = ('where the data are' if context == ALLOCATION
                else 'what has changed')
        raise wire.failed(f'the server does not tell {what} '
                          f'({context.decode()})')
    for _, answer in _option(wire, OPT_GO, 'to enter the export',
                             name + bytes(2)):
        if (len(answer) == 12
                and int.from_bytes(answer[:2], 'big') == INFO_EXPORT):
            size = int.from_bytes(answer[2:10], 'big')
    if size is None or size > LARGEST_DISK:
        raise wire.failed(f'the size of the disk is {size}')
    return size, context_id


def _option(wire: Wire, option: int, what: str,
            data: bytes) -> cabc.Iterator[tuple[int, bytes]]:
    """Send an option, and yield each answer before the server's yes."""
    layout = f'>8sII{len(data)}s'
    wire.send(layout, OPTION_MAGIC, option, len(data), data)
    while True:
        magic, echo, kind, length = wire.receive('>QIII')
        if ((magic, echo) != (OPTION_REPLY_MAGIC, option)
                or length > LONGEST_MESSAGE):
            raise wire.failed(f'an answer to another question than {what}')
        answer, = wire.receive(f'{length}s')
        if kind & REP_ERROR:
            wire.send('>8sII', OPTION_MAGIC, OPT_ABORT, 0)
            number = kind - REP_ERROR
            reason = (REFUSALS[number] if number < len(REFUSALS)
                      else f'error {number}')
            raise wire.failed(f'the server refuses {what}: {reason}. '
                              f'{fit_for_log(answer)}'.rstrip('. '))
        if kind == REP_ACK:
            return
        yield kind, answer


def fit_for_log(message: bytes) -> str:
    """Return a server's words, fit for a log."""
    return ''.join(char if char.isprintable() else ' '
                   for char in message.decode(errors='replace'))
