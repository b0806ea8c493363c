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

"""A fake Glance that listens, and knows who may ask.

It refuses a token that it does not know or that has run out, besides what
Glance refuses behind any door.
"""

import collections.abc as cabc
import http.server
import threading
import time

import fixtures

from tests.fakes.glance import api
from tests.fakes.glance import store as glance_store
from tests.fakes import http as fake_http

BLOCK_BYTES = 64 * 1024

# Seconds between two looks whether the server is to end.
POLL_SECONDS = 0.01


class Glance(fixtures.Fixture, glance_store.FakeGlance):
    """The service.

    :ivar requests: (method, path, headers), in order
    :ivar changes: of each PATCH what it changes, in order
    :ivar lifetime: seconds that the user's token is good for, alone; None
        for ever
    :ivar before_block: called before each block of an upload is read
    :ivar then: called with the words of a request before it is answered
    """

    def __init__(self):
        fixtures.Fixture.__init__(self)
        glance_store.FakeGlance.__init__(self)
        self.requests = []
        self.changes = []
        self.lifetime = None
        self.before_block = lambda: None
        self.then = lambda words: None

    def _setUp(self):
        self.began = time.monotonic()
        server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), type('Handler', (_Handler,), {'glance': self}))
        server.daemon_threads = True
        thread = threading.Thread(
            target=server.serve_forever, daemon=True,
            kwargs={'poll_interval': POLL_SECONDS})
        thread.start()
        self.url = f'http://127.0.0.1:{server.server_address[1]}'
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def is_good(self, headers):
        """Tell whether a request's token still is."""
        if not headers.get('X-Auth-Token'):
            return False
        if headers.get('X-Service-Token'):
            # :source: keystonemiddleware, fetch_token with allow_expired
            return True
        return (self.lifetime is None
                or time.monotonic() - self.began < self.lifetime)

    def patch(self, image_id, changes):
        """Change a record, and remember what."""
        stored = super().patch(image_id, changes)
        self.changes.append({change['path'].removeprefix('/'):
                             change.get('value') for change in changes})
        return stored


class _Handler(http.server.BaseHTTPRequestHandler):
    glance: Glance
    protocol_version = 'HTTP/1.1'

    def _perform(self):
        glance = self.glance
        blocks = self._blocks()
        if self.command != 'PUT':
            blocks = iter([b''.join(blocks)])
        glance.requests.append((self.command, self.path,
                                dict(self.headers.items())))
        glance.then(f'{self.command} {self.path}')
        answer = fake_http.Answer(401)
        if glance.is_good(self.headers):
            answer = api.answer(glance, fake_http.Request(
                self.command, self.path, self.headers, blocks))
        # What was refused was not read, and the next request follows it.
        for _ in blocks:
            pass
        self._answer(answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _perform

    def log_message(self, *args):
        pass

    def _blocks(self) -> cabc.Iterator[bytes]:
        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
            while size := int(self.rfile.readline(), 16):
                self._wait()
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get('Content-Length') or 0)
        while left:
            self._wait()
            block = self.rfile.read(min(left, BLOCK_BYTES))
            if not block:
                # Its sender is gone; the connection is of no use any more.
                self.close_connection = True
                return
            left -= len(block)
            yield block

    def _wait(self):
        if self.command == 'PUT':
            self.glance.before_block()

    def _answer(self, answer):
        data = answer.body()
        self.send_response(answer.status)
        if answer.status != http.HTTPStatus.NO_CONTENT:
            self.send_header('Content-Type', answer.content_type)
            self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
