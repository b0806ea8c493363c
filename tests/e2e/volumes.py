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

"""Ceph, and Cinder on it, brought up for the first case that needs them."""

import collections.abc
import pathlib

from openstack import connection

from tests.e2e import catalog
from tests.e2e import hypervisor
from tests.e2e import layout
from tests.e2e import waiting
from tests.lab import ceph as ceph_module
from tests.lab import cinder as cinder_module
from tests.lab.guest import volumes as guest_volumes
from tests.lab import process

DATABASE = 'cinder'
USER = 'cinder'
SERVICE = 'service'
CONFIG = 'keystone.conf'

# Seconds until Cinder's scheduler knows its storage.
SPACE_TIMEOUT = 120


class Volumes:
    """The storage of the cloud's volumes.

    It is root's: of the cloud only nova-compute must do without.
    """

    def __init__(self, where: layout.Layout,
                 libvirtd: hypervisor.Libvirtd) -> None:
        self.layout = where
        folder = where.run_dir / 'volumes'
        self.ceph = ceph_module.Ceph(folder)
        self.cinder = cinder_module.Cinder(folder, self.ceph)
        self._libvirtd = libvirtd

    @property
    def running(self) -> bool:
        """Whether all of it runs."""
        return self.ceph.running and self.cinder.running

    def up(self, connect: collections.abc.Callable[[], connection.Connection],
           socket: pathlib.Path) -> None:
        """Start all of it, unless it runs, and tell the cloud of it.

        :param connect: signs the administrator in
        :param socket: of the database server
        :raises LabError: when a part does not start; a log says why
        """
        if self.running:
            return
        self.cinder.stop()
        self.start_ceph()
        process.run(['mariadb', '--no-defaults', f'--socket={socket}'],
                    stdin=f'DROP DATABASE IF EXISTS {DATABASE};'
                          f'CREATE DATABASE {DATABASE};')
        admin = connect()
        catalog.make_user(admin, self.layout, USER, SERVICE,
                          ('admin', 'service'))
        self._start_cinder()
        catalog.register(admin, USER, 'block-storage',
                         f'{self.cinder.api.url}/v3/$(project_id)s')
        # Signed in anew: the catalog has it now.
        cinder = connect().block_storage
        waiting.wait_until(lambda: any(cinder.backend_pools()),
                           timeout=SPACE_TIMEOUT, what='space for volumes')

    def start_ceph(self) -> None:
        """Start Ceph, unless it runs, and tell libvirt its key.

        :raises LabError: when it does not start; a log says why
        """
        if not self.ceph.running:
            self.ceph.start()
            guest_volumes.tell_secret(self._libvirtd, self.ceph)

    def _start_cinder(self) -> None:
        """Start its services, which ask Keystone."""
        facts = {'transport': self.layout.transport,
                 'database': self.layout.database(DATABASE),
                 'glance': self.layout.url('glance')}
        self.cinder.prepare(**facts)
        self.cinder.write_config(
            CONFIG, strategy='keystone',
            more=cinder_module.AUTHTOKEN.format(**{
                **catalog.credentials(self.layout, USER),
                'project_name': SERVICE, 'user_domain_name': 'Default',
                'project_domain_name': 'Default'}), **facts)
        self.ceph.wait_ready()
        self.cinder.start(CONFIG)
        self.cinder.api.wait_ready()

    def stop(self) -> None:
        """End all of it. What it held is not found again."""
        self.cinder.stop()
        self.ceph.stop()
