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

"""Wait for a mirror."""

import collections.abc as cabc
import typing as ty

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import domain as domain_module

# libvirt rings a bell when the mirror is ready; this is for progress, and
# for a bell that was lost. Ten looks in a second cost libvirtd nothing.
POLL_SECONDS = 0.1


class Bell(ty.Protocol):
    """What can end a wait early."""

    def wait(self, seconds: float) -> None:
        """Wait, at most so long."""


class Deadlines(ty.NamedTuple):
    """When to give a mirror up, in seconds.

    ``ready`` is for the whole copy, ``stall`` for a copy that stands still.
    """

    ready: float
    stall: float


def lost(domain: domain_module.Domain, target_dev: str,
         reason: str) -> errors.BlockJobLost:
    """Say why a job is not there any more.

    :param reason: for a guest that still runs
    """
    if not domain.is_active():
        reason = ('the guest was switched off meanwhile, or has crashed; '
                  'take the snapshot again')
    return errors.BlockJobLost(instance=domain.uuid, target_dev=target_dev,
                               reason=reason)


def wait_ready(domain: domain_module.Domain, target_dev: str, path: str, *,
               deadlines: Deadlines, clock: clock_module.Clock, bell: Bell,
               progress: cabc.Callable[[int, int], None]) -> None:
    """Wait until the mirror has caught up with its disk.

    Ready is what the domain XML says, not ``cur == end``: the cursors can be
    equal before the mirror may be ended (also 0 == 0, at the start).

    :param path: our copy; a mirror to another file is not ours
    :raises BlockJobLost: when the job is gone; libvirt does not say why
    :raises MirrorTimeout: when it is late or stands still; it still runs
    :source: bugzilla.redhat.com/1442266, 1376580; QEMU block/mirror.c
    """
    started = moved = clock.monotonic()
    last = -1
    while True:
        mirror = domain.mirror(target_dev)
        if mirror is None or mirror.path != path:
            raise lost(domain, target_dev,
                       'the block job ended by itself; is the file system '
                       f'of {path} full, or was the job aborted?')
        try:
            job = domain.block_job(target_dev)
        except errors.HypervisorError as exc:
            if domain.is_active():
                raise
            raise lost(domain, target_dev, exc.reason) from exc
        now = clock.monotonic()
        if job is not None and (mirror.ready or job.cur != last):
            last, moved = job.cur, now
            progress(job.end if mirror.ready else job.cur, job.end)
        if mirror.ready:
            return
        if now - moved > deadlines.stall:
            raise errors.MirrorTimeout(
                instance=domain.uuid, target_dev=target_dev,
                reason=f'no progress for {deadlines.stall:.0f} s '
                       '([nova_snap]stall_timeout)')
        if now - started > deadlines.ready:
            raise errors.MirrorTimeout(
                instance=domain.uuid, target_dev=target_dev,
                reason=f'not ready after {deadlines.ready:.0f} s '
                       '([nova_snap]ready_timeout)')
        bell.wait(POLL_SECONDS)
