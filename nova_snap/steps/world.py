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

"""All that a step may touch, in one value.

Each door brings its own: the command's is real, a test's is a fake that
refuses what the real one refuses.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import typing as ty

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap.host import files as files_module
from nova_snap.host import locks as locks_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.host import rbd as rbd_module
from nova_snap.hypervisor import host as host_module
from nova_snap.journal import checkpoints as checkpoints_module
from nova_snap.journal import store as store_module
from nova_snap.journal import transaction
from nova_snap.model import disk_work as disk_work_model
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model import observer as observer_module
from nova_snap.model import settings as settings_model
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module
from nova_snap.steps import export as export_module

LOG = logging.getLogger(__name__)

#: Takes the UUID of a guest of Nova's that is gone or off because of us, and
#: says why it must not come back on this host (it was deleted, it was moved);
#: None when it must. Raises, as Refused, when that cannot be told now.
WhyAway = cabc.Callable[[str], str | None]


#: Takes how a cluster is reached and returns the way to it; nothing is asked
#: yet. Its calls run where they may block.
Ceph = cabc.Callable[[layer_model.CephClient], rbd_module.Ceph]


#: Waits until one more operation may read or write a whole image, and counts
#: it as long as its block runs. Not to be entered twice.
DiskTurn = cabc.Callable[[], contextlib.AbstractContextManager[ty.Any]]


@contextlib.contextmanager
def ending(turn: DiskTurn) -> cabc.Iterator[
        cabc.Callable[[], None]]:
    """Have a turn at the disk for the block, or until it is ended in it.

    :returns: what ends it; also when it has ended
    """
    with contextlib.ExitStack() as held:
        held.enter_context(turn())
        yield held.close


def never_away(uuid: str) -> None:
    """Let every guest come back."""


@dataclasses.dataclass(frozen=True)
class World:
    """The host, the image and the volume service, Ceph, and the clock.

    :ivar checkpoints: what is kept of guests whose changes are known
    :ivar observer: what the door wants to know, and where it may end it
    :ivar disk_turn: to be held while a whole image is read or written
    :ivar disk_work: runs what reads a whole image
    :ivar why_away: asked before a guest of Nova's is defined or started for
        a process that is dead: Nova may have acted on it since
    """

    settings: settings_model.Settings
    host: host_module.Host
    qemu_img: qemu_img_module.QemuImg
    files: files_module.Files
    exports: export_module.Exports
    images: images_module.Images
    volumes: volumes_module.Volumes
    clock: clock_module.Clock
    ceph: Ceph
    checkpoints: checkpoints_module.Checkpoints
    observer: observer_module.Observer = dataclasses.field(
        default_factory=observer_module.Observer)
    disk_turn: DiskTurn = contextlib.nullcontext
    disk_work: disk_work_model.DiskWork = disk_work_model.run_now
    why_away: WhyAway = never_away

    def lets_return(self, domain: domain_model.Domain) -> bool:
        """Tell whether a guest may be defined again or started.

        One that Nova did not make belongs to no other host.

        :raises Refused: when that cannot be told now; to be asked again
        """
        reason = None if domain.nova is None else self.why_away(domain.uuid)
        if reason is not None:
            LOG.warning('Guest %s (%s) is left as it is: %s', domain.name,
                        domain.uuid, reason)
        return reason is None


@dataclasses.dataclass(frozen=True)
class Node:
    """The world, the memory of what was done to it, and who we are.

    :ivar nova_compute_runs: asks whether a nova-compute is, or may be, on
        this host
    :ivar why_away: asks Nova about a guest of Nova's that a recovery would
        define or start; None where Nova cannot be asked: then none of them
        comes back while a nova-compute runs
    """

    world: World
    store: store_module.Store
    locks: locks_module.Locks
    boot_id: str
    nova_compute_runs: cabc.Callable[[], bool]
    why_away: WhyAway | None = None

    @property
    def machine_id(self) -> str:
        """Return the id of the machine whose journal it is."""
        return self.store.machine_id()


Transaction = transaction.Transaction[World]
Held = transaction.Held[World]
