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

"""The services that answer HTTP, each under a uWSGI of its own.

None of them has a server of its own any more. uWSGI's ``http`` router breaks
a chunked upload; ``http-socket`` with ``chunked-input-limit`` does not.
"""

import dataclasses
import http.client
import pathlib

from nova_snap import units
from tests.e2e import backends
from tests.e2e import layout
from tests.e2e import machine
from tests.lab import process

# Seconds. Loading takes five to ten, and all load at the same time.
START_TIMEOUT = 240
ANSWER_TIMEOUT = 5

# Requests that one service works on at the same time.
THREADS = 4

# Bytes. The biggest chunk of a chunked upload that uWSGI takes.
CHUNK_LIMIT = 10 * units.MiB

UWSGI = """\
[uwsgi]
http-socket = 127.0.0.1:{port}
chunked-input-limit = {chunk_limit}
chunked-input-timeout = 60
module = {module}:application
virtualenv = {venv}
master = true
processes = 1
threads = {threads}
enable-threads = true
lazy-apps = true
need-app = true
die-on-term = true
buffer-size = 65535
socket-timeout = 60
add-header = Connection: close
procname-prefix-spaced = e2e-{name}
"""


@dataclasses.dataclass(frozen=True)
class Api:
    """One service.

    :ivar environment: the virtual environment it is installed in
    :ivar module: with the WSGI application
    """

    name: str
    environment: str
    module: str


APIS = (
    Api('keystone', 'control', 'keystone.wsgi.api'),
    Api('glance', 'services', 'glance.wsgi.api'),
    Api('placement', 'control', 'placement.wsgi.api'),
    Api('nova', 'nova', 'nova.wsgi.osapi_compute'),
    Api('neutron', 'control', 'neutron.wsgi.api'),
)


class ApiServer:
    """One API and its uWSGI."""

    def __init__(self, where: layout.Layout, services: machine.Machine,
                 api: Api) -> None:
        self.layout = where
        self.machine = services
        self.api = api
        self.port = layout.PORTS[api.name]
        self.daemon = process.Daemon(f'{api.name}-api', where.services)

    def start(self) -> None:
        """Start the service; do not wait."""
        if self.daemon.pid is not None:
            return
        backends.require_free(self.api.name)
        name = f'{self.api.name}/uwsgi.ini'
        self.machine.write(name, UWSGI.format(
            name=self.api.name, port=self.port, chunk_limit=CHUNK_LIMIT,
            module=self.api.module, venv=layout.venv(self.api.environment),
            threads=THREADS))
        self.daemon.start(
            self.machine.command([layout.program('services', 'uwsgi'),
                                  '--ini', str(pathlib.Path('/etc', name))]),
            env=self.machine.environment())

    def wait_ready(self) -> None:
        """Wait until the service answers.

        :raises LabError: when it dies or does not answer in time
        """
        self.daemon.wait_ready(self._answers, timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End the service."""
        self.daemon.stop()

    def _answers(self) -> bool:
        conn = http.client.HTTPConnection('127.0.0.1', self.port,
                                          timeout=ANSWER_TIMEOUT)
        try:
            conn.request('GET', '/')
            return conn.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            conn.close()
