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

"""The backup job that holds the disks of a guest at one moment."""

import dataclasses
import os
import typing as ty

from nova_snap import errors
from nova_snap.hypervisor import backup as backup_module
from nova_snap.model import backup as backup_model
from nova_snap.model import checkpoint as checkpoint_model
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

# Seconds until libvirt knows what has become of a job, and between two looks.
NEWS_SECONDS = 2.0
FIRST_NEWS_LOOK_SECONDS = 0.05
LONGEST_NEWS_LOOK_SECONDS = 0.5


@dataclasses.dataclass
class StartBackup(step_module.Step):
    """Hold: a backup job runs, whose disks can be read over NBD.

    :ivar qemu_id: the QEMU process the job belongs to
    :ivar socket: of the NBD server
    :ivar scratches: target and scratch file of each disk
    :ivar was_running: the guest was not paused before
    :ivar checkpoint: to be made at the same moment, of the first disk; ''
        for none. Like the next two it is not needed to end the job
    :ivar since: the checkpoint from which on it serves what has changed
    :ivar why_untracked: why libvirt has not begun it with those
    """

    uuid: str
    qemu_id: int
    socket: str
    scratches: list[list[str]]
    was_running: bool
    checkpoint: str = ''
    since: str = ''
    why_untracked: str = ''

    def facts(self) -> dict[str, ty.Any]:
        """Return the fields that the end of the job needs."""
        facts = super().facts()
        for name in ('checkpoint', 'since', 'why_untracked'):
            del facts[name]
        return facts

    def do(self, world: world_module.World) -> None:
        """Start the job: this is the point in time.

        :raises BackupFailed: when the guest was restarted since, or libvirt
            refuses the job
        """
        domain = world.host.domain(self.uuid)
        if domain.qemu_id() != self.qemu_id:
            raise self.failed('the guest was stopped or started since')
        job = domain.backup_job()
        backup = backup_model.Backup(
            self.socket, tuple((target, path)
                               for target, path in self.scratches))
        try:
            if not self._begin_tracked(job, backup):
                job.begin(backup)
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            why = scratch_step.why_denied(exc.reason,
                                          self._scratch())
            raise self.failed(why or exc.reason) from exc

    def _begin_tracked(self, job: backup_module.BackupJob,
                       backup: backup_model.Backup) -> bool:
        """Begin it with a checkpoint, where that is wanted and can be.

        The snapshot is worth more than what the next one would save.
        """
        if not self.checkpoint:
            return False
        try:
            job.begin(dataclasses.replace(backup, since=self.since),
                      checkpoint_model.xml(self.checkpoint,
                                           self.scratches[0][0]))
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            if job.running() is not None:
                raise
            self.why_untracked = exc.reason
            self.checkpoint = self.since = ''
            return False
        return True

    def undo(self, world: world_module.World) -> None:
        """End the job, if it runs and is ours, and let the guest go on.

        A guest whose scratch file could not grow stands paused. Without the
        job its write is done at last.

        :raises HypervisorError: when libvirt does not end it
        """
        domain = world.host.domain(self.uuid)
        try:
            if domain.qemu_id() != self.qemu_id:
                # The job is gone with its QEMU process.
                return
            domain.backup_job().end(self.socket)
            if self.was_running and domain.has_io_error():
                domain.resume()
        except errors.DomainGone:
            return

    def why_lost(self, world: world_module.World) -> str | None:
        """Say why the job is not there any more, if it is not.

        libvirt may learn it some moments after the reader of a disk.

        :raises HypervisorError: when libvirt does not tell
        """
        reason = None
        for _ in world.clock.looks(NEWS_SECONDS,
                                   first_pause=FIRST_NEWS_LOOK_SECONDS,
                                   longest_pause=LONGEST_NEWS_LOOK_SECONDS):
            domain = world.host.domain(self.uuid)
            try:
                if domain.qemu_id() != self.qemu_id:
                    return ('the guest was switched off, or has crashed; '
                            'take the snapshot again')
                found = domain.backup_job().running()
            except errors.DomainGone:
                return 'the guest is gone'
            if found is None or found.socket != self.socket:
                # It may be gone because the guest is.
                reason = ('another program has ended it; take the snapshot '
                          'again')
        return reason

    def _scratch(self) -> str:
        """Return the directory that QEMU's lies in."""
        return os.path.dirname(os.path.dirname(self.socket))

    def failed(self, reason: str) -> errors.BackupFailed:
        """Return the error of this job."""
        return errors.BackupFailed(instance=self.uuid, reason=reason)
