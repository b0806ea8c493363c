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

import hashlib
import http.client
import http.server
import threading

import ddt
from oslotest import base

from tests.lab import proxy

PATH = '/v2/images/an-id/file'
BODY = bytes(range(256)) * 4096
# More than the proxy hands on at once.
HALF = len(BODY) // 2
TIMEOUT = 10


class Service(http.server.BaseHTTPRequestHandler):
    """Keeps what it was sent, whole or cut, and answers with its digest."""

    protocol_version = 'HTTP/1.1'

    def do_PUT(self):
        body = b''
        try:
            if 'Content-Length' in self.headers:
                body = self.rfile.read(int(self.headers['Content-Length']))
            else:
                while size := int(self.rfile.readline() or b'0', 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
        finally:
            self.server.received.append((body, dict(self.headers)))
            self.server.arrived.release()
        answer = hashlib.sha256(body).hexdigest().encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):

    daemon_threads = True

    def handle_error(self, request, client_address):
        """A connection that is cut is what these tests are about."""


@ddt.ddt
class ProxyTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.service = Server(('127.0.0.1', 0), Service)
        self.service.received = []
        self.service.arrived = threading.Semaphore(0)
        thread = threading.Thread(target=self.service.serve_forever,
                                  kwargs={'poll_interval': 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.service.server_close)
        self.addCleanup(self.service.shutdown)
        port = self.service.server_address[1]
        self.proxy = proxy.Proxy(f'http://127.0.0.1:{port}')
        self.addCleanup(self.proxy.stop)

    def put(self, chunked=True):
        """Send BODY; return the answer's status and body."""
        host = self.proxy.endpoint.removeprefix('http://')
        conn = http.client.HTTPConnection(host, timeout=TIMEOUT)
        self.addCleanup(conn.close)
        body = [BODY[:HALF], BODY[HALF:]] if chunked else BODY
        conn.request('PUT', PATH, body=body, encode_chunked=chunked,
                     headers={'Transfer-Encoding': 'chunked'}
                     if chunked else {})
        response = conn.getresponse()
        return response.status, response.read()

    def received(self):
        """Wait until the service has what it will get; return it."""
        self.assertTrue(self.service.arrived.acquire(timeout=TIMEOUT))
        return self.service.received[-1]

    def fault(self, **facts):
        return self.proxy.inject(proxy.Fault('PUT', proxy.FILE, **facts))

    def assert_cut(self, **facts):
        fault = self.fault(**facts)
        self.assertRaises((OSError, http.client.HTTPException), self.put)
        self.assertTrue(fault.happened.is_set())

    @ddt.data(True, False)
    def test_without_a_fault_everything_arrives(self, chunked):
        answer = self.put(chunked)
        self.assertEqual(
            (200, hashlib.sha256(BODY).hexdigest().encode()), answer)
        self.assertEqual(BODY, self.received()[0])
        self.assertEqual([len(BODY)], [seen.body for seen in self.proxy.seen])

    def test_dropped_connection_leaves_exactly_so_many_bytes(self):
        self.assert_cut(drop_after=HALF + 1)
        self.assertEqual(HALF + 1, self.proxy.seen[0].body)

    @ddt.data(True, False)
    def test_only_the_first_bytes_are_kept(self, chunked):
        fault = self.fault(keep=HALF + 1)
        self.assertEqual(200, self.put(chunked)[0])
        self.assertEqual(BODY[:HALF + 1], self.received()[0])
        self.assertTrue(fault.happened.is_set())

    def test_one_byte_is_changed(self):
        self.fault(alter=HALF)
        self.assertEqual(200, self.put()[0])
        received = self.received()[0]
        self.assertEqual(len(BODY), len(received))
        self.assertEqual([HALF], [place for place in range(len(BODY))
                                  if received[place] != BODY[place]])

    def test_headers_of_an_answer(self):
        self.fault(status=429, headers={'Retry-After': '7'})
        host = self.proxy.endpoint.removeprefix('http://')
        conn = http.client.HTTPConnection(host, timeout=TIMEOUT)
        self.addCleanup(conn.close)
        conn.request('PUT', PATH, body=BODY)
        response = conn.getresponse()
        self.assertEqual((429, '7'), (response.status,
                                      response.getheader('Retry-After')))

    def test_only_the_nth_request_meets_the_fault(self):
        self.fault(nth=2, status=503)
        self.assertEqual([200, 503, 200],
                         [self.put()[0], self.put()[0], self.put()[0]])

    def test_every_request_meets_a_fault_without_nth(self):
        self.fault(nth=None, status=503)
        self.assertEqual([503, 503], [self.put()[0], self.put()[0]])

    def test_request_that_was_answered_by_the_proxy_is_not_handed_on(self):
        self.fault(status=503)
        self.put()
        self.assertEqual([], self.service.received)

    def test_lost_response_after_a_whole_request(self):
        self.assert_cut(lose_response=True)
        self.assertEqual(BODY, self.received()[0])

    def test_one_that_is_gone_serves_no_connection_that_was_kept(self):
        conn = http.client.HTTPConnection(
            self.proxy.endpoint.removeprefix('http://'), timeout=TIMEOUT)
        self.addCleanup(conn.close)
        for _ in range(2):
            conn.request('PUT', PATH, body=BODY)
            answer = conn.getresponse()
            answer.read()
            self.assertEqual(200, answer.status)
        self.proxy.refuse()
        self.assertRaises((OSError, http.client.HTTPException), self.put)
        conn.request('PUT', PATH, body=b'')
        self.assertRaises((OSError, http.client.HTTPException),
                          conn.getresponse)
        self.assertEqual(2, len(self.proxy.seen))
        self.proxy.clear()
        self.assertEqual(200, self.put()[0])

    def test_call_comes_in_the_middle_and_all_goes_on(self):
        called = []
        self.fault(call_after=HALF,
                   call=lambda: called.append(self.proxy.seen[0].body))
        self.assertEqual(200, self.put()[0])
        self.assertEqual([HALF], called)
        self.assertEqual(BODY, self.received()[0])

    def test_a_buffered_body_is_handed_on_whole_and_late(self):
        fault = self.fault(buffers=TIMEOUT)
        answers = []
        done = threading.Thread(target=lambda: answers.append(self.put()[0]))
        done.start()
        self.assertTrue(fault.happened.wait(TIMEOUT))
        self.assertEqual(0, self.proxy.seen[0].body)
        self.assertEqual([], self.service.received)
        self.proxy.stopped.set()
        done.join(TIMEOUT)
        self.assertEqual([200], answers)
        self.assertEqual(BODY, self.received()[0])

    def test_hanging_request_ends_with_the_proxy(self):
        fault = self.fault(hang_after=HALF)
        done = threading.Thread(target=self.assertRaises, args=(
            (OSError, http.client.HTTPException), self.put))
        done.start()
        self.assertTrue(fault.happened.wait(TIMEOUT))
        self.proxy.stopped.set()
        done.join(TIMEOUT)
        self.assertFalse(done.is_alive())

    def test_headers_of_the_proxy_replace_the_clients(self):
        self.proxy.headers['X-Auth-Token'] = 'u:p:member'
        self.put()
        self.assertEqual('u:p:member', self.received()[1]['X-Auth-Token'])
