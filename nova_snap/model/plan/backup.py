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
# The first release that lets a client of such a disk go in its main thread.
# One before it ends the guest's QEMU there, if it has the fix of
# CVE-2024-7409, as 7.2.22 has: "Assertion `qemu_in_main_thread() &&
# nbd_server' failed".
# :source: QEMU blockdev-nbd.c nbd_blockdev_client_closed; commits 3e7ef738c8
#     and f816310d0c
MIN_QEMU_FOR_IOTHREADS = (9, 0, 0)
# The directory in a scratch directory where QEMU makes its files, and the
# socket in it.
DIRECTORY = 'qemu'
SOCKET = 'nbd'
# Of a scratch directory's name, which has the id of its record in it.
SCRATCH_NAME = 'nova_snap-00000000-0000-0000-0000-000000000000'


def is_wanted(settings: settings_model.Settings) -> bool:
    """Tell whether running guests are to be taken by a backup job."""
    return settings.live_method in METHODS


def slows_the_guest(facts: plan_model.Facts) -> bool:
    """Tell whether a guest would wait for a network at each first write.

    Old data are kept before a write is done. The writes of a guest were seen
    to become as slow as the storage of its scratch files.
    """
    return bool(facts.network_file_system)


def remarks(facts: plan_model.Facts,
            method: plan_model.Method) -> tuple[str, ...]:
    """Say what a backup job would do to this guest."""
    if method != plan_model.Method.BACKUP or not slows_the_guest(facts):
        return ()
    return ('snapshots_directory is on a network file system '
            f'({facts.network_file_system}): while the disk is read, what '
            'the guest overwrites is written there first, and the guest '
            'waits for it',)


def why_not(settings: settings_model.Settings, facts: plan_model.Facts,
            disks: tuple[plan_model.PlannedDisk, ...]) -> str | None:
    """Say why a guest cannot be taken by a backup job, if it cannot."""
    for disk in disks:
        if not disk.active_layer.storage.is_read:
            return f'its disk {disk.target_dev} is not on this host'
    for found in facts.disks:
        if (found.disk.has_iothread
                and facts.qemu_version < MIN_QEMU_FOR_IOTHREADS):
            return (f'QEMU {_dotted(facts.qemu_version)} may crash with the '
                    'guest when a disk with an iothread '
                    f'({found.disk.target_dev}) has been read; '
                    f'{_dotted(MIN_QEMU_FOR_IOTHREADS)} does not')
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
    if len(os.fsencode(path)) >= layer_model.LONGEST_SOCKET:
        return (f'a socket in {settings.snapshots_directory} would have a '
                'path that is too long; put snapshots_directory elsewhere')
    return None


def _dotted(version: tuple[int, int, int]) -> str:
    return '.'.join(map(str, version))
