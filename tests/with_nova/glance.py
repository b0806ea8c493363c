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

"""A small Glance that listens: images v2, as Nova and we ask for them.

It refuses what Glance refuses: a token that it does not know or that has
run out, a change of what only it may change, data for an image that is not
queued, more data than a project may have.
"""

import hashlib
import http.server
import json
import re
import threading
import time

import fixtures

# What only Glance itself may change.
# :source: glance/api/v2/images.py _readonly_properties
READ_ONLY = frozenset(('status', 'created_at', 'updated_at', 'checksum',
                       'size', 'virtual_size', 'id', 'schema', 'self', 'file',
                       'os_hash_algo', 'os_hash_value'))
STAMP = '2026-11-27T00:00:00Z'
_TEXT = {'type': ['null', 'string']}
_NUMBER = {'type': ['null', 'integer']}
SCHEMA = {'name': 'image', 'additionalProperties': {'type': 'string'},
          'properties': {
              **dict.fromkeys(
                  ('id', 'name', 'status', 'visibility', 'owner', 'checksum',
                   'os_hash_algo', 'os_hash_value', 'container_format',
                   'disk_format', 'created_at', 'updated_at', 'kernel_id',
                   'ramdisk_id', 'schema'), _TEXT),
              **dict.fromkeys(('min_disk', 'min_ram', 'size',
                               'virtual_size'), _NUMBER),
              'protected': {'type': 'boolean'},
              'tags': {'type': 'array', 'items': {'type': 'string'}}}}
BLOCK_BYTES = 64 * 1024


class Glance(fixtures.Fixture):
    """The service.

    :ivar images: its records
    :ivar data: the bytes of those that are active
    :ivar requests: (method, path, headers), in order
    :ivar changes: of each PATCH what it changes, in order
    :ivar quota: bytes that an image may have; None for any
    :ivar lifetime: seconds that the user's token is good for, alone; None
        for ever
    :ivar pause: seconds before each block of an upload is read
    :ivar then: called with the words of a request before it is answered
    """

    def __init__(self):
        super().__init__()
        self.images = {}
        self.data = {}
        self.requests = []
        self.changes = []
        self.quota = None
        self.lifetime = None
        self.forbids_data = False
        self.pause = 0.0
        self.then = lambda words: None

    def _setUp(self):
        self.began = time.monotonic()
        server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), type('Handler', (_Handler,), {'glance': self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True,
                                  kwargs={'poll_interval': 0.01})
        thread.start()
        self.url = f'http://127.0.0.1:{server.server_address[1]}'
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def add(self, image_id, **values):
        """Make a record, as nova-api does before it asks nova-compute."""
        self.images[image_id] = {
            'id': image_id, 'name': 'nightly', 'status': 'queued',
            'visibility': 'private', 'created_at': STAMP,
            'updated_at': STAMP, 'min_disk': 1, 'min_ram': 0, 'tags': [],
            'protected': False, 'size': None, 'owner': 'project',
            'schema': '/v2/schemas/image', **values}
        return self.images[image_id]

    def is_good(self, headers):
        """Tell whether a request's token still is."""
        if not headers.get('X-Auth-Token'):
            return False
        if headers.get('X-Service-Token'):
            # :source: keystonemiddleware, fetch_token with allow_expired
            return True
        return (self.lifetime is None
                or time.monotonic() - self.began < self.lifetime)


class _Handler(http.server.BaseHTTPRequestHandler):
    glance: Glance
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        self._perform(self._get)

    def do_PATCH(self):
        self._perform(self._patch)

    def do_PUT(self):
        self._perform(self._put)

    def do_DELETE(self):
        self._perform(self._delete)

    def log_message(self, *args):
        pass

    def _perform(self, act):
        glance = self.glance
        body = b'' if self.command == 'PUT' else self._body()
        glance.requests.append((self.command, self.path,
                                dict(self.headers.items())))
        glance.then(f'{self.command} {self.path}')
        found = re.fullmatch('/v2/images/([^/?]+)(/file)?', self.path)
        self.image_id = found and found[1]
        if not glance.is_good(self.headers):
            self._refuse(401)
        elif self.path == '/v2/schemas/image':
            self._answer(200, SCHEMA)
        elif found and self.image_id not in glance.images:
            self._refuse(404)
        elif found:
            act(glance.images[self.image_id], body)
        else:
            self._answer(200, {'images': []})

    def _get(self, image, body):
        self._answer(200, image)

    def _patch(self, image, body):
        changes = json.loads(body)
        names = [change['path'].removeprefix('/') for change in changes]
        if READ_ONLY.intersection(names):
            self._answer(403)
            return
        for name, change in zip(names, changes, strict=True):
            if change['op'] == 'remove':
                image.pop(name, None)
            else:
                image[name] = change['value']
        self.glance.changes.append({
            name: change.get('value')
            for name, change in zip(names, changes, strict=True)})
        self._answer(200, image)

    def _delete(self, image, body):
        del self.glance.images[self.image_id]
        self._answer(204)

    def _put(self, image, body):
        if image['status'] != 'queued':
            self._refuse(409)
            return
        image['status'] = 'saving'
        data = b''.join(self._blocks())
        refusal = self._refusal(data)
        if refusal:
            image['status'] = 'queued'
            self._answer(refusal)
            return
        self.glance.data[self.image_id] = data
        image.update(
            status='active', size=len(data),
            checksum=hashlib.md5(data).hexdigest(), os_hash_algo='sha512',
            os_hash_value=hashlib.sha512(data).hexdigest())
        self._answer(204)

    def _refuse(self, status):
        if self.command == 'PUT':
            for _ in self._blocks():
                pass
        self._answer(status)

    def _refusal(self, data):
        if self.glance.forbids_data:
            return 403
        if self.glance.quota is not None and len(data) > self.glance.quota:
            return 413
        if self.image_id not in self.glance.images:
            return 410
        return None

    def _body(self):
        return self.rfile.read(int(self.headers.get('Content-Length') or 0))

    def _blocks(self):
        if 'Content-Length' in self.headers:
            left = int(self.headers['Content-Length'])
            while left:
                time.sleep(self.glance.pause)
                block = self.rfile.read(min(left, BLOCK_BYTES))
                left -= len(block)
                yield block
            return
        while size := int(self.rfile.readline(), 16):
            time.sleep(self.glance.pause)
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status, body=None):
        data = b'' if body is None else json.dumps(body).encode()
        self.send_response(status)
        if status != 204:
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
