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

from tests.e2e import layout
from tests.lab import errors
from tests.lab import mariadb
from tests.lab import ports as ports_module
from tests.lab import rabbitmq

DATABASES = ('keystone', 'placement', 'neutron', 'nova_api', 'nova_cell0',
             'nova_cell1')


def require_free(name: str) -> None:
    """Refuse to start a service at a port that another one has.

    :raises LabError: when a process listens there
    """
    port = layout.PORTS[name]
    if ports_module.is_open(port):
        raise errors.LabError(f'port {port}, of {name}, is taken')


class MariaDB(mariadb.MariaDB):
    """The lab's database server, for all services but Glance."""

    def __init__(self, where: layout.Layout) -> None:
        super().__init__(where.run_dir, layout.PORTS['mariadb'],
                         where.password, user='e2e', daemons=where.services)

    def start(self) -> None:
        """Start the server and wait until it answers.

        :raises LabError: when it does not, or another process has its port
        """
        if self.daemon.pid is None:
            require_free('mariadb')
        super().start()


class RabbitMQ(rabbitmq.RabbitMQ):
    """The lab's message queue, at ports of the cloud's own."""

    def __init__(self, where: layout.Layout) -> None:
        super().__init__(where.run_dir, layout.PORTS, where.password,
                         user='e2e', daemons=where.services)

    def start(self) -> None:
        """Start the broker; do not wait.

        :raises LabError: when another process has one of its ports
        """
        if self.daemon.pid is None:
            for name in rabbitmq.PORTS:
                require_free(name)
        super().start()
