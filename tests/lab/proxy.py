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

"""An HTTP proxy in front of Glance, or Cinder, that fails on request.

Everything passes as it is, streamed, until a request meets a :class:`Fault`::

    with proxy.Proxy(glance.endpoint) as between:
        between.inject(proxy.Fault('PUT', proxy.FILE, drop_after=1 << 20))
        ...
"""

import collections.abc
import dataclasses
import http.client
import http.server
import json
import re
import select
import socket
import threading
import urllib.parse

# Paths of Glance's API, to match faults with.
IMAGES = r'^/v2/images$'
IMAGE = r'^/v2/images/[^/]+$'
FILE = r'^/v2/images/[^/]+/file$'

# Bytes that are handed on at once.
PIECE = 64 << 10

# Seconds to wait for the answer: Glance hashes and stores what it got.
UPSTREAM_TIMEOUT = 300

# Headers that belong to one connection, not to the message.
HOP_BY_HOP = frozenset((
    'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer',
    'transfer-encoding', 'upgrade'))

SUCCESS = 200
# Answers that have no body, whatever their headers say.
NO_BODY = (204, 304)


@dataclasses.dataclass
class Fault:
    """What goes wrong, and with which request. Set one way to fail.

    :ivar method: of the request
    :ivar path: a regular expression, searched in the path without its query
    :ivar nth: which matching request, counted from the injection on; None
        for every one
    :ivar drop_after: close both connections when so many bytes of the body
        have been handed on
    :ivar hang_after: hand on nothing more after so many bytes, and answer
        never; the connection stays open until the proxy stops
    :ivar buffers: take the whole body, and hand its first byte on so many
        seconds later
    :ivar keep: hand on only so many bytes of the body, as if that were all
    :ivar alter: change the byte that follows so many
    :ivar status: read the body, do not hand it on, answer this
    :ivar headers: of that answer
    :ivar answer_early: with status: leave the body unread
    :ivar lose_response: hand the whole request on, wait for the answer, and
        close without handing it back
    :ivar says: put into the answer, which is a JSON object
    :ivar trickles: hand on the body of the request, or of the answer where
        that has none, a byte a second
    :ivar refuses: cut the connection, and take no other until the proxy is
        cleared: the service is gone
    :ivar lasts: it strikes every later request, too, whatever that is
    :ivar call: called when ``call_after`` bytes have been handed on; then
        all goes on
    :ivar matched: requests that matched so far
    :ivar happened: set when the fault has struck
    """

    method: str
    path: str
    nth: int | None = 1
    drop_after: int | None = None
    hang_after: int | None = None
    buffers: float | None = None
    keep: int | None = None
    alter: int | None = None
    status: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    answer_early: bool = False
    lose_response: bool = False
    says: dict[str, object] = dataclasses.field(default_factory=dict)
    trickles: bool = False
    refuses: bool = False
    lasts: bool = False
    call: collections.abc.Callable[[], object] | None = None
    call_after: int = 0
    matched: int = 0
    happened: threading.Event = dataclasses.field(
        default_factory=threading.Event)

    def strikes(self, seen: 'Seen') -> bool:
        """Tell whether a request is the one; counts those that match."""
        if self.lasts and self.happened.is_set():
            return True
        if self.method != seen.method or \
                not re.search(self.path, seen.path):
            return False
        self.matched += 1
        return self.nth in (None, self.matched)


@dataclasses.dataclass
class Seen:
    """One request that came by.

    :ivar body: bytes of the body that were handed on
    :ivar status: of the answer that the client got; None for none
    """

    method: str
    path: str
    headers: dict[str, str]
    body: int = 0
    status: int | None = None


class _Cut(Exception):
    """End both connections now."""


