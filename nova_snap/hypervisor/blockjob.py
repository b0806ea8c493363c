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


"""One disk of a domain, and the block job on it."""

import collections.abc as cabc
import dataclasses
import typing as ty

import libvirt

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from nova_snap.model import domain as domain_model

BLOCK_JOBS = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL: 'pull',
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY: 'copy',
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT: 'commit',
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: 'active commit',
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: 'backup',
}

# Between two looks at a mirror. It may take hours, and each look asks libvirtd
# and QEMU: once a second is enough for a progress bar.
FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 1.0
# A mirror that is likely to be ready within so many seconds is near. The point
# in time is soon after that, and no event may tell it.
NEAR_SECONDS = 3.0
NEAR_LOOK_SECONDS = 0.1
# A mirror that is ready has some MiB to write, and to flush them: less than a
# second, or the storage hangs. Who was frozen for half a minute goes on as if
# nothing had been; after two, Linux reports the tasks that wait.
ABORT_SECONDS = 30.0
# Between two looks at a mirror that ends. The guest may be frozen: an event
# ends a pause early, where there is one.
FIRST_ABORT_LOOK_SECONDS = 0.02
LONGEST_ABORT_LOOK_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class BlockJob:
    """A block job under way; ``cur`` and ``end`` are bytes."""

    kind: str
    cur: int
    end: int


class Deadlines(ty.NamedTuple):
    """When to give a mirror up, in seconds.

    ``ready`` is for the whole copy, ``stall`` for a copy that stands still.
    """

    ready: float
    stall: float


