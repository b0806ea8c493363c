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

"""An NBD server in a thread that refuses what a real one refuses.

And that lies on demand: each of its answers can be replaced.

:source: https://github.com/NetworkBlockDevice/nbd, doc/proto.md, read for the
    server's side; the numbers are written once more, not the client's
"""

import collections.abc as cabc
import contextlib
import os
import select
import socket
import struct
import threading

GREETING = b'NBDMAGICIHAVEOPT' + struct.pack('>H', 1)
STRUCTURED_REPLY, SET_META_CONTEXT, GO, ABORT = 8, 10, 7, 2
ACK, INFO, META_CONTEXT = 1, 3, 4
ERR_UNSUP = (1 << 31) + 1
ERR_INVALID = (1 << 31) + 3
ERR_UNKNOWN = (1 << 31) + 6
READ, DISC, BLOCK_STATUS = 0, 2, 7
HOLE, ZERO = 1, 2
EIO, EINVAL = 5, 22
CONTEXT_ID = 77

# Seconds in which a client that has more to ask asks it.
GATHER_SECONDS = 0.02


class Stop(Exception):  # noqa: N818
    """The server has nothing more to say on this connection."""


class Hang(Exception):  # noqa: N818
    """The server says nothing more, and does not hang up."""


def option_reply(option, kind, payload=b''):
    return struct.pack('>QIII', 0x3e889045565a9, option, kind,
                       len(payload)) + payload


def info_export(size, flags=3):
    return struct.pack('>HQH', 0, size, flags)


def context(context_id=CONTEXT_ID, name=b'base:allocation'):
    return struct.pack('>I', context_id) + name


def chunk(cookie, kind, payload=b'', *, done=True):
    return struct.pack('>IHHQI', 0x668e33ef, int(done), kind, cookie,
                       len(payload)) + payload


def data(cookie, offset, content, *, done=True):
    return chunk(cookie, 1, struct.pack('>Q', offset) + content, done=done)


def hole(cookie, offset, length, *, done=True):
    return chunk(cookie, 2, struct.pack('>QI', offset, length), done=done)


def none(cookie):
    return chunk(cookie, 0)


def error(cookie, code=EIO, text=b'', *, done=True):
    return chunk(cookie, (1 << 15) + 1,
                 struct.pack('>IH', code, len(text)) + text, done=done)


def error_at(cookie, offset, code=EIO, text=b'', *, done=True):
    return chunk(cookie, (1 << 15) + 2,
                 struct.pack('>IH', code, len(text)) + text
                 + struct.pack('>Q', offset), done=done)


def simple(cookie, code):
    return struct.pack('>IIQ', 0x67446698, code, cookie)


def status(cookie, descriptors, *, context_id=CONTEXT_ID, done=True):
    return chunk(cookie, 5, struct.pack('>I', context_id) + b''.join(
        struct.pack('>II', *descriptor) for descriptor in descriptors),
        done=done)


