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

"""The copy job from a disk to its delta."""

import contextlib
import dataclasses
import os

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import blockjob
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

DELTA_FORMAT = 'qcow2'


@dataclasses.dataclass
class StartMirror(step_module.Step):
    """Hold: a copy job runs on the disk.

    :ivar qemu_id: the QEMU process the job belongs to
    :ivar transient_job: the domain stays defined (``blockCopy``); otherwise
        it is transient at the start (``blockRebase``, as Nova does)
    """

    uuid: str
    qemu_id: int
    target_dev: str
    path: str
    bandwidth: int
    transient_job: bool

    def do(self, world: world_module.World) -> None:
        """Start the job and make sure that it writes what we expect.

        :raises MirrorFailed: when the guest was restarted since, or the
            job writes another format; it may run. Also when QEMU is
            not allowed to open the delta; then no job runs
        :raises HypervisorError: when libvirt refuses; no job runs
        """
        domain = world.host.domain(self.uuid)
        if domain.qemu_id() != self.qemu_id:
            raise self._failed('the guest was stopped or started since')
        device = domain.block_device(self.target_dev)
        try:
            self._start(device)
        except errors.HypervisorError as exc:
            why = scratch_step.why_denied(exc.reason,
                                          os.path.dirname(self.path))
            if why is None:
                raise
            raise self._failed(why) from exc
        mirror = device.mirror()
        if mirror is None or mirror.path != self.path:
            raise self._failed('the job ended as soon as it had started')
        if mirror.format != DELTA_FORMAT:
            raise self._failed(f'libvirt writes {mirror.format} into '
                               f'{self.path}, and not {DELTA_FORMAT}')

    def _start(self, device: blockjob.BlockDevice) -> None:
        if self.transient_job:
            device.copy_transient(self.path, self.bandwidth)
        else:
            device.rebase_to_copy(self.path, self.bandwidth)

    def undo(self, world: world_module.World) -> None:
        """End the job, if it runs and is ours.

        :raises HypervisorError: when libvirt does not end it
        """
        device = world.host.domain(self.uuid).block_device(self.target_dev)
        with contextlib.suppress(errors.DomainGone):
            if not self._runs(device):
                return
            try:
                device.abort()
            except errors.HypervisorError:
                # It may have ended between the look and the call.
                if self._runs(device):
                    raise

    def finish(self, world: world_module.World, timeout: float,
               wait: clock_module.Wait) -> None:
        """End the job that is ready: this is the point in time.

        :param timeout: seconds
        :param wait: waits so many seconds, or less when there may be news
        :raises BlockJobLost: when it is not there any more, or not ready:
            what it wrote is not the disk
        :raises MirrorTimeout: when it has not ended in time
        :raises HypervisorError: when libvirt does not end it; it runs
        """
        domain = world.host.domain(self.uuid)
        device = domain.block_device(self.target_dev)
        mirror = device.mirror()
        if mirror is None or mirror.path != self.path or not mirror.ready:
            raise device.lost('the block job ended before it was told to')
        device.abort(timeout=timeout, wait=wait)
        if domain.qemu_id() != self.qemu_id:
            # It is gone because the QEMU process is.
            raise device.lost('the guest was stopped or started since')

    def _runs(self, device: blockjob.BlockDevice) -> bool:
        mirror = device.mirror()
        return mirror is not None and mirror.path == self.path

    def _failed(self, reason: str) -> errors.MirrorFailed:
        return errors.MirrorFailed(instance=self.uuid, reason=reason,
                                   target_dev=self.target_dev)