class BlockDevice(connection_module.OfDomain):
    """A disk, by its target in the guest, of a domain that may be gone."""

    def __init__(self, connection: connection_module.Connection, uuid: str,
                 target_dev: str) -> None:
        super().__init__(connection, uuid)
        self._clock = connection.clock
        self.target_dev = target_dev

    # What runs on it

    def mirror(self) -> domain_model.Mirror | None:
        """Return the mirror, as the live XML has it; None without one."""
        return domain_model.parse_mirror(str(self._call('XMLDesc', 0)),
                                         self.target_dev)

    def job(self) -> BlockJob | None:
        """Return the block job, None when there is none."""
        info = self._call('blockJobInfo', self.target_dev, 0)
        if not info:
            return None
        return BlockJob(BLOCK_JOBS.get(info['type'], 'block job'),
                        int(info['cur']), int(info['end']))

    def lost(self, reason: str) -> errors.BlockJobLost:
        """Say why the job is not there any more.

        :param reason: for a guest that still runs
        """
        if not self._call('isActive'):
            reason = ('the guest was switched off, or has crashed; take the '
                      'snapshot again')
        return errors.BlockJobLost(
            instance=self.uuid, target_dev=self.target_dev, reason=reason)

    # Its start

    def rebase_to_copy(self, path: str, bandwidth: int) -> None:
        """Start to mirror the active layer into an existing overlay.

        Only on a transient domain. The overlay's format is what its file
        says, and the caller made it: the mirror's format is to be checked.

        :param bandwidth: bytes per second, 0 for no limit
        :source: virDomainBlockRebase; without BANDWIDTH_BYTES it is MiB/s
        """
        self._call('blockRebase', self.target_dev, path, bandwidth,
                   libvirt.VIR_DOMAIN_BLOCK_REBASE_COPY
                   | libvirt.VIR_DOMAIN_BLOCK_REBASE_REUSE_EXT
                   | libvirt.VIR_DOMAIN_BLOCK_REBASE_SHALLOW
                   | libvirt.VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES)

    def copy_transient(self, path: str, bandwidth: int) -> None:
        """Start the same mirror on a domain that stays defined.

        :param bandwidth: bytes per second, 0 for no limit
        :source: virDomainBlockCopy, VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        """
        # The format is named here, so that libvirt need not look into the
        # file for it.
        xml = domain_model.copy_target_xml(path)
        parameters: dict[str, int] = {}
        if bandwidth:
            parameters[libvirt.VIR_DOMAIN_BLOCK_COPY_BANDWIDTH] = bandwidth
        self._call('blockCopy', self.target_dev, xml, parameters,
                   libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
                   | libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
                   | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)

    # Its way

    def wait_ready(self, path: str, deadlines: Deadlines, *,
                   wait: clock_module.Wait,
                   progress: cabc.Callable[[int, int], None]) -> None:
        """Wait until the mirror has caught up with its disk.

        Ready is what the domain XML says, not ``cur == end``: the cursors
        can be equal before the mirror may be ended (also 0 == 0, at the
        start).

        :param path: our copy; a mirror to another file is not ours
        :param wait: waits so many seconds, or less when there may be news
        :raises BlockJobLost: when the job is gone; libvirt does not say why
        :raises MirrorTimeout: when it is late or stands still; it still runs
        :source: bugzilla.redhat.com/1442266, 1376580; QEMU block/mirror.c
        """
        course = _Course(self._clock, wait)
        for _ in self._clock.looks(
                deadlines.ready, first_pause=FIRST_LOOK_SECONDS,
                longest_pause=LONGEST_LOOK_SECONDS, wait=course.wait):
            is_ready, job = self._look(path)
            if job is not None and (course.has_moved(job) or is_ready):
                progress(job.end if is_ready else job.cur, job.end)
            if is_ready:
                return
            if course.still_seconds() > deadlines.stall:
                raise self._late(f'no progress for {deadlines.stall:.0f} s '
                                 '([nova_snap]stall_timeout)')
        raise self._late(f'not ready after {deadlines.ready:.0f} s '
                         '([nova_snap]ready_timeout)')

    def _look(self, path: str) -> tuple[bool, BlockJob | None]:
        """Return whether our mirror is ready, and how far it is."""
        mirror = self.mirror()
        if mirror is None or mirror.path != path:
            raise self.lost('the block job ended by itself; is the file '
                            f'system of {path} full, or was the job aborted?')
        try:
            return mirror.ready, self.job()
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            if self._call('isActive'):
                raise
            raise self.lost(exc.reason) from exc

    def _late(self, reason: str) -> errors.MirrorTimeout:
        return errors.MirrorTimeout(
            instance=self.uuid, target_dev=self.target_dev, reason=reason)

    # Its end

    def abort(self, *, timeout: float = ABORT_SECONDS,
              wait: clock_module.Wait | None = None) -> None:
        """End the mirror: the copy stays as it is at one moment.

        That moment lies between call and return. A mirror that is ready
        still writes what the guest has written, and flushes it, with the
        guest's requests held; QEMU has closed the file when the mirror is
        gone from the XML. libvirt, if left to wait for that, would wait for
        ever where the storage hangs.

        A mirror that fails after it was told to end is gone in the same way:
        see :meth:`nova_snap.hypervisor.events.BlockJobEvents.ending`. So is
        one whose guest was switched off.

        :param timeout: seconds
        :param wait: waits so many seconds, or less when there may be news
        :raises MirrorTimeout: when it has not ended in time; it still may
        :raises HypervisorError: also when there is no job (any more)
        :source: virDomainBlockJobAbort; libvirt src/qemu/qemu_blockjob.c
            qemuBlockJobProcessEventConcludedCopyAbort; QEMU block/mirror.c
            mirror_run
        """
        try:
            self._call('blockJobAbort', self.target_dev,
                       libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC)
        except errors.HypervisorError:
            # Refused also while it ends because it was told to before.
            mirror = self.mirror()
            if mirror is None or not mirror.is_ending:
                raise
        for _ in self._clock.looks(
                timeout, first_pause=FIRST_ABORT_LOOK_SECONDS,
                longest_pause=LONGEST_ABORT_LOOK_SECONDS, wait=wait):
            if self.mirror() is None:
                return
        raise self._late(f'it has not ended {timeout:.0f} s after it was '
                         'told to; does the storage of snapshots_directory '
                         'hang?')


class _Course:
    """How a mirror goes, from one look to the next.

    :param wait: as of :meth:`BlockDevice.wait_ready`
    """

    def __init__(self, clock: clock_module.Clock,
                 wait: clock_module.Wait) -> None:
        self._wait = wait
        self._all = clock.stopwatch()
        self._still = clock.stopwatch()
        self._cur = -1
        self._is_near = False

    def has_moved(self, job: BlockJob) -> bool:
        """Take note of a look, and tell whether it got on since the last."""
        # At the speed that it had so far. Where nothing is copied yet, the
        # cursors may be equal.
        self._is_near = job.cur > 0 and (
            (job.end - job.cur) * self._all.seconds()
            <= NEAR_SECONDS * job.cur)
        if job.cur == self._cur:
            return False
        self._cur = job.cur
        self._still.restart()
        return True

    def still_seconds(self) -> float:
        """Return for how long it has not got on."""
        return self._still.seconds()

    def wait(self, seconds: float) -> None:
        """Wait for the next look: not long, when the mirror is near."""
        self._wait(min(seconds, NEAR_LOOK_SECONDS) if self._is_near
                   else seconds)
