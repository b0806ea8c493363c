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

"""Time that passes during a sleep alone."""

import collections.abc as cabc
import contextlib

from nova_snap import clock as clock_module

# A moment in 2026: where a time ends up in an image it looks like one.
START_SECONDS = 1_790_000_000.0


class FakeClock(clock_module.Clock):
    """A clock that a sleep moves on, and nothing else."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._alarms: list[tuple[float, cabc.Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self._passed

    def sleep(self, seconds: float) -> None:
        end = self._passed + seconds
        # Each at its own time; what it does may take some, too.
        while due := [one for one in self._alarms if one[0] <= end]:
            alarm = min(due, key=lambda one: one[0])
            self._alarms.remove(alarm)
            self._passed = max(self._passed, alarm[0])
            alarm[1]()
        self._passed = max(self._passed, end)

    def time(self) -> float:
        return START_SECONDS + self._passed

    def bell(self) -> 'FakeBell':
        return FakeBell(self)

    @contextlib.contextmanager
    def alarm(self, seconds: float,
              action: cabc.Callable[[], None]) -> cabc.Iterator[None]:
        alarm = self.after(seconds, action)
        try:
            yield
        finally:
            if alarm in self._alarms:
                self._alarms.remove(alarm)

    @contextlib.contextmanager
    def every(self, seconds: float,
              action: cabc.Callable[[], None]) -> cabc.Iterator[None]:
        is_over = False

        def again() -> None:
            if not is_over:
                action()
                self.after(seconds, again)

        self.after(seconds, again)
        try:
            yield
        finally:
            is_over = True

    def after(self, seconds: float, act: cabc.Callable[[], None]) -> tuple[
            float, cabc.Callable[[], None]]:
        """Let something happen later."""
        alarm = (self._passed + seconds, act)
        self._alarms.append(alarm)
        return alarm


class FakeBell(clock_module.Bell):
    """A bell whose time-outs pass on the clock."""

    def __init__(self, fake: FakeClock) -> None:
        super().__init__()
        self._clock = fake
        self._is_rung = False

    def ring(self) -> None:
        self._is_rung = True

    def wait(self, seconds: float) -> None:
        if not self._is_rung:
            self._clock.sleep(seconds)
        self._is_rung = False
