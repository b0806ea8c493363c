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

"""Ctrl-C, and what else asks the command to stop."""

import signal
import types
import typing as ty

from nova_snap.cmd import show
from nova_snap.host import interrupts


class Cancellation:
    """Turn the first signal into KeyboardInterrupt, and ignore the others.

    What is held is let go while the interrupt unwinds: a second Ctrl-C must
    not stop that half way. A signal that was ignored when the command was
    started stays ignored, as nohup asks for SIGHUP and a shell for SIGINT of
    what it runs in the background.

    :source: nohup(1); POSIX.1-2017, XCU 2.11 "Signals and Error Handling"
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._signals: list[signal.Signals] = []
        self._requested = False

    def __enter__(self) -> 'Cancellation':
        self._signals = [number for number in self.SIGNALS
                         if signal.getsignal(number) != signal.SIG_IGN]
        self._set(self._cancel)
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        # All is done, and the exit code says how.
        self._set(signal.SIG_IGN)

    def forbid(self) -> None:
        """Take no cancellation any more: the image is about to stay.

        :raises KeyboardInterrupt: when one was asked for before and was
            lost: Python drops what is raised in a finalizer
        """
        self._set(signal.SIG_IGN)
        if self._requested:
            raise KeyboardInterrupt

    def _set(self, action: ty.Any) -> None:
        for number in self._signals:
            signal.signal(number, action)

    def _cancel(self, number: int, frame: types.FrameType | None) -> None:
        self._set(signal.SIG_IGN)
        self._requested = True
        interrupts.deliver(self._interrupt)

    @staticmethod
    def _interrupt() -> None:
        show.say('\nnova-snap: cancelling, the guest is put back ...')
        raise KeyboardInterrupt
