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

"""A real Glance: glance-api 33, SQLite, no keystone.

Its images are files, or lie in Ceph.
"""

import collections.abc
import contextlib
import http
import json
import pathlib
import sqlite3
import time
import typing as ty
import urllib.error
import urllib.request
import uuid

from nova_snap import units
from tests.lab import ceph as ceph_module
from tests.lab import errors
from tests.lab import place
from tests.lab import process
from tests.lab import wsgi

# Seconds for one request, and for the hashing of an image that is deleted to
# end.
REQUEST_TIMEOUT = 60
DELETE_TIMEOUT = 60

# Who asks when a request has no token; see paste/lab_identity.py. An admin
# may set ``owner``; role service may register locations.
IDENTITY = ('6e4bc8939961407f83b1852b82e1f5e1:'
            'c7e3e11fa81048d9865ef08026b4db9c:admin,member,reader,service')

# Bytes a project may store: never reached but by Glance.use_up_quota.
QUOTA = 1024 * units.GiB

HERE = pathlib.Path(__file__).resolve().parent

CONFIG = """\
[DEFAULT]
debug = true
log_file = {folder}/glance-api.log
use_stderr = false
enabled_backends = {backends}
show_multiple_locations = true
show_image_direct_url = true
node_staging_uri = file://{folder}/staging
worker_self_reference_url = {endpoint}
user_storage_quota = {quota}B
[glance_store]
default_backend = {default}
[file]
filesystem_store_datadir = {folder}/images
{more}
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = sqlite:///{folder}/glance.sqlite
[paste_deploy]
config_file = {folder}/paste.ini
[oslo_concurrency]
# Not the parent of a folder called tasks: glance_store would lock there and
# its hashing task die.
lock_path = {folder}/lock
[oslo_messaging_notifications]
driver = noop
"""

# The store whose images lie in Ceph. The timeout is for a cluster that is
# down: without one Glance waits for ever.
CEPH_STORE = """\
[ceph]
rbd_store_pool = {pool}
rbd_store_user = {user}
rbd_store_ceph_conf = {config_file}
rados_connect_timeout = 20
"""


