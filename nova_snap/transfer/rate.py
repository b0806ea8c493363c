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

"""Keep a flow of bytes below a rate."""

from nova_snap import clock as clock_module

# Seconds of flow that may go at once. Shorter, and the sleeps are too short
# to be kept by a busy host; longer, and the link is taken in gusts.
BURST_SECONDS = 0.5


class Limit:
    """A bucket that fills with time and is emptied by bytes.

    One limit may be shared by several readers: together they stay below it.
    """

    def __init__(self, bytes_per_second: int,
                 clock: clock_module.Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self.burst_bytes = max(1, int(bytes_per_second * BURST_SECONDS))
        self._level = float(self.burst_bytes)
        self._looked = clock.monotonic()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes more may flow.

        More than a burst is waited for in one piece; keep below it for an
        even flow. The rate holds, whatever the sizes are.
        """
        now = self._clock.monotonic()
        filled = self._level + (now - self._looked) * self._rate
        self._level = min(filled, self.burst_bytes) - size
        self._looked = now
        if self._level < 0:
            self._clock.sleep(-self._level / self._rate)
