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

"""What a case has: a guest, the command, and a look at all that matters."""

import json
import pathlib
import shutil
import subprocess
import sys
import typing as ty
import urllib.request

import libvirt

from tests.lab import errors
from tests.lab import proof
from tests.vfio import devices as devices_module
from tests.vfio import inner

URI = 'qemu:///system'
# Seconds for the guest to release a device; it needs one.
DETACH_TIMEOUT = 20
# The command's limit, emulated.
COMMAND_TIMEOUT = 300

CONFIG = """\
[DEFAULT]
state_path = {folder}
instances_path = {instances}

[libvirt]
virt_type = qemu
connection_uri = {uri}

[nova_snap]
auth_type = none
endpoint = {glance}
detach_timeout = {detach_timeout}
"""


class Scene:
    """One case's world.

    :ivar guest: once it is booted
    """

    guest: inner.Guest

    def __init__(self, conn: libvirt.virConnect,
                 devices: devices_module.Devices, folder: pathlib.Path,
                 logs: pathlib.Path, glance: str) -> None:
        self.devices = devices
        self._conn = conn
        self._instances = folder / 'instances'
        self._log = logs / 'nova-snap.log'
        self._console = logs / 'guest.log'
        self._glance = glance
        self._records = folder / 'nova_snap' / 'records'
        self._download = folder / 'image'
        self._config = folder / 'nova.conf'
        self._config.write_text(CONFIG.format(
            folder=folder, instances=self._instances, uri=URI,
            glance=glance, detach_timeout=DETACH_TIMEOUT))

    def boot(self, *, keeps: int | None = None) -> None:
        """Boot a guest with all its devices, and see that they work."""
        self.guest = inner.Guest(self._conn, self._instances, self._console,
                                 keeps=keeps)
        self.guest.boot(self.devices)

    def tidy_up(self) -> None:
        """Remove the guest, and see that the machine gets its devices back.

        :raises LabError: when it does not
        """
        self._download.unlink(missing_ok=True)
        if 'guest' not in vars(self):
            return
        self.guest.remove()
        self.devices.put_back()
        drivers = self.devices.drivers()
        expected = dict.fromkeys(self.devices.ports,
                                 devices_module.PORT_DRIVER)
        expected[self.devices.nvme] = devices_module.NVME_DRIVER
        if drivers != expected:
            raise errors.LabError(f'the drivers of the machine: {drivers}')

    def look(self) -> dict[str, ty.Any]:
        """Return what a snapshot must leave as it was."""
        domain = self.guest.domain
        live = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
        return {
            'state': domain.state()[0],
            'definition': domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
            'devices': devices_module.in_domain(live),
            'drivers': self.devices.drivers(),
            'MAC and VLAN': self.devices.settings(),
            'saved': domain.hasManagedSaveImage(),
            'records': self.records()}

    def command(self, *words: str, killed_before: tuple[str, int] |
                None = None) -> subprocess.CompletedProcess[str]:
        """Run nova-snap to its end, whatever that is.

        :param killed_before: a call to libvirt, and which one of its kind
        """
        program = ['nova_snap.cmd.main']
        if killed_before is not None:
            program = ['tests.vfio.killed', *map(str, killed_before)]
        argv = [sys.executable, '-m', *program, '--config-file',
                str(self._config), *words]
        done = subprocess.run(argv, text=True, capture_output=True,
                              timeout=COMMAND_TIMEOUT)
        with self._log.open('a') as log:
            log.write(f'$ {" ".join(argv)}\n{done.stdout}{done.stderr}'
                      f'ended with {done.returncode}\n\n')
        return done

    def snapshot(self, **how: ty.Any) -> subprocess.CompletedProcess[str]:
        """Run ``nova-snap image-create --cold``."""
        return self.command('--verbose', 'image-create', '--cold', '--json',
                            inner.NAME, 'snapshot', **how)

    def records(self) -> list[str]:
        """Return the names of the records that are left.

        Looked up as files: to start the command takes long here.
        """
        return sorted(path.name for path in self._records.glob('*'))

    def images(self) -> list[dict[str, ty.Any]]:
        """Return what Glance has of this guest."""
        with urllib.request.urlopen(f'{self._glance}/v2/images') as answer:
            images = json.load(answer)['images']
        return [image for image in images
                if image.get('instance_uuid') == self.guest.uuid]

    def assert_image(self, image_id: str) -> None:
        """Assert that an image is the guest's disk, and stands alone.

        :raises LabError: when Glance has not all of it
        :raises ProofFailed: when it is not
        """
        (image,) = (image for image in self.images()
                    if image['id'] == image_id)
        if image['status'] != 'active':
            raise errors.LabError(f'Glance has {image}')
        url = f'{self._glance}/v2/images/{image_id}/file'
        with urllib.request.urlopen(url) as data, self._download.open(
                'wb') as file:
            shutil.copyfileobj(data, file)
        fmt = image['disk_format']
        proof.assert_sound(self._download, fmt)
        proof.assert_same_content(self._download, fmt, self.guest.base, 'raw')