class Proxy:
    """The proxy, on a free port of the loopback interface.

    :ivar headers: put into every request that is handed on, over the
        client's; ``{'X-Auth-Token': 'USER:PROJECT:ROLE'}`` makes the
        client another user
    :ivar seen: the requests so far, in the order they came
    """

    def __init__(self, target: str) -> None:
        """Start serving.

        :param target: an http URL without a path
        """
        parsed = urllib.parse.urlsplit(target)
        self.target = (parsed.hostname or '', parsed.port or 80)
        self.headers: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.stopped = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._refuses = False
        self._port = 0
        self._listen()

    def _listen(self) -> None:
        proxy = self

        class Handler(_Handler):
            """The handler that knows its proxy."""

            owner = proxy

        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', self._port), Handler)
        self._port = self._server.server_address[1]
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever,
                                        kwargs={'poll_interval': 0.05},
                                        daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """The URL for the client."""
        return f'http://127.0.0.1:{self._port}'

    def inject(self, fault: Fault) -> Fault:
        """Add a fault; the first one that applies to a request strikes."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget the faults and what was seen; headers too."""
        with self._lock:
            self._faults.clear()
            self.seen.clear()
            self.headers.clear()
            refuses, self._refuses = self._refuses, False
        if refuses:
            self._listen()

    def has(self, fault: Fault) -> bool:
        """Tell whether a fault was not cleared."""
        return fault in self._faults and not self.stopped.is_set()

    @property
    def is_gone(self) -> bool:
        """Tell whether it takes neither connections nor requests."""
        return self._refuses

    def refuse(self) -> None:
        """Take no connection and no request until the proxy is cleared."""
        with self._lock:
            refuses, self._refuses = self._refuses, True
        if not refuses:
            self._close()

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def requests(self, method: str, path: str) -> list[Seen]:
        """Return what was seen of one kind."""
        with self._lock:
            return [seen for seen in self.seen if seen.method == method and
                    re.search(path, seen.path)]

    def stop(self) -> None:
        """Stop serving; hanging requests are cut."""
        self.stopped.set()
        if not self._refuses:
            self._close()

    def __enter__(self) -> 'Proxy':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def meet(self, seen: Seen) -> Fault | None:
        """Note a request and return the fault that applies to it."""
        with self._lock:
            self.seen.append(seen)
            for fault in self._faults:
                if fault.strikes(seen):
                    return fault
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    owner: Proxy
    protocol_version = 'HTTP/1.1'
    # Seconds; a client that went away is noticed.
    timeout = UPSTREAM_TIMEOUT

    def handle_one_request(self) -> None:
        """Serve one request; whatever breaks ends the connection."""
        try:
            super().handle_one_request()
        except (_Cut, OSError, http.client.HTTPException):
            self.close_connection = True

    def _serve(self) -> None:
        if self.owner.is_gone:
            # Its client has kept the connection.
            raise _Cut
        path = urllib.parse.urlsplit(self.path).path
        seen = Seen(self.command, path, dict(self.headers.items()))
        fault = self.owner.meet(seen)
        if fault is not None and fault.refuses:
            fault.happened.set()
            self.owner.refuse()
            raise _Cut
        if fault is not None and fault.status is not None:
            self._answer(fault, seen)
            return
        upstream = http.client.HTTPConnection(*self.owner.target,
                                              timeout=UPSTREAM_TIMEOUT)
        try:
            self._forward(upstream, fault, seen)
            response = upstream.getresponse()
            if fault is not None and fault.lose_response:
                response.read()
                fault.happened.set()
                raise _Cut
            self._respond(response, fault, seen)
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _forward(self, upstream: http.client.HTTPConnection,
                 fault: Fault | None, seen: Seen) -> None:
        """Hand the request on, piece by piece."""
        body: collections.abc.Iterable[bytes] = self._body()
        if fault is not None and fault.buffers is not None:
            body = list(body)
            fault.happened.set()
            self.owner.stopped.wait(fault.buffers)
        upstream.putrequest(self.command, self.path, skip_host=True,
                            skip_accept_encoding=True)
        added = {name.lower() for name in self.owner.headers}
        # Of fewer bytes than it says there would be no end.
        left_out = HOP_BY_HOP | added | (
            {'content-length'} if fault and fault.keep is not None else set())
        for name, value in self.headers.items():
            if name.lower() not in left_out:
                upstream.putheader(name, value)
        for name, value in self.owner.headers.items():
            upstream.putheader(name, value)
        chunked = self._is_chunked() or (
            fault is not None and fault.keep is not None)
        if chunked:
            upstream.putheader('Transfer-Encoding', 'chunked')
        upstream.endheaders()
        answered = False
        for piece in _changed(self._watched(body, fault, seen), fault):
            for part in self._paced(piece, fault):
                if not answered:
                    answered = not _send(upstream, part, chunked=chunked)
        if chunked and not answered:
            upstream.send(b'0\r\n\r\n')

    def _watched(self, body: collections.abc.Iterable[bytes],
                 fault: Fault | None,
                 seen: Seen) -> collections.abc.Iterator[bytes]:
        """Cut a body where the fault strikes, and let it strike."""
        limit = _strikes_at(fault)
        for piece in body:
            if limit is not None and seen.body + len(piece) >= limit:
                yield piece[:limit - seen.body]
                rest, seen.body = piece[limit - seen.body:], limit
                self._strike(fault)
                limit, piece = None, rest
            yield piece
            seen.body += len(piece)
        if limit is not None:
            self._strike(fault)

    def _strike(self, fault: Fault | None) -> None:
        if fault is None:
            return
        fault.happened.set()
        if fault.call is not None:
            fault.call()
        if fault.hang_after is not None:
            self.owner.stopped.wait()
            raise _Cut
        if fault.drop_after is not None:
            # Close with a reset: a client in the middle of a send sees it.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       b'\1\0\0\0\0\0\0\0')
            raise _Cut

    def _answer(self, fault: Fault, seen: Seen) -> None:
        """Answer in the service's place."""
        if not fault.answer_early:
            for _ in self._body():
                pass
        fault.happened.set()
        seen.status = fault.status
        self.close_connection = True
        self.send_response(fault.status or 500)
        self.send_header('Content-Length', '0')
        self.send_header('Connection', 'close')
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _paced(self, piece: bytes,
               fault: Fault | None) -> collections.abc.Iterator[bytes]:
        """Hand on a piece at once, or a byte a second.

        It ends when the fault is cleared, or the client is gone.
        """
        if fault is None or not fault.trickles:
            yield piece
            return
        for place in range(len(piece)):
            fault.happened.set()
            self.owner.stopped.wait(1)
            if not self.owner.has(fault) or self._is_client_gone():
                raise _Cut
            yield piece[place:place + 1]

    def _is_client_gone(self) -> bool:
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        return not self.connection.recv(1, socket.MSG_PEEK)

    def _respond(self, response: http.client.HTTPResponse,
                 fault: Fault | None, seen: Seen) -> None:
        """Hand the answer back, piece by piece."""
        changed: bytes | None = None
        if fault is not None and fault.says and response.status == SUCCESS:
            changed = json.dumps({**json.loads(response.read()),
                                  **fault.says}).encode()
            fault.happened.set()
        self.send_response_only(response.status, response.reason)
        length = response.getheader('Content-Length')
        for name, value in response.getheaders():
            if name.lower() == 'content-length' and changed is not None:
                value = str(len(changed))
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if length is None:
            self.close_connection = True
            self.send_header('Connection', 'close')
        self.end_headers()
        if changed is not None:
            self.wfile.write(changed)
        elif self.command != 'HEAD' and response.status not in NO_BODY:
            while piece := response.read(PIECE):
                for part in self._paced(piece, None if seen.body else fault):
                    self.wfile.write(part)
        seen.status = response.status

    def _is_chunked(self) -> bool:
        return 'chunked' in self.headers.get('Transfer-Encoding', '').lower()

    def _body(self) -> collections.abc.Iterator[bytes]:
        if not self._is_chunked():
            yield from self._read(int(self.headers.get('Content-Length', 0)))
            return
        while size := int(self.rfile.readline().partition(b';')[0], 16):
            yield from self._read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _read(self, size: int) -> collections.abc.Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, PIECE))
            if not piece:
                raise _Cut
            size -= len(piece)
            yield piece

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: a test that fails looks at ``seen``."""


def _strikes_at(fault: Fault | None) -> int | None:
    if fault is None:
        return None
    if fault.call is not None:
        return fault.call_after
    if fault.keep is not None or fault.alter is not None:
        return fault.alter if fault.keep is None else fault.keep
    return fault.hang_after if fault.drop_after is None else fault.drop_after


def _changed(body: collections.abc.Iterable[bytes],
             fault: Fault | None) -> collections.abc.Iterator[bytes]:
    """Keep back or change what a store would lose or damage."""
    done = 0
    for piece in body:
        place = done
        done += len(piece)
        if fault is not None and fault.keep is not None:
            piece = piece[:max(0, fault.keep - place)]
        if fault is not None and fault.alter is not None and (
                place <= fault.alter < done):
            at = fault.alter - place
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1:]
        yield piece


def _send(upstream: http.client.HTTPConnection, piece: bytes, *,
          chunked: bool) -> bool:
    """Send a piece of a body; False when the service has answered already.

    It may answer in the middle of a body, and then reads no more of it.
    """
    if not piece:
        return True
    if select.select([upstream.sock], [], [], 0)[0]:
        return False
    try:
        if chunked:
            piece = b'%x\r\n%b\r\n' % (len(piece), piece)
        upstream.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
