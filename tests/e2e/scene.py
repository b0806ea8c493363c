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

"""What a case works with: the cloud, a guest, the way to Glance."""

import contextlib
import re
import threading
import typing as ty

from tests.e2e import catalog
from tests.e2e import checks
from tests.e2e import clients
from tests.e2e import cloud as cloud_module
from tests.e2e import compute
from tests.e2e import config
from tests.e2e import server as server_module
from tests.e2e import waiting
from tests.lab import errors
from tests.lab import proof
from tests.lab import proxy

# Seconds.
IMAGE_TIMEOUT = 120

# Seconds from a request to the moment that is waited for, and between two
# looks at what is soon over.
MOMENT_TIMEOUT = 60
MOMENT_POLL = 0.005

# Bytes per second: to write and to send the image takes four seconds each,
# and its progress is looked at every two.
# Upstream's driver does not know the option and goes as fast as it can.
SLOWLY = 6 << 20

# What a guest of the scene says when it boots.
BOOTED = re.compile(r'^GUEST boot ', re.MULTILINE)


class Taken(ty.NamedTuple):
    """An image, and what the guest had reported before and after it."""

    image: ty.Any
    before: int
    after: int


class _Proxy(proxy.Proxy):
    """A proxy to whom it is no news that a client dies in a request."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._server.handle_error = lambda *_: None


class Scene:
    """What the cases share, one after the other."""

    def __init__(self, cloud: cloud_module.Cloud) -> None:
        self.cloud = cloud
        self.api = cloud.customer
        self.between = _Proxy(cloud.layout.url('glance'))
        self._server: server_module.Server | None = None
        self._is_in_ceph = False

    def close(self) -> None:
        """End the proxy."""
        self.between.stop()

    def slowly(self) -> compute.Options:
        """Return the options for cases that have to be in time."""
        return {'glance': {'endpoint_override': self.between.endpoint},
                'nova_snap': {'bandwidth': SLOWLY}}

    def in_ceph(self, **own: ty.Any) -> compute.Options:
        """Return the options for root disks in Ceph, and images there.

        :param own: options of our own
        """
        self.cloud.need_images_in_ceph()
        return self._counted(config.disks_in_ceph(), own)

    def into_ceph(self, **own: ty.Any) -> compute.Options:
        """Return the options for images in Ceph, of disks that are files."""
        self.cloud.need_images_in_ceph()
        # Glance tells their pool to the service user, and to no customer.
        return self._counted(config.ceph_client(),
                             {**own, 'deliver': 'rbd'})

    def _counted(self, sections: config.Sections,
                 own: dict[str, ty.Any]) -> compute.Options:
        """Let what Glance is asked be seen."""
        return {**sections, 'nova_snap': own,
                'glance': {'endpoint_override': self.between.endpoint}}

    @property
    def has_disks_in_ceph(self) -> bool:
        """Whether the servers that nova-compute boots now are in Ceph."""
        return self.cloud.compute.options.get('libvirt', {}).get(
            'images_type') == 'rbd'

    @property
    def image_format(self) -> str:
        """Of the images that nova-compute makes now, unless one is named."""
        own = self.cloud.compute.options.get('nova_snap', {})
        return ('raw' if self.has_disks_in_ceph
                or own.get('deliver') == 'rbd' else 'qcow2')

    def boot(self, name: str) -> server_module.Server:
        """Boot a server whose root disk is where nova.conf has it."""
        image = (catalog.CEPH_IMAGE if self.has_disks_in_ceph
                 else catalog.IMAGE)
        return server_module.Server.boot(
            self.cloud, name, self.api.image.find_image(image).id)

    def server(self) -> server_module.Server:
        """Return a guest that is active and writes; a new one if need be."""
        if self._server is not None:
            try:
                checks.expect(self._is_in_ceph == self.has_disks_in_ceph,
                              'its disk is not where nova.conf has it')
                self._server.wait_status('ACTIVE', timeout=0)
                checks.is_whole(self._server, None)
            except Exception:
                self._server.delete()
                self._server = None
        if self._server is None:
            self._server = self.boot('e2e')
            self._is_in_ceph = self.has_disks_in_ceph
        return self._server

    def tidy_up(self) -> None:
        """Leave nothing of a case to the next one, however it ended."""
        self.between.clear()
        checks.remove_snapshot_files(self.cloud)
        keep = self._server.id if self._server is not None else None
        for found in self.api.compute.servers(details=False):
            if found.id != keep:
                server_module.Server(self.cloud, found.id).delete()
        for image in self.api.image.images():
            if image.visibility != 'public':
                self.api.image.delete_image(image)

    # Taking snapshots.

    def run(self, program: str, *arguments: str) -> str:
        """Run ``nova`` or ``openstack`` as the customer."""
        return clients.run(self.cloud.layout, program, *arguments)

    def wait_image(self, name: str) -> ty.Any:
        """Wait until there is an active image of a name.

        :raises LabError: when there is none in time
        """
        def active() -> ty.Any:
            return next(iter(self.api.image.images(name=name,
                                                   status='active')), None)

        return waiting.wait_until(active, timeout=IMAGE_TIMEOUT,
                                  what=f'image {name} active')

    def image_names(self) -> list[str]:
        """Name the customer's own images, whatever their status."""
        return sorted(image.name for image in self.api.image.images()
                      if image.visibility != 'public')

    def take(self, server: server_module.Server, name: str,
             status: str = 'ACTIVE') -> Taken:
        """Have ``nova image-create`` take a snapshot.

        :param status: that the server has before and afterwards
        """
        before = server.last_record()
        self.run('nova', 'image-create', server.id, name)
        image = self.wait_image(name)
        server.wait_status(status)
        return Taken(image, before, server.last_record())

    def prove(self, taken: Taken, fmt: str | None = None) -> None:
        """Prove that an image is the disk at one instant, and boots.

        :param fmt: that it has to have; by default what nova.conf leads to
        :raises ProofFailed: saying what is wrong
        """
        fmt = fmt or self.image_format
        image = self.api.image.get_image(taken.image.id)
        checks.expect(image.disk_format == fmt,
                      f'the image is {image.disk_format}, not {fmt}')
        checks.stored_image_is_sound(self.cloud, image.id, fmt)
        copy = server_module.Server.boot(
            self.cloud, f'from-{image.name}', image.id
        )
        found = copy.found()
        wrong = [name for name, right in (
            ('mounts', found.mounted), ('has no errors', not found.errors),
            ('has its files', found.data_ok),
            ('has its records', found.records_ok)) if not right]
        checks.expect(not wrong, f'no copy that {", ".join(wrong)}: {found}')
        proof.check_instant(found.records - 1, reported_before=taken.before,
                            reported_after=taken.after)
        copy.delete()


@contextlib.contextmanager
def watching(look: ty.Callable[[], object],
             act: ty.Callable[[], object], *,
             timeout: float, what: str) -> ty.Iterator[None]:
    """Act at the moment when there is something to see.

    :param timeout: seconds from the end of the ``with`` block on
    :raises LabError: when there was nothing to see, or the act failed
    """
    stop = threading.Event()
    acted = threading.Event()
    failed: list[BaseException] = []

    def watch() -> None:
        try:
            while not look():
                if stop.wait(MOMENT_POLL):
                    return
            act()
            acted.set()
        except BaseException as exc:
            failed.append(exc)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        thread.join(timeout)
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
    if not acted.is_set():
        raise errors.LabError(f'{what} was never seen')
