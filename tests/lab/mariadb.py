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

"""A MariaDB of the lab's own: one server for all services that need one.

SQLite does not do where several processes write: it says "database is
locked" to one of two that want to write what they have read.
"""

import collections.abc
import pathlib
import shutil

from tests.lab import place
from tests.lab import ports as ports_module
from tests.lab import process

# Seconds.
START_TIMEOUT = 120
STOP_TIMEOUT = 60

# Safe against a crash of the server, not of the machine: nothing is fsynced.
OPTIONS = (
    '--bind-address=127.0.0.1', '--max-connections=500', '--skip-name-resolve',
    '--innodb-flush-log-at-trx-commit=0', '--innodb-flush-method=nosync',
    '--innodb-doublewrite=0', '--innodb-log-file-size=16M',
    '--innodb-buffer-pool-size=256M', '--character-set-server=utf8mb3')


class MariaDB:
    """The server."""

    def __init__(self, run_dir: pathlib.Path, port: int, password: str, *,
                 user: str = 'lab',
                 daemons: pathlib.Path | None = None) -> None:
        """Name the place; nothing is started yet.

        :param user: of all databases
        :param daemons: for log and pid file; a folder of its own when None
        """
        self.folder = run_dir / 'mariadb'
        self.socket = self.folder / 'socket'
        self.daemon = process.Daemon('mariadb',
                                     daemons or run_dir / 'services')
        self._port = port
        self._user = user
        self._password = password

    def url(self, database: str) -> str:
        """Return what a service's configuration says."""
        return (f'mysql+pymysql://{self._user}:{self._password}@127.0.0.1:'
                f'{self._port}/{database}?charset=utf8')

    def install(self) -> None:
        """Make the files of an empty server, in place of what there was."""
        shutil.rmtree(self.folder, ignore_errors=True)
        place.make_users_dir(self.folder, 'mysql')
        process.run(['mariadb-install-db', '--no-defaults', '--user=mysql',
                     f'--datadir={self.folder}',
                     '--auth-root-authentication-method=socket',
                     '--skip-test-db', '--skip-name-resolve'])

    def start(self) -> None:
        """Start the server and wait until it answers.

        :raises LabError: when it does not
        """
        self.daemon.start([
            'mariadbd', '--no-defaults', '--user=mysql',
            f'--datadir={self.folder}', f'--socket={self.socket}',
            f'--pid-file={self.folder}/own.pid', f'--port={self._port}',
            *OPTIONS])
        self.daemon.wait_ready(lambda: ports_module.is_open(self._port),
                               timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End the server, its files whole."""
        self.daemon.stop(patience=STOP_TIMEOUT)

    def make_databases(self,
                       names: collections.abc.Iterable[str]) -> None:
        """Make the services' databases and their one user."""
        words = [f'CREATE DATABASE {name};' for name in names]
        words.append(f"CREATE USER {self._user}@'127.0.0.1' IDENTIFIED BY "
                     f"'{self._password}';")
        words.append(f"GRANT ALL ON *.* TO {self._user}@'127.0.0.1';")
        process.run(['mariadb', '--no-defaults', f'--socket={self.socket}'],
                    stdin='\n'.join(words))
