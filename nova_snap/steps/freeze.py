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

"""The guest's file systems, frozen."""

import contextlib
import dataclasses

from nova_snap import errors
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

# A thaw that gets no answer is asked again: a busy agent answers the second
# or third time. With freeze_timeout for each try this still ends.
THAW_ATTEMPTS = 5
THAW_PAUSE_SECONDS = 1.0


@dataclasses.dataclass
class BoundAgentWaits(step_module.Step):
    """Hold: every wait for the guest agent has an end.

    libvirt waits for ever by default, and a guest may have an agent that
    never answers (Q2).

    :ivar timeout: seconds for each answer
    """

    uuid: str
    timeout: int

    def do(self, world: world_module.World) -> None:
        """Bound them.

        :raises HypervisorError: when libvirt refuses; nothing changed
        """
        world.host.domain(self.uuid).set_agent_timeout(self.timeout)

    def undo(self, world: world_module.World) -> None:
        """Let libvirt wait as it does by default.

        :raises HypervisorError: when libvirt refuses
        """
        domain = world.host.domain(self.uuid)
        with contextlib.suppress(errors.DomainGone):
            if domain.is_active():
                domain.set_agent_timeout(None)


@dataclasses.dataclass
class FreezeFilesystems(step_module.Step):
    """Hold: the guest's file systems are frozen.

    To be taken only after the agent has answered: an agent that is not there
    cannot freeze, and could not thaw either.

    :ivar qemu_id: the QEMU process that was frozen; another is not
    :ivar timeout: seconds for each answer of the agent
    :ivar frozen: how many file systems the agent has frozen; none, in a guest
        that has none to freeze. Not for the journal, nor is:
    :ivar thawed: how many file systems the undo has found frozen; none, when
        they had been thawed before
    """

    uuid: str
    qemu_id: int
    timeout: int

    def __post_init__(self) -> None:
        self.frozen = 0
        self.thawed = 0

    def do(self, world: world_module.World) -> None:
        """Freeze.

        :raises QuiesceFailed: when the agent refuses or does not answer in
            time; it may have frozen all the same, or do so later
        """
        domain = world.host.domain(self.uuid)
        if domain.qemu_id() != self.qemu_id:
            # Another process, which would not be thawed.
            raise errors.QuiesceFailed(
                instance=self.uuid,
                reason='the guest was stopped or started since')
        self.frozen = domain.freeze()

    def undo(self, world: world_module.World) -> None:
        """Thaw, also when the freeze failed.

        No question whether it is frozen: that call taints the domain, and a
        thaw of a guest that is not frozen does nothing.

        :raises QuiesceFailed: when the agent does not answer; the guest may
            be frozen still
        :source: guest-fsfreeze-thaw in QEMU's qga/qapi-schema.json
        """
        domain = world.host.domain(self.uuid)
        with contextlib.suppress(errors.DomainGone):
            if domain.qemu_id() == self.qemu_id:
                # Also in a recovery, or at a second try, where the
                # wait is not bounded, or not any more.
                domain.set_agent_timeout(self.timeout)
                try:
                    self._thaw(world)
                finally:
                    domain.set_agent_timeout(None)

    def _thaw(self, world: world_module.World) -> None:
        domain = world.host.domain(self.uuid)
        for attempt in range(1, THAW_ATTEMPTS + 1):
            try:
                self.thawed += domain.thaw()
                return
            except errors.HypervisorError:
                if (attempt == THAW_ATTEMPTS
                        or domain.qemu_id() != self.qemu_id):
                    raise
            world.clock.sleep(THAW_PAUSE_SECONDS)
