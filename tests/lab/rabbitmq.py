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

"""A RabbitMQ of the lab's own: one broker, without a memory."""

import pathlib
import shutil

from tests.lab import place
from tests.lab import ports as ports_module
from tests.lab import process

# Seconds.
START_TIMEOUT = 120
STOP_TIMEOUT = 60

# Debian's user.
USER = 'rabbitmq'

# The names of the ports it needs.
PORTS = ('rabbitmq', 'rabbitmq-distribution', 'epmd')

CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
loopback_users = none
disk_free_limit.absolute = 50MB
"""

# The package's own rabbitmq-server starts this one as its user and drops the
# environment with which it can be told another place.
PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server'


def _as_user(user: str) -> list[str]:
    return ['setpriv', f'--reuid={user}', f'--regid={user}', '--init-groups']


class RabbitMQ:
    """The message queue; what was in it is gone when it starts.

    :ivar url: the address for an OpenStack service
    """

    def __init__(self, run_dir: pathlib.Path, ports: dict[str, int],
                 password: str, *, user: str = 'lab',
                 daemons: pathlib.Path | None = None) -> None:
        """Name the place; nothing is started yet.

        :param ports: by the names of PORTS
        :param user: of the broker, and the name of its node
        :param daemons: for logs and pid files; its own folder when None
        """
        self.folder = run_dir / 'rabbitmq'
        self._ports = ports
        self._user = user
        self._password = password
        daemons = daemons or run_dir / 'services'
        self.daemon = process.Daemon('rabbitmq', daemons)
        # RabbitMQ would start one that it never ends.
        self.epmd = process.Daemon('epmd', daemons)

    @property
    def url(self) -> str:
        """The ``transport_url`` of a service."""
        return (f'rabbit://{self._user}:{self._password}@127.0.0.1:'
                f'{self._ports["rabbitmq"]}/')

    def start(self) -> None:
        """Start the broker; do not wait."""
        if self.daemon.pid is not None:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        place.make_users_dir(self.folder, USER)
        config = self.folder / 'rabbitmq.conf'
        config.write_text(CONFIG.format(
            port=self._ports['rabbitmq'], user=self._user,
            password=self._password))
        (self.folder / 'plugins').touch()
        self.epmd.start([
            *_as_user(USER), 'epmd', '-port', str(self._ports['epmd']),
            '-address', '127.0.0.1', '-relaxed_command_check'])
        self.daemon.start([*_as_user(USER), PROGRAM], env={
            'HOME': str(self.folder),
            'RABBITMQ_NODENAME': f'{self._user}@localhost',
            'RABBITMQ_MNESIA_BASE': str(self.folder),
            'RABBITMQ_LOG_BASE': str(self.folder),
            'RABBITMQ_CONFIG_FILE': str(config),
            'RABBITMQ_CONF_ENV_FILE': '/dev/null',
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self.folder / 'plugins'),
            'RABBITMQ_DIST_PORT': str(self._ports['rabbitmq-distribution']),
            'ERL_EPMD_PORT': str(self._ports['epmd']),
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
            lambda: ports_module.is_open(self._ports['rabbitmq']),
            timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End the broker and what it needs."""
        self.daemon.stop(patience=STOP_TIMEOUT)
        self.epmd.stop()
