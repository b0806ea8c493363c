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


"""The lab that the benchmark runs on: libvirt, QEMU, Glance, and guests."""

import collections.abc as cabc
import contextlib
import json
import pathlib
import shutil
import typing as ty
import uuid as uuid_module

from bench import shapes
from tests.lab import ceph as ceph_module
from tests.lab import errors
from tests.lab import glance as glance_module
from tests.lab.guest import build as guest_build
from tests.lab.guest import domain as guest_domain
from tests.lab import hypervisor
from tests.lab import place
from tests.lab import proof

# Below the lab's folder.
RUN = 'bench'

# How all names of guests begin.
PREFIX = 'bench-'

CONFIG = """\
[DEFAULT]
state_path = {state}
instances_path = {instances}

[libvirt]
virt_type = qemu
connection_uri = {uri}

[nova_snap]
auth_type = none
endpoint = {endpoint}
live_method = {method}
upload = {upload}
deliver = {deliver}
incremental = {incremental}
"""

# Of a Glance whose images lie in Ceph.
CEPH_CONFIG = """\
rbd_glance_pool = {pool}

[libvirt]
rbd_user = {user}
images_rbd_ceph_conf = {conf}
"""

PROPERTIES = {'hw_qemu_guest_agent': 'yes'}


class Scene:
    """All that runs, and where.

    :ivar folder: for what the benchmark writes
    :ivar snapshots: where upstream's path writes
    :ivar ceph: where Glance's images lie; None where they are files
    """

    def __init__(self, *, in_ceph: bool = False) -> None:
        """Start what does not run yet.

        :raises LabError: when something does not start
        """
        self.run_dir = place.lab_dir() / RUN
        self.ceph = ceph_module.Ceph(self.run_dir) if in_ceph else None
        self.glance = glance_module.Glance(self.run_dir)
        if self.ceph is not None:
            self.ceph.start()
            self.ceph.wait_ready()
            self.glance = glance_module.CephGlance(self.run_dir, self.ceph)
        self.glance.start(wait=False)
        guest_build.parts()
        self.libvirtd = hypervisor.Libvirtd(self.run_dir).start()
        self.glance.wait_ready()
        self.folder = place.make_dir(self.run_dir / 'work')
        self.instances = place.make_dir(self.run_dir / 'instances')
        self.snapshots = place.make_dir(self.instances / 'snapshots')
        self._remove_earlier()

    def config(self, name: str, method: str, upload: str,
               deliver: str, incremental: str) -> pathlib.Path:
        """Write a nova.conf and return its path."""
        state = place.make_dir(self.folder / 'state')
        path = self.folder / f'{name}.conf'
        path.write_text(CONFIG.format(
            state=state, instances=self.instances, uri=self.libvirtd.uri,
            endpoint=self.glance.endpoint, method=method, upload=upload,
            deliver=deliver, incremental=incremental) + self._ceph_config())
        return path

    def _ceph_config(self) -> str:
        return '' if self.ceph is None else CEPH_CONFIG.format(
            pool=ceph_module.IMAGES, user=ceph_module.CLIENT,
            conf=self.ceph.config_file)

    @contextlib.contextmanager
    def guest(self, shape: shapes.Shape
              ) -> cabc.Iterator[guest_domain.Guest]:
        """Boot a guest for the length of a block."""
        uuid = str(uuid_module.uuid4())
        folder = place.make_dir(self.instances / uuid)
        disk = shapes.make(shape, self.folder / 'bases', folder)
        guest = guest_domain.Guest(self.libvirtd, guest_domain.Spec(
            name=f'{PREFIX}{uuid[:8]}', uuid=uuid, disk=disk,
            console=folder / 'console.log', agent='run',
            nova=guest_domain.NovaMetadata(image_properties=PROPERTIES),
            load=shape.load.words))
        try:
            guest.boot()
            yield guest
        finally:
            guest.remove()

    def make_record(self) -> str:
        """Make an image without data, and return its id."""
        image = self._ask('POST', '', {
            'name': 'bench', 'disk_format': 'qcow2',
            'container_format': 'bare'})
        return str(image['id'])

    def image_size(self, image_id: str) -> int:
        """Return the size of an active image, which is sound.

        :raises LabError: when it is not active
        :raises ProofFailed: when its metadata are not whole
        """
        image = self._ask('GET', f'/{image_id}')
        if image['status'] != 'active':
            raise errors.LabError(f'image {image_id} is {image["status"]}')
        if self.ceph is None:
            proof.assert_sound(self.glance.folder / 'images' / image_id,
                               str(image['disk_format']))
        return int(image['size'])

    def delete_image(self, image_id: str) -> None:
        """Delete an image with its data."""
        self.glance.delete_image(image_id)

    def delete_images(self) -> None:
        """Delete all images; a benchmark that was killed leaves one."""
        for image in self._ask('GET', '?limit=1000')['images']:
            self.delete_image(image['id'])

    def stop(self) -> None:
        """End all that runs, and remove what guests have left."""
        stop(self.run_dir)

    def _ask(self, method: str, path: str,
             body: ty.Mapping[str, ty.Any] | None = None
             ) -> dict[str, ty.Any]:
        found: dict[str, ty.Any] = json.loads(
            self.glance.ask(f'images{path}', method, body))
        return found

    def _remove_earlier(self) -> None:
        """Remove what an interrupted benchmark left."""
        with self.libvirtd.connection() as conn:
            for domain in conn.listAllDomains():
                if domain.isActive():
                    domain.destroy()
                if domain.isPersistent():
                    domain.undefineFlags(guest_domain.UNDEFINE)
        for path in (*self.instances.iterdir(), self.folder / 'state'):
            shutil.rmtree(path, ignore_errors=True)
        place.make_dir(self.snapshots)
        self.delete_images()


def stop(run_dir: pathlib.Path) -> None:
    """End all that runs in a folder; the bases stay for the next time."""
    hypervisor.Libvirtd(run_dir).stop()
    ceph = ceph_module.Ceph(run_dir)
    for service in (glance_module.Glance(run_dir),
                    glance_module.CephGlance(run_dir, ceph), ceph):
        service.stop()
    for name in ('instances', 'work/state'):
        shutil.rmtree(run_dir / name, ignore_errors=True)
