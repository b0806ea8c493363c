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

"""The guest at rest: its memory in a managed-save image, and back."""

import contextlib
import dataclasses

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# Between two looks at a save that was cancelled: QEMU mostly stops within a
# moment, and otherwise writes down what it has begun.
FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 1.0


@dataclasses.dataclass
class SaveMemory(step_module.Step):
    """Hold: the guest is saved and has no QEMU process.

    :ivar paused: what the guest was, and will be again
    :ivar qemu_id: the QEMU process that is saved
    :ivar timeout: seconds for the save; then it is cancelled
    """

    uuid: str
    qemu_id: int
    paused: bool
    timeout: int

    def do(self, world: world_module.World) -> None:
        """Save.

        :raises ManagedSaveFailed: when libvirt cannot; the guest goes on
        """
        domain = world.host.domain(self.uuid)
        if domain.qemu_id() != self.qemu_id:
            raise errors.ManagedSaveFailed(
                instance=self.uuid,
                reason='the guest was stopped or started since')
        try:
            with world.clock.alarm(self.timeout,
                                   lambda: self._give_up(world)):
                domain.managed_save()
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            raise errors.ManagedSaveFailed(
                instance=self.uuid, reason=exc.reason) from exc

    def undo(self, world: world_module.World) -> None:
        """Start the guest from the image, in the state it was in.

        An image that is not there was never made, or the guest was started
        by another program: then nothing is started. Without the image a start
        would be a cold boot, and it may have been stopped on purpose.

        :raises HypervisorError: when it cannot be started; its image stays
        :raises Refused: when it is Nova's, which may have acted on it since
        :raises ManagedSaveFailed: when a save is under way and does not end
        """
        domain = world.host.domain(self.uuid)
        try:
            self._await_end_of_save(world)
            if domain.is_active():
                return
            if not domain.has_managed_save():
                LOG.warning('Domain %s is off and has no managed-save image: '
                            'it was stopped since and is not started',
                            self.uuid)
                return
            if world.lets_return(domain.model()):
                domain.start(paused=self.paused)
        except errors.DomainGone:
            LOG.warning('Domain %s is gone: it is not started', self.uuid)

    def _await_end_of_save(self, world: world_module.World) -> None:
        """Cancel a save that the dead owner left, and wait for its end."""
        domain = world.host.domain(self.uuid)
        for _ in world.clock.looks(self.timeout,
                                   first_pause=FIRST_LOOK_SECONDS,
                                   longest_pause=LONGEST_LOOK_SECONDS):
            if not domain.is_active() or domain.job() != 'save':
                return
            self._give_up(world)
        raise errors.ManagedSaveFailed(
            instance=self.uuid,
            reason=f'a save has not ended in {self.timeout} s')

    def _give_up(self, world: world_module.World) -> None:
        """Cancel the save: the guest goes on."""
        try:
            world.host.domain(self.uuid).abort_job()
        except errors.HypervisorError as exc:
            # Too late to be cancelled, or over: the wait for it sees that.
            LOG.debug('%s', exc)


@dataclasses.dataclass
class StartPaused(step_module.Step):
    """Hold: the guest that was saved has a QEMU process and stands still.

    :ivar paused: what the guest was, and will be again
    :ivar qemu_id: the QEMU process that was started; 0 until it is known
    """

    uuid: str
    paused: bool
    qemu_id: int = 0

    def do(self, world: world_module.World) -> None:
        """Start it from its memory.

        :raises HypervisorError: when libvirt cannot; its memory stays
        """
        domain = world.host.domain(self.uuid)
        domain.start(paused=True)
        self.qemu_id = domain.qemu_id()

    def undo(self, world: world_module.World) -> None:
        """Let it go on, unless it was paused before.

        :raises HypervisorError: when libvirt does not let it
        """
        domain = world.host.domain(self.uuid)
        with contextlib.suppress(errors.DomainGone):
            if (not self.paused and domain.is_paused_since_its_start()
                    and self.qemu_id in (0, domain.qemu_id())):
                domain.resume()
