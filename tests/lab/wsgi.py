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

"""A service that answers HTTP, under a uWSGI of its own."""

import collections.abc
import http.client
import pathlib

from tests.lab import place
from tests.lab import ports as ports_module
from tests.lab import process

# Seconds. Loading takes five; a minute on a loaded machine.
START_TIMEOUT = 180
ANSWER_TIMEOUT = 5

THREADS = 4

HERE = pathlib.Path(__file__).resolve().parent

# What / is answered with: a list of versions.
ANSWERS = (http.HTTPStatus.OK, http.HTTPStatus.MULTIPLE_CHOICES)

CONFIG = """\
[uwsgi]
http-socket = 127.0.0.1:{port}
module = {module}:application
pythonpath = {here}/paste
pyargv = {arguments}
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
"""


class Service:
    """One service of the virtual environment of Cinder and Keystone.

    :ivar url: without a version
    """

    def __init__(self, folder: pathlib.Path, name: str,
                 module: str) -> None:
        """Name the place; nothing is started yet.

        :param folder: for log, pid file and port
        :param module: with the WSGI application
        """
        self.folder = folder
        self.daemon = process.Daemon(name, folder)
        self.port = ports_module.kept(folder / f'{name}-ports', name)[name]
        self.url = f'http://127.0.0.1:{self.port}'
        self._module = module

    def start(self, *arguments: str,
              env: collections.abc.Mapping[str, str] | None = None) -> None:
        """Start it; do not wait.

        :param arguments: what its module finds in ``sys.argv``
        """
        config = self.folder / f'{self.daemon.name}.ini'
        config.write_text(CONFIG.format(
            port=self.port, module=self._module, here=HERE, threads=THREADS,
            arguments=' '.join(arguments),
            venv=place.cinder_python().parents[1]))
        self.daemon.start(
            [str(place.services_python().with_name('uwsgi')), '--ini',
             str(config)], env={'PYTHONPATH': '', **(env or {})})

    def wait_ready(self) -> None:
        """Wait until it answers.

        :raises LabError: when it dies or does not answer in time
        """
        self.daemon.wait_ready(self._answers, timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    def _answers(self) -> bool:
        conn = http.client.HTTPConnection('127.0.0.1', self.port,
                                          timeout=ANSWER_TIMEOUT)
        try:
            conn.request('GET', '/')
            return conn.getresponse().status in ANSWERS
        except (OSError, http.client.HTTPException):
            return False
        finally:
            conn.close()
