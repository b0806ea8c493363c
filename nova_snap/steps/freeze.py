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

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import domain as domain_module
from nova_snap.model import remedy
from nova_snap.steps import step as step_module
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

# A thaw that gets no answer is asked again: a busy agent answers the second
# or third time. With freeze_timeout for each try this still ends.
THAW_ATTEMPTS = 5
THAW_PAUSE_SECONDS = 1.0
# After that it is asked what is true: the status, and the time.
THAW_QUESTIONS = 2


def longest_thaw(timeout: int) -> float:
    """Return how long a thaw may take, in seconds.

    :param timeout: for each answer of the agent
    """
    return (THAW_ATTEMPTS * (timeout + THAW_PAUSE_SECONDS)
            + THAW_QUESTIONS * timeout)


@dataclasses.dataclass
class BoundAgentWaits(step_module.Step):
    """Hold: every wait for the guest agent has an end.

    libvirt waits for ever by default, and a guest may have an agent that
    never answers.

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

        Also where the guest was stopped since: libvirt keeps this of a
        domain, not of its QEMU process.

        :raises HypervisorError: when libvirt refuses
        :source: libvirt src/qemu/qemu_domain.c qemuDomainObjPrivateAlloc
        """
        with contextlib.suppress(errors.DomainGone):
            world.host.domain(self.uuid).set_agent_timeout(None)


@dataclasses.dataclass
class FreezeFilesystems(step_module.Step):
    """Hold: the guest's file systems are frozen.

    To be taken only after the agent has answered: an agent that is not there
    cannot freeze, and could not thaw either.

    :ivar qemu_id: the QEMU process that was frozen; another is not. None
        where the guest was to be saved since: the process that has its
        memory then
    :ivar timeout: seconds for each answer of the agent
    :ivar frozen: how many file systems the agent has frozen; none, in a guest
        that has none to freeze. Not for the journal, nor are:
    :ivar is_refused: the agent has answered to the freeze, in bytes that are
        no text
    :ivar thawed: how many file systems the undo has found frozen; none, when
        they had been thawed before
    :ivar seconds: from the question to freeze to the answer to the thaw; None
        before that
    """

    uuid: str
    qemu_id: int | None
    timeout: int

    def __post_init__(self) -> None:
        self.frozen = 0
        self.thawed = 0
        self.is_refused = False
        self.seconds: float | None = None
        self._since: clock_module.Stopwatch | None = None

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
        self._since = world.clock.stopwatch()
        try:
            self.frozen = domain.freeze()
        except errors.QuiesceFailed as exc:
            self.is_refused = exc.code is None
            raise

    def undo(self, world: world_module.World) -> None:
        """Thaw, also when the freeze failed.

        No question first whether it is frozen: that taints the domain, and a
        thaw of a guest that is not frozen does nothing.

        :raises ThawFailed: when the agent does not thaw, and does not say
            that the guest is thawed
        :source: guest-fsfreeze-thaw in QEMU's qga/qapi-schema.json
        """
        domain = world.host.domain(self.uuid)
        with contextlib.suppress(errors.DomainGone):
            if self._may_be_frozen(domain):
                # Also in a recovery, or at a second try, where the
                # wait is not bounded, or not any more.
                domain.set_agent_timeout(self.timeout)
                try:
                    self._thaw(world, domain)
                    self.seconds = (None if self._since is None
                                    else self._since.seconds())
                finally:
                    domain.set_agent_timeout(None)

    def _may_be_frozen(self, domain: domain_module.Domain) -> bool:
        """Tell whether there is a QEMU process that was frozen.

        :raises ThawFailed: when there is its memory alone
        """
        if self.qemu_id is not None:
            return domain.qemu_id() == self.qemu_id
        if domain.is_active():
            return True
        if domain.has_managed_save():
            raise errors.ThawFailed(
                instance=self.uuid,
                reason='its memory was saved while they were frozen. Start '
                       'the guest: '
                       + remedy.command('virsh', 'start', self.uuid))
        return False

    def _thaw(self, world: world_module.World,
              domain: domain_module.Domain) -> None:
        qemu_id = domain.qemu_id()
        for attempt in range(1, THAW_ATTEMPTS + 1):
            try:
                self.thawed += domain.thaw()
                return
            except errors.HypervisorError as exc:
                if domain.qemu_id() != qemu_id:
                    raise
                if attempt == THAW_ATTEMPTS and not self._is_thawed(domain,
                                                                    exc):
                    raise
            world.clock.sleep(THAW_PAUSE_SECONDS)

    def _is_thawed(self, domain: domain_module.Domain,
                   exc: errors.HypervisorError) -> bool:
        """Ask an agent that does not thaw what is true.

        One that is not to be asked for anything of a freeze may still tell
        the time: an agent in a frozen guest does not. And libvirt speaks no
        more with one whose answer it could not read. To a freeze that was
        done the answer is a number; after one that failed nothing is frozen.

        :source: QEMU qga/main.c ga_freeze_allowlist; qga/commands-posix.c
            qmp_guest_fsfreeze_freeze_list; libvirt src/qemu/qemu_process.c
            qemuProcessHandleAgentError
        """
        LOG.warning('The file systems of %s could not be thawed: %s. Its '
                    'agent is asked whether they are frozen, which taints '
                    'the domain', self.uuid, exc.reason)
        with contextlib.suppress(errors.QuiesceFailed):
            is_thawed = domain.is_thawed(self.timeout)
            LOG.warning('The file systems of %s are %s, its agent says',
                        self.uuid, 'thawed' if is_thawed else 'frozen')
            return is_thawed
        with contextlib.suppress(errors.QuiesceFailed):
            domain.ask_agent_time()
            LOG.warning('The file systems of %s are thawed: its agent does '
                        'what it does not do while they are frozen',
                        self.uuid)
            return True
        if self.is_refused:
            LOG.warning('The file systems of %s are not frozen: its agent '
                        'has answered to the freeze with an error', self.uuid)
        return self.is_refused
