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
import dataclasses

from nova_snap import errors
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import room as room_model
from nova_snap.model import settings as settings_model
from nova_snap import units

QCOW2_CLUSTER = 64 * units.KiB
# Per cluster an L2 entry of 8 bytes and a refcount of 2; what is left of the
# 16 counted here covers the L1 table and the refcount table.
QCOW2_BYTES_PER_CLUSTER = 16
# Header, first refcount block, rounding of every table to whole clusters.
QCOW2_FIXED = 1 * units.MiB
# What is reserved beyond what is there now: a tenth, for what the guest
# writes while its disk is copied, and for blocks of 4 KiB that become whole
# clusters. It is no bound: the free space is watched.
MARGIN_PART = 10
# What a guest overwrites while its disk is read is not known before. This is
# some 5 MiB/s for as long as a disk of 50 GiB takes at 250 MiB/s; one that
# overwrites more is watched.
OVERWRITTEN = 1 * units.GiB


def qcow2_metadata(virtual_size: int) -> int:
    """Return the most that qcow2's own tables take for a disk this large.

    :source: QEMU docs/interop/qcow2.txt
    """
    clusters = -(-virtual_size // QCOW2_CLUSTER)
    return clusters * QCOW2_BYTES_PER_CLUSTER + QCOW2_FIXED


def need(images: cabc.Iterable[plan_model.PlannedImage],
         method: plan_model.Method, *,
         is_held: bool = False) -> room_model.Need:
    """Return what a snapshot of these images writes.

    :param is_held: a backup job holds the disks
    """
    total = room_model.Need()
    for image in images:
        if not image.is_streamed:
            total += flat_image(image)
        if method == plan_model.Method.LIVE:
            total += delta(image.disk)
        if is_held:
            total += overwritten(image.disk)
    return dataclasses.replace(
        total, likely=total.likely + total.likely // MARGIN_PART)


def flat_image(image: plan_model.PlannedImage) -> room_model.Need:
    """Return what a flat image of a disk takes, of which nothing is sure.

    Zeros that a guest has written are left out of it, and are seen only when
    they are read. How much the layers hide of each other is seen where the
    disk can be measured.

    :source: qemu-img(1) convert, -S, which is 4 KiB unless it is given
    """
    disk = image.disk
    return room_model.Need(0, _with_tables(disk, disk.allocated)
                           if disk.measured is None else disk.measured)


def delta(disk: plan_model.PlannedDisk) -> room_model.Need:
    """Return what the copy of the active layer takes.

    A mirror writes zeros as it writes other data. Sure is that of a raw
    layer alone: of what a qcow2 file takes, clusters may have become free,
    or zero, and are not copied.

    :source: QEMU docs/interop/qcow2.txt, cluster descriptors; block/mirror.c
        mirror_iteration
    """
    active = disk.allocations[0] if disk.allocations else 0
    is_sure = disk.active_layer.format == 'raw'
    return room_model.Need(min(active, disk.virtual_size) if is_sure else 0,
                           _with_tables(disk, active))


def overwritten(disk: plan_model.PlannedDisk) -> room_model.Need:
    """Return what keeps the old data of a disk while it is read."""
    return room_model.Need(0, min(disk.virtual_size, disk.allocated,
                                  OVERWRITTEN))


def _with_tables(disk: plan_model.PlannedDisk, allocated: int) -> int:
    return (min(disk.virtual_size, allocated)
            + qcow2_metadata(disk.virtual_size))


def refuse_without(settings: settings_model.Settings, room: room_model.Room,
                   wanted: room_model.Need) -> tuple[str, ...]:
    """Refuse a snapshot that there is no room for.

    That is one of which more is sure than there is, or that writes and has
    nothing to begin with. Any other one is tried.

    :returns: remarks about one that may turn out to have too little
    :raises NotEnoughSpace: naming the remedy
    """
    if not wanted.likely:
        return ()
    left = _left(settings, room)
    if wanted.least > left:
        raise _no_room(
            settings, room, wanted.least or wanted.likely,
            'Free that much, or put snapshots_directory elsewhere')
    if wanted.likely > left:
        return (f'it may need {units.format_bytes(wanted.likely - left)} '
                'more than there are in snapshots_directory; it is given up '
                'when only [nova_snap]space_reserve is left',)
    return ()


def refuse_to_save(settings: settings_model.Settings,
                   room: room_model.Room | None, memory: int) -> None:
    """Refuse to save a guest that there is no room for.

    Other guests' disks may be where libvirt saves it.

    :param room: None where it is not known
    :param memory: bytes; 0 for a guest that is not saved
    :raises NotEnoughSpace: naming the remedy
    """
    if room is not None and memory and memory > _left(settings, room):
        raise _no_room(
            settings, room, memory,
            'libvirt saves the memory of the guest there: free that much, '
            'take the snapshot live, or stop the guest first')


def _left(settings: settings_model.Settings, room: room_model.Room) -> int:
    return room.free - room.reserved - settings.space_reserve


def _no_room(settings: settings_model.Settings, room: room_model.Room,
             wanted: int, remedy: str) -> errors.NotEnoughSpace:
    return errors.NotEnoughSpace(
        path=room.path, needed_bytes=wanted, free_bytes=room.free,
        reserved_bytes=room.reserved, reserve_bytes=settings.space_reserve,
        remedy=remedy)
