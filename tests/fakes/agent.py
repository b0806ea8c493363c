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

"""A guest agent, with the moods that agents have."""

import libvirt

from nova_snap import compat
from tests.fakes import clock as fake_clock
from tests.fakes import refusal

# What libvirt waits with its default.
# :source: VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_DEFAULT
DEFAULT_SECONDS = 5

SET_TIME_OUT_BLOCK = -2
SET_TIME_OUT_DEFAULT = -1


class WaitsForEver(BaseException):
    """A call asks an agent that never answers, without a time-out.

    Not an Exception: the test ends here, as the process would.
    """


class Channel(compat.StrEnum):
    """What the domain has for an agent."""

    ABSENT = 'absent'
    DISCONNECTED = 'disconnected'
    CONNECTED = 'connected'


class FakeAgent:
    """The agent of one guest.

    :ivar frozen: the guest's file systems are
    :ivar freezes: how often they were
    :ivar hung: it never answers
    :ivar hangs_at: it answers until it is asked this
    :ivar refuses: commands that it answers with an error
    :ivar mumbles: commands that it answers with an error in bytes that are
        no UTF-8; libvirt 9.0 speaks with it no more
    :ivar slow: seconds that a command takes; it is done even after
        the wait for it has ended
    :ivar timeout: what libvirt was told to wait
    """

    def __init__(self, clock: fake_clock.FakeClock) -> None:
        self._clock = clock
        self.channel = Channel.CONNECTED
        self.frozen = False
        self.freezes = 0
        self.file_systems = 1
        self.hung = False
        self.hangs_at: str | None = None
        self.refuses: set[str] = set()
        self.mumbles: set[str] = set()
        self.is_given_up = False
        self.slow: dict[str, float] = {}
        self.timeout = SET_TIME_OUT_BLOCK
        self._busy_until = 0.0

    def get_time(self) -> dict[str, int]:
        self._ask('getTime')
        return {'seconds': int(self._clock.time()), 'nseconds': 0}

    def set_time(self) -> int:
        self._ask('setTime')
        return 0

    def freeze(self) -> int:
        """Freeze; an agent that froze takes nothing but a thaw."""
        self._ask('fsFreeze', self._freeze)
        return self.file_systems

    def thaw(self) -> int:
        was_frozen = self.frozen
        self._ask('fsThaw', self._thaw, in_freeze=True)
        return self.file_systems if was_frozen else 0

    def execute(self, command: str, timeout: int) -> dict[str, str]:
        """Do a command of the agent's own; none but this one is known."""
        assert command == '{"execute": "guest-fsfreeze-status"}'
        libvirts, self.timeout = self.timeout, timeout
        try:
            self._ask('guest-fsfreeze-status', in_freeze=True)
        finally:
            self.timeout = libvirts
        return {'return': 'frozen' if self.frozen else 'thawed'}

    @property
    def freeze_number(self) -> int | None:
        """Return which freeze this is; None when it is not frozen."""
        return self.freezes if self.frozen else None

    def _freeze(self) -> None:
        self.frozen = True
        self.freezes += 1

    def _thaw(self) -> None:
        self.frozen = False

    def _ask(self, command: str, act: object = None, *,
             in_freeze: bool = False) -> None:
        """Let it do a command.

        :param in_freeze: one that it does also while the guest is frozen
        """
        self._require_reachable()
        if self.hangs_at == command:
            self.hung = True
        if self.hung:
            self._wait(None)
        self._wait(self._busy_until - self._clock.monotonic())
        if self.frozen and not in_freeze:
            raise self._error(command, 'the agent is in frozen state')
        self._refuse(command)
        seconds = self.slow.get(command, 0)
        if seconds:
            self._busy_until = self._clock.monotonic() + seconds
            if callable(act):
                self._clock.after(seconds, act)
            self._wait(seconds)
        elif callable(act):
            act()

    def _require_reachable(self) -> None:
        if self.channel == Channel.ABSENT:
            raise refusal.refusal(
                libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, 'argument unsupported: '
                'QEMU guest agent is not configured')
        if self.channel == Channel.DISCONNECTED:
            raise refusal.silent_agent('QEMU guest agent is not connected')
        if self.is_given_up:
            raise refusal.silent_agent('QEMU guest agent is not available due '
                                       'to an error')

    def _refuse(self, command: str) -> None:
        if command in self.refuses:
            raise self._error(command, 'it refuses')
        if command in self.mumbles:
            self.is_given_up = True
            raise refusal.no_utf8()

    def _wait(self, seconds: float | None) -> None:
        """Wait for an answer as long as libvirt was told to.

        :param seconds: when it comes; None is never
        """
        patience: float = self.timeout
        if self.timeout == SET_TIME_OUT_DEFAULT:
            patience = DEFAULT_SECONDS
        if seconds is None and self.timeout == SET_TIME_OUT_BLOCK:
            raise WaitsForEver
        if seconds is not None and (self.timeout == SET_TIME_OUT_BLOCK
                                    or seconds <= patience):
            self._clock.sleep(max(seconds, 0))
            return
        self._clock.sleep(patience)
        raise refusal.silent_agent('Guest agent not available for now')

    def _error(self, command: str, why: str) -> libvirt.libvirtError:
        return refusal.refusal(
            libvirt.VIR_ERR_INTERNAL_ERROR, 'internal error: unable to '
            f"execute QEMU agent command '{command}': {why}")