class Glance:
    """One glance-api, with all its state below ``run_dir``.

    Start it once for a whole run of tests: loading takes seconds.

    :cvar name: of its folder and its service
    :ivar endpoint: the address for a client, without a version
    """

    name = 'glance'

    def __init__(self, run_dir: pathlib.Path | str) -> None:
        """Name the place; nothing is started yet."""
        self.folder = pathlib.Path(run_dir) / self.name
        self._service = wsgi.Service(
            pathlib.Path(run_dir) / 'services', self.name, 'glance.wsgi.api',
            place.services_python)
        self.endpoint = self._service.url

    def ask(self, path: str, method: str = 'GET',
            body: ty.Mapping[str, ty.Any] | None = None) -> bytes:
        """Ask it something, not through the product.

        :param path: below the version
        """
        request = urllib.request.Request(
            f'{self.endpoint}/v2/{path}', method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json'})
        with urllib.request.urlopen(request,
                                    timeout=REQUEST_TIMEOUT) as answer:
            return bytes(answer.read())

    def delete_image(self, image_id: str) -> None:
        """Delete an image as a tenant does, who may have to try again.

        Glance answers 500 in the moment in which it ends to hash an image
        whose data it was given by location.

        :raises LabError: when it answers so for too long
        :source: glance/api/v2/images.py delete,
            glance/task_cancellation_tracker.py cancel_operation
        """
        def is_deleted() -> bool:
            try:
                self.ask(f'images/{image_id}', 'DELETE')
            except urllib.error.HTTPError as exc:
                if exc.code != http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return False
            return True

        process.wait_until(is_deleted, timeout=DELETE_TIMEOUT,
                           what=f'Glance to delete image {image_id}')

    @classmethod
    def attach(cls, run_dir: pathlib.Path | str) -> 'Glance':
        """Find the Glance that another process started in ``run_dir``.

        :raises LabError: when none runs there
        """
        found = cls(run_dir)
        if not found.running:
            raise errors.LabError(f'no Glance of the lab runs in {run_dir}')
        return found

    @property
    def running(self) -> bool:
        """Whether the service runs."""
        return self._service.running

    def start(self, *, wait: bool = True) -> 'Glance':
        """Start the service, unless it runs.

        :param wait: False to do something else first; call
            :meth:`wait_ready` then
        :raises LabError: when it does not start; its log says why
        """
        if not self.running:
            self._prepare()
            self._service.start(
                env={'OS_GLANCE_CONFIG_DIR': str(self.folder)})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait until Glance answers.

        :raises LabError: when it dies or is not ready in time
        """
        self._service.wait_ready()

    def stop(self) -> None:
        """End the service; images and database stay on disk."""
        self._service.stop()

    def kill_worker(self) -> None:
        """Kill what works on the requests; another one takes its place."""
        self._service.kill_worker()

    def data_files(self) -> list[pathlib.Path]:
        """List the files in the store, one for each image with data."""
        return sorted((self.folder / 'images').iterdir())

    @contextlib.contextmanager
    def use_up_quota(self, project: str,
                     left: int) -> collections.abc.Iterator[None]:
        """Leave a project ``left`` bytes of its quota.

        Glance then answers 413 by itself, in the middle of an upload. Done
        by the record of an image without data in its database: to upload a
        terabyte would take longer.
        """
        image_id = str(uuid.uuid4())
        size = QUOTA - left - self._used(project)
        now = time.strftime('%Y-%m-%d %H:%M:%S')
        self._sql(
            ('INSERT INTO images (id, name, size, status, visibility, owner,'
             ' min_disk, min_ram, protected, os_hidden, deleted, created_at,'
             " updated_at) VALUES (?, 'quota', ?, 'active', 'private', ?,"
             ' 0, 0, 0, 0, 0, ?, ?)',
             (image_id, size, project, now, now)),
            ('INSERT INTO image_locations (image_id, value, meta_data,'
             ' status, deleted, created_at) VALUES'
             " (?, 'file:///nowhere', '{}', 'active', 0, ?)",
             (image_id, now)))
        try:
            yield
        finally:
            self._sql(
                ('DELETE FROM image_locations WHERE image_id = ?',
                 (image_id,)),
                ('DELETE FROM images WHERE id = ?', (image_id,)))

    def _used(self, project: str) -> int:
        database = sqlite3.connect(self.folder / 'glance.sqlite')
        with contextlib.closing(database):
            (used,) = database.execute(
                'SELECT COALESCE(SUM(size), 0) FROM images WHERE owner = ?'
                " AND status NOT IN ('killed', 'deleted', 'pending_delete')",
                (project,)).fetchone()
        return int(used)

    def _sql(self, *statements: tuple[str, tuple[ty.Any, ...]]) -> None:
        database = sqlite3.connect(self.folder / 'glance.sqlite')
        with contextlib.closing(database), database:
            for statement, values in statements:
                database.execute(statement, values)

    def _prepare(self) -> None:
        place.make_dir(self.folder)
        for name in ('images', 'staging', 'tasks', 'lock'):
            place.make_dir(self.folder / name)
        (self.folder / 'glance-api.conf').write_text(CONFIG.format(
            folder=self.folder, endpoint=self.endpoint, quota=QUOTA,
            **self._stores()))
        paste = (HERE / 'paste' / 'glance-paste.ini').read_text()
        (self.folder / 'paste.ini').write_text(
            paste.replace('@IDENTITY@', IDENTITY))
        if not (self.folder / 'glance.sqlite').exists():
            self._make_database()

    def _stores(self) -> dict[str, str]:
        """Return what its configuration says of stores."""
        return {'backends': 'file:file', 'default': 'file', 'more': ''}

    def _make_database(self) -> None:
        python = place.services_python()
        process.run([str(python.with_name('glance-manage')),
                     '--config-file', str(self.folder / 'glance-api.conf'),
                     'db_sync'])


class CephGlance(Glance):
    """A Glance whose images lie in Ceph; another store of it has files.

    Its virtual environment needs Ceph's bindings:
    :meth:`tests.stages.ground.Ground.with_ceph` puts them there.
    """

    name = 'glance-ceph'

    def __init__(self, run_dir: pathlib.Path | str,
                 ceph: ceph_module.Ceph) -> None:
        """Name the place; nothing is started yet."""
        super().__init__(run_dir)
        self._ceph = ceph

    def _stores(self) -> dict[str, str]:
        return {'backends': 'ceph:rbd, file:file', 'default': 'ceph',
                'more': CEPH_STORE.format(
                    pool=ceph_module.IMAGES, user=ceph_module.GLANCE,
                    config_file=self._ceph.config_file)}
