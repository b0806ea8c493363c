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

"""A service that answers HTTP, under a uWSGI of its own.

None of OpenStack's has a server of its own any more. uWSGI's ``http`` router
breaks a chunked upload ("Remote end closed connection without response");
``http-socket`` with ``chunked-input-limit`` does not.
"""

import collections.abc as cabc
import http.client
import os
import pathlib
import signal

from nova_snap import units
from tests.lab import place
from tests.lab import ports as ports_module
from tests.lab import process

# Seconds. Loading takes five to ten, and a minute on a loaded machine where
# several load at the same time.
START_TIMEOUT = 240
ANSWER_TIMEOUT = 5

# Requests that one service works on at the same time: an upload, and the
# questions asked while it runs, for a few tests at once.
THREADS = 8

# Bytes. The biggest chunk of a chunked upload that uWSGI takes.
CHUNK_LIMIT = 10 * units.MiB

# Seconds without a byte after which a client is given up.
SOCKET_TIMEOUT = 60

HERE = pathlib.Path(__file__).resolve().parent

# What a service of ours is asked at /: a list of its versions.
ANSWERS = (http.HTTPStatus.OK, http.HTTPStatus.MULTIPLE_CHOICES)

CONFIG = """\
[uwsgi]
http-socket = 127.0.0.1:{port}
chunked-input-limit = {chunk_limit}
chunked-input-timeout = {timeout}
module = {module}:application
pythonpath = {here}/paste
pyargv = {arguments}
virtualenv = {venv}
procname-prefix-spaced = lab-{name}
master = true
processes = 1
threads = {threads}
enable-threads = true
lazy-apps = true
need-app = true
die-on-term = true
buffer-size = 65535
socket-timeout = {timeout}
add-header = Connection: close
"""


class Service:
    """One service.

    :ivar url: without a version
    """

    def __init__(self, folder: pathlib.Path, name: str, module: str,
                 python: cabc.Callable[[], pathlib.Path], *,
                 port: int = 0) -> None:
        """Name the place; nothing is started yet.

        :param folder: for configuration, log, pid file and port
        :param module: with the WSGI application
        :param python: names the Python for which the module is installed;
            not called before the service is started
        :param port: 0 for the one it had before, or else a free one
        """
        self.folder = folder
        self.daemon = process.Daemon(name, folder)
        self.port = port or ports_module.kept(folder / f'{name}-ports',
                                              name)[name]
        self.url = f'http://127.0.0.1:{self.port}'
        self._module = module
        self._python = python

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.daemon.pid is not None

    def start(self, *arguments: str,
              env: cabc.Mapping[str, str] | None = None,
              run_as: cabc.Callable[[list[str]], list[str]] = list) -> None:
        """Start it, unless it runs; do not wait.

        :param arguments: what its module finds in ``sys.argv``
        :param env: more for its environment
        :param run_as: returns the command that runs another one, in its own
            place, as another user
        """
        place.make_dir(self.folder)
        config = self.folder / f'{self.daemon.name}.ini'
        config.write_text(CONFIG.format(
            name=self.daemon.name, port=self.port, module=self._module,
            here=HERE, arguments=' '.join(arguments),
            venv=self._python().parents[1], chunk_limit=CHUNK_LIMIT,
            threads=THREADS, timeout=SOCKET_TIMEOUT))
        self.daemon.start(
            run_as([str(place.services_python().with_name('uwsgi')), '--ini',
                    str(config)]), env={'PYTHONPATH': '', **(env or {})})

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until it answers.

        :raises LabError: when it dies or does not answer in time
        """
        self.daemon.wait_ready(self._answers, timeout=timeout)

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    def kill_worker(self) -> None:
        """Kill what works on the requests; another one takes its place.

        As the kernel does when there is no memory left.
        """
        master = self.daemon.pid
        for worker in pathlib.Path(
                f'/proc/{master}/task/{master}/children').read_text().split():
            os.kill(int(worker), signal.SIGKILL)

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
