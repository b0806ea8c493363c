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

"""Room on this host: counted, reserved, and watched while it is taken.

What an operation reserves is in its record, for the others to see. It is an
estimate: the guest writes on. So the free space is watched as well, and a
snapshot is given up before it takes what is left to the guests.
"""

import collections.abc as cabc
import dataclasses

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.host import file_systems
from nova_snap.host import files as files_module
from nova_snap.journal import record as record_model
from nova_snap.model import room as room_model
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


def of_snapshots(node: world_module.Node) -> room_model.Room:
    """Look at the room of ``snapshots_directory``.

    :raises StorageError: when the directory is missing
    :raises JournalError: when the journal cannot be read
    """
    settings = node.world.settings
    return look(node, files_module.snapshots_room(
        settings.snapshots_directory,
        is_default=settings.snapshots_directory_is_default))


def of_saves(node: world_module.Node) -> room_model.Room | None:
    """Look at the room where libvirt saves guests.

    :returns: None where that is not known
    :raises JournalError: when the journal cannot be read
    """
    directory = node.world.host.save_directory()
    if directory is None:
        return None
    try:
        # The directory itself is closed to all but root.
        return dataclasses.replace(
            look(node, file_systems.mount_point(directory)), path=directory)
    except errors.StorageError as exc:
        LOG.debug('It is not known what is free in %s: %s', directory, exc)
        return None


def look(node: world_module.Node, path: str) -> room_model.Room:
    """Look how much is free where a path lies, and how much is reserved.

    A dead owner takes no more: what it has taken is not free.

    :raises StorageError: when the path cannot be looked at
    :raises JournalError: when the journal cannot be read
    """
    files = node.world.files
    here = files.file_system(path)
    return room_model.Room(path, files.free_bytes(path), sum(
        _still(node.world, reservation, here)
        for record in node.store.read_all()
        if isinstance(record, record_model.Record)
        and record.reservations
        and node.locks.is_held(record.instance_uuid)
        for reservation in record.reservations))


def _still(world: world_module.World, reservation: record_model.Reservation,
           here: int) -> int:
    """Return what one may still take on a file system."""
    try:
        is_here = world.files.file_system(reservation.path) == here
    except errors.StorageError:
        # Not known: rather counted than forgotten.
        is_here = True
    if not is_here:
        return 0
    return max(0, reservation.size
               - world.files.written_bytes(reservation.path))


def refuse_to_fill(world: world_module.World) -> None:
    """Give up when less is free than is left to the guests.

    :raises SpaceReserveReached: then
    """
    path = world.settings.snapshots_directory
    free = world.files.free_bytes(path)
    if free < world.settings.space_reserve:
        raise errors.SpaceReserveReached(
            path=path, free_bytes=free,
            reserve_bytes=world.settings.space_reserve)


def watched_wait(world: world_module.World,
                 wait: clock_module.Wait) -> clock_module.Wait:
    """Return a wait that looks at the free space before.

    It raises SpaceReserveReached.
    """
    def look_and_wait(seconds: float) -> None:
        refuse_to_fill(world)
        wait(seconds)

    return look_and_wait


def watched_progress(world: world_module.World) -> (
        cabc.Callable[[int, int], None]):
    """Return a progress that looks at the free space before it goes on.

    It raises SpaceReserveReached.
    """
    def look_and_advance(done: int, total: int) -> None:
        refuse_to_fill(world)
        world.observer.advances(done, total)

    return look_and_advance
