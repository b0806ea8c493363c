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

"""A real Cinder on Ceph: cinder-api, -scheduler and -volume.

Who asks is who the token says, in clear text (see paste/lab_identity.py), or
who Keystone says, at another address.
"""

import collections.abc
import contextlib
import http
import json
import pathlib
import shutil
import signal
import typing as ty
import urllib.error
import urllib.request

from tests.lab import ceph as ceph_module
from tests.lab import errors
from tests.lab import glance as glance_module
from tests.lab import place
from tests.lab import process
from tests.lab import wsgi

# Who asks when a request has no token: as in Glance.
IDENTITY = glance_module.IDENTITY
PROJECT = IDENTITY.split(':')[1]

# Of the secret in libvirt with the key of Ceph's client.
SECRET_UUID = '2a5b08e4-3dca-4ff9-9a1d-40389758d081'

# The newest of Cinder 29 whose answers are known here.
MICROVERSION = '3.70'

# Seconds. Loading takes five; a minute on a loaded machine.
START_TIMEOUT = 180
ANSWER_TIMEOUT = 60
STATUS_TIMEOUT = 120

HERE = pathlib.Path(__file__).resolve().parent

CONFIG = """\
[DEFAULT]
debug = true
# Into the log of each process.
use_stderr = true
state_path = {folder}
image_conversion_dir = {folder}/conversion
host = lab
my_ip = 127.0.0.1
auth_strategy = {strategy}
api_paste_config = {folder}/paste.ini
resource_query_filters_file = {etc}/resource_filters.json
rootwrap_config = {etc}/rootwrap.conf
transport_url = {transport}
enabled_backends = ceph
glance_api_servers = {glance}
# The tests set what they need.
quota_volumes = -1
quota_snapshots = -1
quota_gigabytes = -1
report_interval = 1
service_down_time = 60
[database]
connection = {database}
[coordination]
backend_url = file://{folder}/coordination
[oslo_concurrency]
lock_path = {folder}/lock
[cinder_sys_admin]
# Root needs no sudo.
helper_command = {bin}/privsep-helper
[ceph]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
volume_backend_name = ceph
rbd_pool = {pool}
rbd_user = {user}
rbd_keyring_conf =
rbd_ceph_conf = {ceph_conf}
rbd_secret_uuid = {secret}
rados_connect_timeout = 10
backend_stats_polling_interval = 5
"""

# What follows where Keystone says who asks.
AUTHTOKEN = """\
[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_type = password
auth_url = {auth_url}
username = {username}
password = {password}
project_name = {project_name}
user_domain_name = {user_domain_name}
project_domain_name = {project_domain_name}
"""


