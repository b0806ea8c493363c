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
import typing as ty

# Waits so many seconds.
Wait: ty.TypeAlias = cabc.Callable[[float], None]

# What is done again and again has an end of its own; behind a libvirtd that
# hangs it comes late, and does no harm then.
LAST_ACTION_SECONDS = 60.0


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

    def stopwatch(self) -> 'Stopwatch':
        """Count the seconds from now on."""
        return Stopwatch(self)

    def bell(self) -> 'Bell':
        """Return a bell that ends a wait early."""
        return Bell()

    def looks(self, timeout: float, *, first_pause: float,
              longest_pause: float,
              wait: Wait | None = None) -> cabc.Iterator[None]:
        """Yield each time a look is due: at once, and last at the deadline.

        What is waited for was not seen in time when the loop ends by itself.
        Each pause is twice as long as the one before.

        :param timeout: seconds from the first look to the last one; 0 is for
            one look
        :param first_pause: seconds after the first look
        :param longest_pause: seconds, for each pause after many
        :param wait: waits so many seconds, or less when there may be news;
            the clock's own sleep unless it is given
        """
        deadline = self.monotonic() + timeout
        pause = first_pause
        while True:
            yield
            left = deadline - self.monotonic()
            if left <= 0:
                return
            (wait or self.sleep)(min(pause, left))
            pause = min(2 * pause, longest_pause)

    @contextlib.contextmanager
    def alarm(self, seconds: float,
              action: cabc.Callable[[], None]) -> cabc.Iterator[None]:
        """Run the block, and the action too if the block takes too long.

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

    @contextlib.contextmanager
    def every(self, seconds: float,
              action: cabc.Callable[[], None]) -> cabc.Iterator[None]:
        """Run the block, and the action again and again while it runs.

        The action runs in another thread, and must not raise. One that is
        under way when the block ends is waited for.

        :param seconds: between two runs, and before the first
        """
        is_over = threading.Event()

        def run() -> None:
            while not is_over.wait(seconds):
                action()

        thread = threading.Thread(target=run, daemon=True)
        try:
            thread.start()
            yield
        finally:
            is_over.set()
            if thread.is_alive():
                thread.join(LAST_ACTION_SECONDS)


class Stopwatch:
    """Seconds since it was started, on a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()

    def restart(self) -> None:
        """Count from now on."""
        self._started = self._clock.monotonic()

    def seconds(self) -> float:
        """Return what has passed since the start."""
        return self._clock.monotonic() - self._started


class Bell:
    """A wait that news can end early."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """End the wait, or the next one."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Wait for the bell, at most so long."""
        self._rung.wait(seconds)
        self._rung.clear()
