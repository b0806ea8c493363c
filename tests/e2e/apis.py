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

"""The services that answer HTTP, at ports of the cloud's own."""

import dataclasses

from tests.e2e import backends
from tests.e2e import layout
from tests.e2e import machine
from tests.lab import wsgi


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


class ApiServer(wsgi.Service):
    """One API, which runs as the user of the machine."""

    def __init__(self, where: layout.Layout, services: machine.Machine,
                 api: Api) -> None:
        super().__init__(
            where.services, f'{api.name}-api', api.module,
            lambda: layout.venv(api.environment) / 'bin' / 'python',
            port=layout.PORTS[api.name])
        self._name = api.name
        self._machine = services

    def start(self) -> None:
        """Start the service, unless it runs; do not wait.

        :raises LabError: when another program has its port
        """
        if not self.running:
            backends.require_free(self._name)
            super().start(env=self._machine.environment(),
                          run_as=self._machine.command)
