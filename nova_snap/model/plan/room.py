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

"""Decide whether there is room for a snapshot, or refuse it."""

import collections.abc as cabc

from nova_snap import errors
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import settings as settings_model
from nova_snap import units

QCOW2_CLUSTER = 64 * units.KiB
# Per cluster an L2 entry of 8 bytes and a refcount of 2; what is left of the
# 16 counted here covers the L1 table and the refcount table.
QCOW2_BYTES_PER_CLUSTER = 16
# Header, first refcount block, rounding of every table to whole clusters.
QCOW2_FIXED = 1 * units.MiB


def qcow2_metadata(virtual_size: int) -> int:
    """Return the most that qcow2's own tables take for a disk this large.

    :source: QEMU docs/interop/qcow2.txt
    """
    clusters = -(-virtual_size // QCOW2_CLUSTER)
    return clusters * QCOW2_BYTES_PER_CLUSTER + QCOW2_FIXED


def flat_image(virtual_size: int, allocated: int, *,
               worst_case: bool) -> int:
    """Return what a flat image of a disk at rest takes.

    In the worst case that is the whole virtual size, however little is
    allocated: one block of 4 KiB becomes a whole cluster of 64 KiB in qcow2
    and vmdk, and one of 1 MiB in vdi. Without ``worst_case`` only what is
    allocated now is counted.
    """
    if worst_case:
        allocated = virtual_size
    return min(virtual_size, allocated) + qcow2_metadata(virtual_size)


def live(virtual_size: int, allocated: int, *, worst_case: bool) -> int:
    """Return what a delta and the flat image made of it take together.

    While the mirror runs the guest may write to every cluster of its disk:
    the worst case is the whole virtual size, twice. Without ``worst_case``
    only what is allocated now is counted, twice.
    """
    return 2 * flat_image(virtual_size, allocated, worst_case=worst_case)


def needed(settings: settings_model.Settings,
           disks: cabc.Iterable[plan_model.PlannedDisk],
           method: plan_model.Method) -> int:
    """Return the bytes that must be free in ``snapshots_directory``."""
    count = live if method == plan_model.Method.LIVE else flat_image
    return sum(count(disk.virtual_size, disk.allocated,
                     worst_case=settings.worst_case_space) for disk in disks)


def refuse_without(settings: settings_model.Settings, free: int,
                   wanted: int) -> None:
    """Refuse a snapshot that there is no room for.

    :param free: bytes on the file system of ``snapshots_directory``
    :raises NotEnoughSpace: naming the remedy
    """
    if wanted <= free:
        return
    remedy = 'Free that much, or put snapshots_directory elsewhere'
    if settings.worst_case_space:
        remedy += (', or set [nova_snap]worst_case_space to false to count '
                   'only what is allocated now')
    raise errors.NotEnoughSpace(
        path=settings.snapshots_directory, remedy=remedy,
        free_bytes=free, needed_bytes=wanted)
