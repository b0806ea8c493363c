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

"""A clone in Ceph gets all data of its own.

A manager of Ceph does it where it can: no byte comes through this host. Where
it does not, this host does. Both may be at it at the same time, and a clone
that is flattened is never harmed by it.

:source: ceph src/pybind/mgr/rbd_support/task.py; src/librbd/operation/
    FlattenRequest.cc
"""

import collections.abc as cabc

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap.model import phase as phase_model
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# Of the option rbd_flatten.
HOST = 'host'

# Seconds for the turn of our task to come. A manager has one at a time.
TURN_SECONDS = 10.0
# Between two looks, each of which is a connection of its own. What is done is
# seen so much later.
FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 0.5

# Takes what is done, 0 to 1; raises when it is to end.
Advance = cabc.Callable[[float], None]


def flatten(world: world_module.World, ceph: rbd_module.Ceph,
            clone: ceph_model.Name, size: int) -> None:
    """Give a clone all data of its parent.

    :param size: of the clone, bytes
    :raises CephError: when Ceph does not
    :raises StorageError: when it takes too long
    :raises Cancelled: when the operation is to end; a manager may still be
        at it
    """
    watch = world.clock.stopwatch()
    world.observer.begins(phase_model.Phase.FLATTEN)

    def advance(share: float) -> None:
        world.observer.advances(int(size * share), size)
        if watch.seconds() > world.settings.ready_timeout:
            raise errors.StorageError(
                reason=f'{clone} was not flattened within '
                       f'{world.settings.ready_timeout} s '
                       '([nova_snap]ready_timeout)')

    if not _is_done_by_manager(world, ceph, clone, advance):
        # Ceph counts objects.
        ceph.flatten(clone, lambda done, total: advance(
            done / total if total else 0.0))


def _is_done_by_manager(world: world_module.World, ceph: rbd_module.Ceph,
                        clone: ceph_model.Name, advance: Advance) -> bool:
    """Have a manager of Ceph's do it, and tell whether it has."""
    if world.settings.rbd_flatten == HOST:
        return False
    try:
        ceph.add_flatten(clone)
        why = _wait(world, ceph, clone, advance)
        found = ceph.find(clone)
        if found is not None and found.parent is None:
            return True
        ceph.cancel_flatten(clone)
    except ceph_model.CephError as exc:
        why = str(exc)
    LOG.info('%s is flattened by this host: %s', clone, why)
    return False


def _wait(world: world_module.World, ceph: rbd_module.Ceph,
          clone: ceph_model.Name, advance: Advance) -> str:
    """Wait for the managers, and return why they have not done it.

    :raises CephError: when no manager answers
    """
    watch = world.clock.stopwatch()
    for _ in world.clock.looks(world.settings.ready_timeout,
                               first_pause=FIRST_LOOK_SECONDS,
                               longest_pause=LONGEST_LOOK_SECONDS):
        tasks = ceph.flattening(clone)
        if not tasks:
            break
        advance(max(task.share or 0.0 for task in tasks))
        failed = [task.failure for task in tasks if task.failure]
        if failed:
            return f'a manager of Ceph failed: {failed[0]}'
        if (all(task.share is None for task in tasks)
                and watch.seconds() > TURN_SECONDS):
            return 'the managers of Ceph have other tasks before this one'
    return 'the managers of Ceph have given it up'
