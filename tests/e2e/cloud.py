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

"""A whole cloud on one machine, from its parts, in their order."""

import concurrent.futures
import datetime
import functools
import pathlib
import shutil
import time
import typing as ty

from openstack import connection

from tests.e2e import apis
from tests.e2e import backends
from tests.e2e import catalog
from tests.e2e import compute
from tests.e2e import config
from tests.e2e import databases
from tests.e2e import hypervisor
from tests.e2e import layout
from tests.e2e import machine
from tests.e2e import volumes
from tests.e2e import waiting
from tests.lab import ceph as ceph_module
from tests.lab.guest import build as guest_build
from tests.lab import process

# Nova's services besides nova-api and nova-compute.
WORKERS = ('nova-conductor', 'nova-scheduler')

# Files that a service's package brings for its folder of /etc.
SHIPPED = {
    'glance': ('services', 'glance-api-paste.ini'),
    'nova': ('nova', 'api-paste.ini'),
    'neutron': ('control', 'api-paste.ini'),
}


class Cloud:
    """Every service, known by its pid file.

    :ivar driver: nova-compute's ``compute_driver``
    """

    def __init__(self, run_dir: pathlib.Path, driver: str, *,
                 eventlet: bool = False) -> None:
        self.layout = layout.Layout.load(run_dir)
        self.driver = driver
        self.machine = machine.Machine(self.layout)
        self.libvirtd = hypervisor.Libvirtd(run_dir)
        self.volumes = volumes.Volumes(self.layout, self.libvirtd)
        self.mariadb = backends.MariaDB(self.layout)
        self.rabbitmq = backends.RabbitMQ(self.layout)
        self.apis = {api.name: apis.ApiServer(self.layout, self.machine, api)
                     for api in apis.APIS}
        self.workers = {name: process.Daemon(name, self.layout.services)
                        for name in WORKERS}
        self.compute = compute.Compute(
            self.layout, self.machine, self._nova_conf,
            eventlet=eventlet)
        self._stamp = run_dir / 'stamp'
        self._began = time.monotonic()

    @property
    def is_ours(self) -> bool:
        """Whether nova-compute has our driver, not one to compare with."""
        return self.driver.startswith('nova_snap.')

    @property
    def running(self) -> bool:
        """Whether this very cloud runs, nova-compute aside."""
        if not self._stamp.exists():
            return False
        return self._stamp.read_text() == layout.stamp(self.layout) and \
            self.libvirtd.running and all(
                daemon.pid is not None for daemon in self._daemons())

    def attach(self) -> None:
        """Find the cloud that was left running; start nova-compute anew."""
        self.machine.enter(anew=False)
        self.restart_compute({}, always=True)
        self._done('nova-compute')

    def up(self) -> None:
        """Start everything anew; nothing of an earlier run is left.

        :raises LabError: when something does not start
        """
        self.down()
        for name in ('nova', 'neutron', 'services'):
            shutil.rmtree(self.layout.run_dir / name, ignore_errors=True)
        self.machine.enter(anew=True)
        guest_build.parts()
        self._done('guest and a copy of /etc')
        self.libvirtd.start(self.machine.ids[1])
        self.rabbitmq.start()
        self._configure()
        databases.prepare(self.layout, self.machine, self.mariadb)
        self._done('libvirtd and databases')
        self._start_services()
        self._stamp.write_text(layout.stamp(self.layout))

    def _start_services(self) -> None:
        self.rabbitmq.wait_ready()
        # They load for a while; the workers sign in when they start.
        for api in self.apis.values():
            api.start()
        self.apis['keystone'].wait_ready()
        catalog.fill_identity(self.layout)
        self._done('RabbitMQ and keystone')
        for name, daemon in self.workers.items():
            daemon.start(self.machine.command([layout.program('nova', name)]),
                         env=self.machine.environment())
        self.compute.start()
        for api in self.apis.values():
            api.wait_ready()
        self._done('other APIs')
        admin = self.connect('admin')
        # To list ports fails until anything else was asked for: Nova asks
        # for the ports of a server that has none.
        # :source: neutron 29, GET /v2.0/ports: "type object 'Port' has no
        # attribute 'port_forwardings'" until SQLAlchemy knows all relations
        list(admin.network.networks())
        catalog.make_flavors(admin)
        catalog.make_image(admin)
        self._done('flavors and image')
        self.wait_compute()
        self._done('nova-compute')

    def _daemons(self) -> list[process.Daemon]:
        return [self.mariadb.daemon, self.rabbitmq.daemon,
                *(api.daemon for api in self.apis.values()),
                *self.workers.values()]

    def down(self) -> None:
        """End every process; what is on disk stays."""
        self._stamp.unlink(missing_ok=True)
        stops = [self.compute.end, self.volumes.stop,
                 self.libvirtd.stop, self.rabbitmq.stop, self.mariadb.stop,
                 *(daemon.stop for daemon in self.workers.values()),
                 *(api.stop for api in self.apis.values())]
        # Some take their time.
        with concurrent.futures.ThreadPoolExecutor(len(stops)) as pool:
            ended = [pool.submit(stop) for stop in stops]
        for stop in ended:
            stop.result()
        self.machine.kill()

    @functools.cached_property
    def customer(self) -> connection.Connection:
        """What the customer has signed in with."""
        return self.connect(catalog.CUSTOMER)

    def connect(self, user: str) -> connection.Connection:
        """Sign in; see catalog.connect."""
        return catalog.connect(self.layout, user)

    def need_volumes(self) -> None:
        """Have Cinder, from the first case on that needs it.

        :raises LabError: when it does not start
        """
        if not self.volumes.running:
            self._began = time.monotonic()
            self.volumes.up(lambda: self.connect('admin'),
                            self.mariadb.socket)
            # Nova keeps what it was told of a token, the catalog with it:
            # only a new one leads to a Cinder that has just come up.
            self.customer.session.invalidate()
            self._done('Ceph and Cinder')

    @property
    def has_images_in_ceph(self) -> bool:
        """Whether Glance keeps its images in Ceph."""
        config_file = self.layout.etc / 'glance' / 'glance-api.conf'
        return self.volumes.ceph.running and config_file.read_text() == (
            config.render(config.glance(self.layout, in_ceph=True)))

    def need_images_in_ceph(self) -> None:
        """Have Glance keep its images in Ceph, from the first such case on.

        :raises LabError: when Ceph or Glance does not start
        """
        if self.has_images_in_ceph:
            return
        self._began = time.monotonic()
        self.volumes.start_ceph()
        ceph = self.volumes.ceph
        self.machine.write('ceph/ceph.conf', ceph.client_config())
        for client in (ceph_module.CLIENT, ceph_module.GLANCE):
            self.machine.write(f'ceph/ceph.client.{client}.keyring',
                               ceph.client_keyring(client))
        self.machine.write('glance/glance-api.conf', config.render(
            config.glance(self.layout, in_ceph=True)))
        glance = self.apis['glance']
        glance.stop()
        glance.start()
        glance.wait_ready()
        catalog.make_image_in_ceph(self.connect('admin'))
        self._done('images in Ceph')

    def wait_compute(self) -> None:
        """Wait until nova-compute takes orders.

        :raises LabError: when it gives up or is not ready in time
        """
        admin = self.connect('admin')

        def has_reported() -> bool:
            self.compute.require_alive()
            # A hypervisor is listed when its host is known to its cell.
            return any(self._reported(service) for service in
                       admin.compute.services(binary='nova-compute')) and \
                any(admin.compute.hypervisors())

        waiting.wait_until(has_reported, timeout=compute.UP_TIMEOUT,
                           what='nova-compute up')

    def _reported(self, service: ty.Any) -> bool:
        """Tell whether the process that runs now has reported."""
        return service.state == 'up' and service.updated_at is not None and \
            _seconds(service.updated_at) > self.compute.started

    def restart_compute(self, options: compute.Options, *,
                        always: bool = False) -> None:
        """Have nova-compute run with these options, unless it does.

        It is killed, because it does nothing now: to end in order takes it
        all of ``manager_shutdown_timeout``.
        :source: seen with Nova 34: ThreadPoolExecutor "default" never ends

        :param always: restart it also if it does
        """
        if self.compute.pid is not None:
            if options == self.compute.options and not always:
                return
            self.compute.kill()
        self.compute.configure(options)
        self.compute.start()
        self.wait_compute()

    def _configure(self) -> None:
        for name in ('nova', 'neutron', 'pycache'):
            self.machine.own(self.layout.run_dir / name)
        process.run(['chown', '-R', '--from=0:0', '{}:{}'.format(
            *self.machine.ids), str(self.layout.run_dir / 'pycache')])
        self.machine.own(self.layout.instances)
        for service, (environment, name) in SHIPPED.items():
            source = layout.venv(environment) / 'etc' / service / name
            self.machine.write(f'{service}/{name}', source.read_text())
        for name, sections in (
                ('keystone/keystone.conf', config.keystone(self.layout)),
                ('glance/glance-api.conf', config.glance(self.layout)),
                ('placement/placement.conf', config.placement(self.layout)),
                ('neutron/neutron.conf', config.neutron(self.layout)),
                ('neutron/plugins/ml2/ml2_conf.ini', config.ml2())):
            self.machine.write(name, config.render(sections))
        self.machine.write('nova/policy.yaml', config.NOVA_POLICY)
        # nova-manage reads it before nova-compute does.
        self.compute.configure({})

    def _nova_conf(self) -> config.Sections:
        return config.nova(
            self.layout, driver=self.driver, libvirt_uri=self.libvirtd.uri,
            kvm=self.libvirtd.kvm_works)

    def _done(self, what: str) -> None:
        now = time.monotonic()
        print(f'up: {what:24}{now - self._began:7.1f} s', flush=True)
        self._began = now


def _seconds(moment: str) -> float:
    """Read a time that nova writes: UTC, whole seconds."""
    return datetime.datetime.fromisoformat(moment).replace(
        tzinfo=datetime.timezone.utc).timestamp()
