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

"""A server that Nova booted: what Nova, libvirt and the guest say of it."""

import contextlib
import pathlib
import re
import typing as ty

import libvirt
from openstack import exceptions

from tests.e2e import catalog
from tests.e2e import cloud as cloud_module
from tests.e2e import waiting
from tests.lab import errors
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain

# Seconds.
STATUS_TIMEOUT = 120
BOOT_TIMEOUT = 120
WRITING_TIMEOUT = 30
# Cinder fetches an image and writes it into a volume.
VOLUME_TIMEOUT = 300

# GiB: the least that Cinder makes.
VOLUME_GIB = 1

# A word of the guest, once its recorder knows what it found.
RECORDS = re.compile(r'^GUEST records (\d+) (ok|bad)', re.MULTILINE)


class Server:
    """One server of the customer.

    :ivar id: Nova's, which is libvirt's UUID of the domain
    """

    def __init__(self, cloud: cloud_module.Cloud, server_id: str) -> None:
        self.cloud = cloud
        self.api = cloud.customer
        self.id = server_id

    @classmethod
    def boot(cls, cloud: cloud_module.Cloud, name: str,
             image_id: str | None = None) -> 'Server':
        """Create a server without network and wait until it writes.

        :param image_id: the cloud's own image when None
        :raises LabError: when it does not get so far
        """
        api = cloud.customer
        image_id = image_id or api.image.find_image(catalog.IMAGE).id
        made = api.compute.create_server(
            name=name, image_id=image_id, networks='none',
            flavor_id=api.compute.find_flavor(catalog.FLAVOR).id)
        return cls._started(cloud, made.id)

    @classmethod
    def boot_from_volumes(
        cls, cloud: cloud_module.Cloud, name: str
    ) -> 'Server':
        """Create a server whose two disks are volumes, with an agent.

        :raises LabError: when it does not get so far
        """
        api = cloud.customer
        size = {'volume_size': VOLUME_GIB, 'destination_type': 'volume',
                'delete_on_termination': False}
        made = api.compute.create_server(
            name=name, networks='none',
            flavor_id=api.compute.find_flavor(catalog.FLAVOR).id,
            block_device_mapping_v2=[
                {'boot_index': 0, 'source_type': 'image', **size,
                 'uuid': api.image.find_image(catalog.VOLUME_IMAGE).id},
                # As one that is attached later: no boot_index.
                {'source_type': 'blank', **size}])
        return cls._started(cloud, made.id)

    @classmethod
    def _started(cls, cloud: cloud_module.Cloud, server_id: str) -> 'Server':
        server = cls(cloud, server_id)
        server.wait_status('ACTIVE', VOLUME_TIMEOUT)
        server.wait_writing()
        return server

    def details(self) -> ty.Any:
        """Return what ``nova show`` shows."""
        return self.api.compute.get_server(self.id)

    def wait_status(self, status: str,
                    timeout: float = STATUS_TIMEOUT) -> None:
        """Wait until a server has a status, and no task.

        :raises LabError: when it has not in time, or ends in an error
        """
        def has_it() -> bool:
            now = self.details()
            if now.status == 'ERROR' and status != 'ERROR':
                raise errors.LabError(f'{now.name} is in error: {now.fault}')
            return now.status == status and now.task_state is None

        waiting.wait_until(has_it, timeout=timeout,
                           what=f'server {self.id} {status}')

    def change(self, action: str, status: str) -> None:
        """Have Nova do something to a server, as ``suspend``, and wait."""
        getattr(self.api.compute, f'{action}_server')(self.id)
        self.wait_status(status)

    def resize(self, flavor: str, status: str) -> None:
        """Have Nova give a server another flavor, and confirm it.

        :param status: that it has before and afterwards
        """
        compute = self.api.compute
        compute.resize_server(self.id, compute.find_flavor(flavor).id)
        self.wait_status('VERIFY_RESIZE')
        compute.confirm_server_resize(self.id)
        self.wait_status(status)

    def delete(self) -> None:
        """Delete the server and wait until it is gone."""
        with contextlib.suppress(exceptions.NotFoundException):
            self.api.compute.delete_server(self.id)

        def is_gone() -> bool:
            try:
                self.details()
            except exceptions.NotFoundException:
                return True
            return False

        waiting.wait_until(is_gone, timeout=STATUS_TIMEOUT,
                           what=f'end of server {self.id}')

    # What the guest says.

    @property
    def console_file(self) -> pathlib.Path:
        """Where QEMU writes it; emptied at each start of QEMU."""
        return self.cloud.layout.instances / self.id / 'console.log'

    def console(self) -> str:
        """Return what the guest has said since QEMU was started."""
        try:
            return self.console_file.read_bytes().decode(errors='replace')
        except FileNotFoundError:
            return ''

    def last_record(self) -> int:
        """Return the last record that the guest reported; -1 for none."""
        return guest_domain.last_reported(self.console_file)

    def wait_writing(self, after: int | None = None) -> None:
        """Wait until the guest reports new records.

        :param after: a record; what is reported by now when None
        :raises LabError: when it does not; its console is in the message
        """
        last = self.last_record() if after is None else after
        try:
            waiting.wait_until(
                lambda: self.last_record() > last, poll=0.1,
                timeout=BOOT_TIMEOUT if last < 0 else WRITING_TIMEOUT,
                what=f'server {self.id} writes after record {last}')
        except errors.LabError as exc:
            raise errors.LabError(f'{exc}: {self.console()[-500:]}') from exc

    def found(self) -> guest_copy.Found:
        """Return what the guest found on its disk when it booted."""
        waiting.wait_until(lambda: RECORDS.search(self.console()), poll=0.1,
                           timeout=BOOT_TIMEOUT,
                           what=f'server {self.id} counts its records')
        return guest_copy.parse(self.console())

    # What libvirt says.

    @contextlib.contextmanager
    def domain(self) -> ty.Iterator[libvirt.virDomain]:
        """Look up the domain, for the length of a ``with`` block.

        :raises libvirt.libvirtError: when libvirt does not know it
        """
        with self.cloud.libvirtd.connection() as conn:
            yield conn.lookupByUUIDString(self.id)

    def is_mirrored(self) -> bool:
        """Tell whether libvirt copies the root disk."""
        # It may be undefined and defined again at any moment.
        with contextlib.suppress(libvirt.libvirtError), \
                self.domain() as domain:
            return bool(domain.blockJobInfo('vda'))
        return False

    def qemu_pid(self) -> int | None:
        """Return the pid of the guest's QEMU; None when it has none."""
        with self.domain() as domain:
            if not domain.isActive():
                return None
            return self.cloud.libvirtd.qemu_pid(domain.name())
