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

"""The database server and the message queue, each a daemon of our own."""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket

from tests.e2e import layout
from tests.lab import errors
from tests.lab import place
from tests.lab import process

# Seconds.
START_TIMEOUT = 120
STOP_TIMEOUT = 60
CONNECT_TIMEOUT = 1

DATABASES = ('keystone', 'placement', 'neutron', 'nova_api', 'nova_cell0',
             'nova_cell1')

# Safe against a crash of the server, not of the machine: nothing is fsynced.
MARIADB_OPTIONS = (
    '--bind-address=127.0.0.1', '--max-connections=500', '--skip-name-resolve',
    '--innodb-flush-log-at-trx-commit=0', '--innodb-flush-method=nosync',
    '--innodb-doublewrite=0', '--innodb-log-file-size=16M',
    '--innodb-buffer-pool-size=256M', '--character-set-server=utf8mb3')

RABBITMQ_CONF = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = e2e
default_pass = {password}
loopback_users = none
disk_free_limit.absolute = 50MB
"""

# The package's own rabbitmq-server starts this one as its user and drops the
# environment with which it can be told another place.
RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server'


def is_open(port: int) -> bool:
    """Tell whether somebody listens at a port."""
    with contextlib.suppress(OSError), socket.create_connection(
            ('127.0.0.1', port), timeout=CONNECT_TIMEOUT):
        return True
    return False


def require_free(name: str) -> None:
    """Refuse to start a service at a port that another one has.

    :raises LabError: when somebody listens there
    """
    port = layout.PORTS[name]
    if is_open(port):
        raise errors.LabError(f'port {port}, of {name}, is taken')


def _own_folder(path: pathlib.Path, user: str) -> pathlib.Path:
    """Make a folder that is a Debian user's."""
    found = pwd.getpwnam(user)
    place.make_dir(path, 0o750)
    os.chown(path, found.pw_uid, found.pw_gid)
    return path


def _as(user: str) -> list[str]:
    return ['setpriv', f'--reuid={user}', f'--regid={user}', '--init-groups']


class MariaDB:
    """One database server for all services but Glance."""

    def __init__(self, where: layout.Layout) -> None:
        self.layout = where
        self.folder = where.run_dir / 'mariadb'
        self.socket = self.folder / 'socket'
        self.daemon = process.Daemon('mariadb', where.services)

    def install(self) -> None:
        """Make the files of an empty server, in place of what there was."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _own_folder(self.folder, 'mysql')
        process.run(['mariadb-install-db', '--no-defaults', '--user=mysql',
                     f'--datadir={self.folder}',
                     '--auth-root-authentication-method=socket',
                     '--skip-test-db', '--skip-name-resolve'])

    def start(self) -> None:
        """Start the server and wait until it answers.

        :raises LabError: when it does not
        """
        if self.daemon.pid is None:
            require_free('mariadb')
        self.daemon.start([
            'mariadbd', '--no-defaults', '--user=mysql',
            f'--datadir={self.folder}', f'--socket={self.socket}',
            f'--pid-file={self.folder}/own.pid',
            f'--port={layout.PORTS["mariadb"]}', *MARIADB_OPTIONS])
        self.daemon.wait_ready(
            lambda: is_open(layout.PORTS['mariadb']), timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End the server, its files whole."""
        self.daemon.stop(patience=STOP_TIMEOUT)

    def make_databases(self) -> None:
        """Make the services' databases and their one user."""
        words = [f'CREATE DATABASE {name};' for name in DATABASES]
        words.append(f"CREATE USER e2e@'127.0.0.1' IDENTIFIED BY "
                     f"'{self.layout.password}';")
        words.append("GRANT ALL ON *.* TO e2e@'127.0.0.1';")
        process.run(['mariadb', '--no-defaults', f'--socket={self.socket}'],
                    stdin='\n'.join(words))


class RabbitMQ:
    """The message queue, without a memory of earlier runs."""

    def __init__(self, where: layout.Layout) -> None:
        self.layout = where
        self.folder = where.run_dir / 'rabbitmq'
        self.daemon = process.Daemon('rabbitmq', where.services)
        # RabbitMQ would start one that nobody ends.
        self.epmd = process.Daemon('epmd', where.services)

    def start(self) -> None:
        """Start the broker; do not wait."""
        if self.daemon.pid is not None:
            return
        for name in ('rabbitmq', 'rabbitmq-distribution', 'epmd'):
            require_free(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        _own_folder(self.folder, 'rabbitmq')
        (self.folder / 'rabbitmq.conf').write_text(RABBITMQ_CONF.format(
            port=layout.PORTS['rabbitmq'], password=self.layout.password))
        (self.folder / 'plugins').touch()
        self.epmd.start([
            *_as('rabbitmq'), 'epmd', '-port', str(layout.PORTS['epmd']),
            '-address', '127.0.0.1', '-relaxed_command_check'])
        self.daemon.start([*_as('rabbitmq'), RABBITMQ], env={
            'HOME': str(self.folder),
            'RABBITMQ_NODENAME': 'e2e@localhost',
            'RABBITMQ_MNESIA_BASE': str(self.folder),
            'RABBITMQ_LOG_BASE': str(self.folder),
            'RABBITMQ_CONFIG_FILE': str(self.folder / 'rabbitmq.conf'),
            'RABBITMQ_CONF_ENV_FILE': '/dev/null',
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self.folder / 'plugins'),
            'RABBITMQ_DIST_PORT':
                str(layout.PORTS['rabbitmq-distribution']),
            'ERL_EPMD_PORT': str(layout.PORTS['epmd']),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            # Two schedulers, which do not spin while they wait.
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                '-kernel inet_dist_use_interface {127,0,0,1}'
                ' +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none'})

    def wait_ready(self) -> None:
        """Wait until the broker takes connections.

        :raises LabError: when it does not
        """
        self.daemon.wait_ready(
            lambda: is_open(layout.PORTS['rabbitmq']), timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End the broker and what it needs."""
        self.daemon.stop(patience=STOP_TIMEOUT)
        self.epmd.stop()
