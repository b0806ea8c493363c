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

"""Decide whether a guest is taken live by a backup job."""

import os

from nova_snap.model import layer as layer_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import settings as settings_model

# The values of [nova_snap]live_method that ask for it.
METHODS = ('backup', 'auto')
# The first release whose backups need no switch that a vendor has to set.
# :source: libvirt news, v7.2.0 (full backups)
MIN_LIBVIRT = (7, 2, 0)
TYPES = ('kvm', 'qemu')
# The directory in a scratch directory where QEMU makes its files, and the
# socket in it.
DIRECTORY = 'qemu'
SOCKET = 'nbd'
# Bytes of the path of a socket, with its end.
# :source: unix(7), sun_path
LONGEST_SOCKET = 108
# Of a scratch directory's name, which has the id of its record in it.
SCRATCH_NAME = 'nova_snap-00000000-0000-0000-0000-000000000000'


def is_wanted(settings: settings_model.Settings) -> bool:
    """Tell whether running guests are to be taken by a backup job."""
    return settings.live_method in METHODS


def why_not(settings: settings_model.Settings, facts: plan_model.Facts,
            disks: tuple[plan_model.PlannedDisk, ...]) -> str | None:
    """Say why a guest cannot be taken by a backup job, if it cannot."""
    for disk in disks:
        if disk.active_layer.storage not in (layer_model.Storage.FILE,
                                             layer_model.Storage.BLOCK):
            return f'its disk {disk.target_dev} is not on this host'
    return why_not_here(settings, facts.domain.type, facts.libvirt_version)


def why_not_here(settings: settings_model.Settings, domain_type: str,
                 libvirt_version: tuple[int, int, int]) -> str | None:
    """Say why no guest of this kind can be on this host, whatever its disks.

    :param domain_type: as the XML has it
    """
    if domain_type not in TYPES:
        return f'it is a guest of {domain_type}, not of QEMU'
    if libvirt_version < MIN_LIBVIRT:
        return (f'libvirt {_dotted(libvirt_version)} has no backup jobs; '
                f'{_dotted(MIN_LIBVIRT)} has')
    path = os.path.join(settings.snapshots_directory, SCRATCH_NAME,
                        DIRECTORY, SOCKET)
    if len(os.fsencode(path)) >= LONGEST_SOCKET:
        return (f'a socket in {settings.snapshots_directory} would have a '
                'path that is too long; put snapshots_directory elsewhere')
    return None


def _dotted(version: tuple[int, int, int]) -> str:
    return '.'.join(map(str, version))
