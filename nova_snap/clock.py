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

"""The only clock: a test brings its own."""

import collections.abc as cabc
import contextlib
import threading
import time


class Clock:
    """Seconds that pass."""

    def monotonic(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    @contextlib.contextmanager
    def alarm(self, seconds: float,
              action: cabc.Callable[[], None]) -> cabc.Iterator[None]:
        """Run the block, and the action beside it if it takes too long.

        For a call that waits without an end of its own; the action makes it
        return. It runs in another thread.
        """
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        try:
            timer.start()
            yield
        finally:
            timer.cancel()