class Server:
    """Serves one disk on a unix socket, to one client after the other.

    :ivar asked: each command that came: type, offset and length
    :ivar most_pending: as many as were unanswered at one time
    :ivar said: all bytes that were sent
    """

    def __init__(self, path, disk=b'', *, size=None, name=b'',
                 extents=None, greeting=GREETING, options=None, read=None,
                 block_status=None, gather=1, context=b'base:allocation'):
        """Listen.

        :param size: of the disk, where it is longer than its bytes
        :param extents: length and flags of each
        :param options: what to say to an option in the place of the answer:
            called with the option and its data, returns messages
        :param read: called with cookie, offset and length, returns messages
        :param block_status: likewise
        :param context: the one that it knows
        :param gather: so many requests are answered together, the last one
            first, and the messages of their replies by turns
        """
        self.path = path
        self.asked = []
        self.most_pending = 0
        self.said = bytearray()
        self._disk = disk
        self._size = len(disk) if size is None else size
        self._name = name
        self._extents = [(self._size, 0)] if extents is None else extents
        self._greeting = greeting
        self._options = options or {}
        self._read = read or self.answer_read
        self._status = block_status or self.answer_status
        self._gather = gather
        self._context = context
        self._stopped = threading.Event()
        self._clients = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(path)
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stopped.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        os.unlink(self.path)

    def wait(self, seconds):
        """Wait, but not for longer than the server lives."""
        self._stopped.wait(seconds)

    def answer_read(self, cookie, offset, length):
        content = self._disk[offset:offset + length]
        return [data(cookie, offset,
                     content + bytes(length - len(content)))]

    def answer_status(self, cookie, offset, length):
        found = []
        at = 0
        for size, flags in self._extents:
            first, last = max(at, offset), min(at + size, offset + length)
            if first < last:
                found.append((last - first, flags))
            at += size
        return [status(cookie, found)]

    def _serve(self):
        while not self._stopped.is_set():
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._clients.append(client)
            with client, contextlib.suppress(OSError, Stop):
                try:
                    self._talk(client)
                except Hang:
                    self._stopped.wait()

    def _talk(self, client):
        self._say(client, [self._greeting])
        if self._hear(client, 4) != struct.pack('>I', 1):
            raise Stop
        self._haggle(client)
        self._transmit(client)

    def _haggle(self, client):
        structured = False
        while True:
            magic, option, length = struct.unpack(
                '>8sII', self._hear(client, 16))
            payload = self._hear(client, length)
            if magic != b'IHAVEOPT' or option == ABORT:
                raise Stop
            answer = self._answer_option(option, payload, structured)
            if option in self._options:
                answer = self._options[option](option, payload)
            self._say(client, answer)
            accepted = any(message[12:16] == struct.pack('>I', ACK)
                           for message in answer)
            structured = structured or (
                accepted and option == STRUCTURED_REPLY)
            if option == GO and accepted:
                return

    def _answer_option(self, option, payload, structured):
        if option == STRUCTURED_REPLY:
            return [option_reply(option, ERR_INVALID if payload else ACK)]
        if option not in {SET_META_CONTEXT, GO}:
            return [option_reply(option, ERR_UNSUP)]
        length, = struct.unpack_from('>I', payload)
        name, rest = payload[4:4 + length], payload[4 + length:]
        if name != self._name:
            return [option_reply(option, ERR_UNKNOWN, b'export not there')]
        if option == GO and rest == bytes(2):
            return [option_reply(option, INFO, info_export(self._size)),
                    option_reply(option, ACK)]
        query = struct.pack('>II', 1, len(self._context)) + self._context
        if option == SET_META_CONTEXT and structured and rest == query:
            return [option_reply(option, META_CONTEXT,
                                 context(name=self._context)),
                    option_reply(option, ACK)]
        return [option_reply(option, ERR_INVALID)]

    def _transmit(self, client):
        while True:
            requests = [self._request(client)]
            while (len(requests) < self._gather
                   and select.select([client], [], [], GATHER_SECONDS)[0]):
                requests.append(self._request(client))
            self.most_pending = max(self.most_pending, len(requests))
            replies = [self._reply(*request) for request in requests[::-1]]
            while replies := [reply for reply in replies if reply]:
                self._say(client, [reply.pop(0) for reply in replies])

    def _request(self, client):
        magic, flags, kind, cookie, offset, length = struct.unpack(
            '>IHHQQI', self._hear(client, 28))
        if magic != 0x25609513 or kind == DISC:
            raise Stop
        self.asked.append((kind, offset, length))
        return flags, kind, cookie, offset, length

    def _reply(self, flags, kind, cookie, offset, length):
        if (flags or kind not in {READ, BLOCK_STATUS} or not length
                or offset + length > self._size):
            return [error(cookie, EINVAL)]
        answer = self._read if kind == READ else self._status
        return list(answer(cookie, offset, length))

    def _hear(self, client, length):
        heard = client.recv(length, socket.MSG_WAITALL) if length else b''
        if len(heard) < length:
            raise Stop
        return heard

    def _say(self, client, messages: cabc.Iterable):
        """Send bytes; a class of this file ends the conversation by it."""
        for message in messages:
            if not isinstance(message, bytes):
                raise message
            self.said += message
            client.sendall(message)