class Cinder:
    """One Cinder, with all its state below ``run_dir``.

    Its volumes are Ceph's, which makes a new cluster at each start: so each
    start makes a new Cinder.
    """

    def __init__(self, run_dir: pathlib.Path,
                 ceph: ceph_module.Ceph) -> None:
        self.folder = run_dir / 'cinder'
        self.api = wsgi.Service(run_dir / 'services', 'cinder-api',
                                'cinder.wsgi.api', place.cinder_python)
        self.keystone_api = wsgi.Service(
            run_dir / 'services', 'cinder-api-keystone', 'cinder.wsgi.api',
            place.cinder_python)
        self._ceph = ceph
        self._workers = {
            name: process.Daemon(f'cinder-{name}', self.folder)
            for name in ('scheduler', 'volume')}

    @property
    def endpoint(self) -> str:
        """The address for a client, with the version."""
        return f'{self.api.url}/v3'

    @property
    def running(self) -> bool:
        """Whether all services run."""
        return all(daemon.pid is not None for daemon in
                   (self.api.daemon, *self._workers.values()))

    def prepare(self, **facts: str) -> None:
        """Write the configuration and make the tables.

        :param facts: ``transport``, ``database`` and ``glance``, the URLs of
            the three
        :raises LabError: when the tables cannot be made
        """
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        place.make_dir(self.folder / 'conversion')
        config = self.write_config('cinder.conf', strategy='noauth', **facts)
        paste = (HERE / 'paste' / 'cinder-paste.ini').read_text()
        (self.folder / 'paste.ini').write_text(
            paste.replace('@IDENTITY@', IDENTITY))
        process.run([self._program('cinder-manage'), '--config-file',
                     str(config), 'db', 'sync'])

    def write_config(self, name: str, *, more: str = '',
                     **facts: str) -> pathlib.Path:
        """Write a configuration of this Cinder.

        :param more: what follows, beginning with a section
        :param facts: what CONFIG leaves open
        """
        path = self.folder / name
        venv = place.cinder_python().parents[1]
        path.write_text(CONFIG.format(
            folder=self.folder, pool=ceph_module.POOL, bin=venv / 'bin',
            etc=venv / 'etc' / 'cinder',
            user=ceph_module.CLIENT, ceph_conf=self._ceph.config_file,
            secret=SECRET_UUID, **facts) + more)
        return path

    def start(self, config_name: str = 'cinder.conf') -> None:
        """Start the services; do not wait.

        :param config_name: as it was given to :meth:`write_config`
        """
        config = self.folder / config_name
        self.api.start('--config-file', str(config))
        for name, daemon in self._workers.items():
            daemon.start([self._program(f'cinder-{name}'), '--config-file',
                          str(config)], env={'PYTHONPATH': ''})

    def wait_ready(self) -> None:
        """Wait until volumes can be made.

        :raises LabError: when a service dies or is not ready in time
        """
        self.api.wait_ready()
        for daemon in self._workers.values():
            daemon.wait_ready(self._has_space, timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End all services."""
        for service in (*self._workers.values(), self.api,
                        self.keystone_api):
            service.stop()

    def start_with_keystone(self, credentials: collections.abc.Mapping[
            str, str], **facts: str) -> None:
        """Let Cinder answer at another address too, by Keystone's word.

        Do not wait: it asks Keystone at the first request.

        :param credentials: of Cinder's own user; see ``Keystone``
        :param facts: as for :meth:`prepare`
        """
        config = self.write_config(
            'keystone.conf', strategy='keystone',
            more=AUTHTOKEN.format(**credentials), **facts)
        self.keystone_api.start('--config-file', str(config))

    @contextlib.contextmanager
    def standstill(self, *, asks: bool = True) -> collections.abc.Iterator[
            collections.abc.Callable[[], None]]:
        """Let cinder-volume stand still, as when its storage hangs.

        :param asks: wait until Cinder has counted what was deleted; not
            where Keystone says who asks
        :returns: what lets it go on; it goes on at the end anyway
        """
        daemon = self._workers['volume']

        def go_on() -> None:
            daemon.send_signal(signal.SIGCONT)

        # Not while it writes to the quota: it would keep those rows locked.
        if asks:
            process.wait_until(self._is_counted, timeout=STATUS_TIMEOUT,
                               what='the quota of snapshots that are gone')
        daemon.send_signal(signal.SIGSTOP)
        try:
            yield go_on
        finally:
            go_on()

    def call(self, method: str, path: str,
             body: dict[str, ty.Any] | None = None,
             token: str = IDENTITY) -> dict[str, ty.Any]:
        """Ask Cinder itself, not through the product.

        :param path: below ``/v3/``
        :param token: as paste/lab_identity.py reads it
        :raises urllib.error.HTTPError: when Cinder says no
        """
        request = urllib.request.Request(
            f'{self.endpoint}/{path}', method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json',
                     'X-Auth-Token': token,
                     # As Nova does: who has this role may detach a volume
                     # from a server.
                     'X-Service-Roles': 'service',
                     'OpenStack-API-Version': f'volume {MICROVERSION}'})
        with urllib.request.urlopen(request,
                                    timeout=ANSWER_TIMEOUT) as answer:
            text = answer.read()
        return dict(json.loads(text)) if text else {}

    def show(self, kind: str, thing_id: str) -> dict[str, ty.Any] | None:
        """Return a ``volume`` or a ``snapshot``; None where there is none."""
        try:
            return dict(self.call('GET', f'{kind}s/{thing_id}')[kind])
        except urllib.error.HTTPError as exc:
            if exc.code != http.HTTPStatus.NOT_FOUND:
                raise
            return None

    def snapshots(self) -> list[dict[str, ty.Any]]:
        """List all snapshots of all projects."""
        return list(self.call(
            'GET', 'snapshots/detail?all_tenants=1')['snapshots'])

    def make(self, kind: str, token: str = IDENTITY,
             **facts: ty.Any) -> str:
        """Make a ``volume`` or a ``snapshot``, wait for it, return its id.

        :raises LabError: when it is not made
        """
        made = self.call('POST', f'{kind}s', {kind: facts}, token)[kind]
        self.wait(kind, made['id'], 'available')
        return str(made['id'])

    def wait(self, kind: str, thing_id: str, status: str | None) -> None:
        """Wait until something has a status; None for being gone.

        :raises LabError: when it has not in time, or is in error
        """
        def has_it() -> bool:
            found = self.show(kind, thing_id)
            now = found and str(found['status'])
            if now and now.startswith('error') and now != status:
                raise errors.LabError(f'{kind} {thing_id} is in {now}: see '
                                      f'{self.folder}/cinder-volume.log')
            return now == status

        process.wait_until(has_it, timeout=STATUS_TIMEOUT,
                           what=f'{kind} {thing_id} {status}')

    def delete(self, kind: str, thing_id: str) -> None:
        """Delete a ``volume`` or a ``snapshot``, detached from all servers.

        :raises LabError: when it stays
        """
        found = self.show(kind, thing_id)
        if found is None:
            return
        for one in found.get('attachments', ()):
            self.call('DELETE', f'attachments/{one["attachment_id"]}')
        if found.get('attachments'):
            self.wait(kind, thing_id, 'available')
        self.call('DELETE', f'{kind}s/{thing_id}')
        self.wait(kind, thing_id, None)

    def attach(self, volume_id: str, server_id: str,
               device: str) -> dict[str, ty.Any]:
        """Attach a volume to a server, as Nova does, and say where it is."""
        made = self.call('POST', 'attachments', {'attachment': {
            'volume_uuid': volume_id, 'instance_uuid': server_id,
            'connector': {
                'host': 'lab', 'ip': '127.0.0.1', 'initiator': None,
                'platform': 'x86_64', 'os_type': 'linux',
                'multipath': False, 'do_local_attach': False,
                'mountpoint': device}}})['attachment']
        self.call('POST', f'attachments/{made["id"]}/action',
                  {'os-complete': {}})
        self.wait('volume', volume_id, 'in-use')
        return dict(made['connection_info'])

    def limit_snapshots(self, number: int, project: str = PROJECT) -> None:
        """Let a project have so many snapshots; -1 for no limit."""
        self.call('PUT', f'os-quota-sets/{project}',
                  {'quota_set': {'snapshots': number}})

    def _is_counted(self) -> bool:
        """Tell whether the quota knows of each snapshot that is gone.

        :source: cinder/volume/manager.py delete_snapshot: the quota comes
            after the snapshot
        """
        quota = self.call(
            'GET', f'os-quota-sets/{PROJECT}?usage=True')['quota_set']
        made = self.call('GET', 'snapshots/detail')['snapshots']
        return bool(quota['snapshots']['in_use'] == len(made))

    def _has_space(self) -> bool:
        services = self.call('GET', 'os-services')['services']
        if sum(one['state'] == 'up' for one in services) < len(self._workers):
            return False
        pools = self.call(
            'GET', 'scheduler-stats/get_pools?detail=true')['pools']
        return any(one['capabilities'].get('free_capacity_gb')
                   for one in pools)

    @staticmethod
    def _program(name: str) -> str:
        return str(place.cinder_python().with_name(name))
