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

"""Ceph, Cinder and what Cinder needs: the ground of guests on volumes."""

import concurrent.futures
import pathlib
import secrets

from tests.lab import ceph as ceph_module
from tests.lab import cinder as cinder_module
from tests.lab import glance as glance_module
from tests.lab import keystone as keystone_module
from tests.lab import mariadb
from tests.lab import ports as ports_module
from tests.lab import rabbitmq

# Bytes of a password that cannot be guessed.
PASSWORD_BYTES = 16

# The folder of the ports that were chosen, in that of a run.
PORTS = 'storage-ports'


class Storage:
    """All of it; made anew at each start, together."""

    def __init__(self, run_dir: pathlib.Path,
                 glance: glance_module.Glance) -> None:
        """Name the places; nothing is started yet.

        :param glance: from which Cinder fetches images
        """
        self.run_dir = run_dir
        self.ceph = ceph_module.Ceph(run_dir)
        self.cinder = cinder_module.Cinder(run_dir, self.ceph)
        # Started by the tests that need it.
        self.ceph_glance = glance_module.CephGlance(run_dir, self.ceph)
        numbers = ports_module.kept(
            run_dir / PORTS, 'mariadb', *rabbitmq.PORTS
        )
        password = self._password()
        self.mariadb = mariadb.MariaDB(run_dir, numbers['mariadb'], password)
        self.rabbitmq = rabbitmq.RabbitMQ(run_dir, numbers, password)
        self.keystone = keystone_module.Keystone(run_dir, password)
        self._glance = glance

    @classmethod
    def is_there(cls, run_dir: pathlib.Path) -> bool:
        """Tell whether it was ever started there: to look writes nothing."""
        return (run_dir / PORTS).exists()

    @property
    def running(self) -> bool:
        """Whether all of it runs."""
        return (self.ceph.running and self.cinder.running
                and self.mariadb.daemon.pid is not None
                and self.rabbitmq.daemon.pid is not None)

    def start(self) -> None:
        """Start all of it, unless it runs; Glance may still be starting.

        :raises LabError: when a part does not start; a log says why
        """
        if self.running:
            return
        self.stop()
        self.rabbitmq.start()
        # To make the tables takes as long as all the rest.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for part in [pool.submit(self._make_tables),
                         pool.submit(self.ceph.start)]:
                part.result()
        self.rabbitmq.wait_ready()
        self.ceph.wait_ready()
        self.cinder.start()
        self.cinder.wait_ready()

    def start_keystone(self) -> keystone_module.Keystone:
        """Start a Keystone, unless it runs, and a cinder-api that asks it.

        Its catalog has that one, and Glance, which asks for no token. User
        ``cinder`` is Cinder's own.

        :raises LabError: when one of them does not start
        """
        if self.cinder.keystone_api.daemon.pid is not None:
            return self.keystone
        self.keystone.start(self.mariadb.url('keystone'))
        self.cinder.start_with_keystone(
            self.keystone.credentials('cinder', keystone_module.SERVICE),
            **self._urls())
        for service in (self.keystone.service, self.cinder.keystone_api):
            service.wait_ready()
        self.keystone.register(
            'cinder', 'block-storage',
            f'{self.cinder.keystone_api.url}/v3/$(project_id)s')
        self.keystone.register('glance', 'image', self._glance.endpoint)
        self.keystone.grant('cinder', keystone_module.SERVICE, 'service')
        return self.keystone

    def stop(self) -> None:
        """End all of it. What it held is not found again."""
        self.cinder.stop()
        self.ceph_glance.stop()
        self.keystone.stop()
        self.rabbitmq.stop()
        self.mariadb.stop()
        self.ceph.stop()

    def _make_tables(self) -> None:
        self.mariadb.install()
        self.mariadb.start()
        self.mariadb.make_databases(['cinder', 'keystone'])
        self.cinder.prepare(**self._urls())

    def _urls(self) -> dict[str, str]:
        return {'transport': self.rabbitmq.url,
                'database': self.mariadb.url('cinder'),
                'glance': self._glance.endpoint}

    def _password(self) -> str:
        file = self.run_dir / 'storage-password'
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(PASSWORD_BYTES))
        return file.read_text()
