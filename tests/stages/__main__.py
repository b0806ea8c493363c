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

"""Perform the stages; see tools/test."""

import collections.abc as cabc
import contextlib
import functools
import os
import signal
import sys
import threading
import time
import traceback
import types

from tests.lab import errors
from tests.lab import place
from tests.stages import figures
from tests.stages import ground as ground_module
from tests.stages import lock
from tests.stages import options as options_module
from tests.stages import performance
from tests.stages import processes
from tests.stages import report as report_module
from tests.stages import stages

# The niceness of what may run at the same time as emulated guests: they, and a
# test that waits for one, must not be slowed down.
NICENESS = 10

# Seconds for a lane to see that all is being ended.
LANE_TIMEOUT = 60

# What a shell adds to a signal's number.
ENDED_BY = 128

Chore = cabc.Callable[[], None]


class Session:
    """One call of tools/test."""

    def __init__(self, options: options_module.Options) -> None:
        self.options = options
        self.report = report_module.Report()
        self.runner = processes.Processes()
        self.ground = ground_module.Ground(self.runner)
        self.logs = place.make_dir(self.ground.folder / 'test')
        self._niceness = NICENESS if any(
            stage.has_guests for stage in options.wanted) else 0
        self._threads: list[threading.Thread] = []

    def perform(self) -> None:
        """Perform all stages; those of other lanes at the same time."""
        for stage in self.options.left_out:
            self.report.left_out(stage.name, '--fast was given')
        for lane in self._lanes():
            thread = threading.Thread(target=lane, daemon=True)
            thread.start()
            self._threads.append(thread)
        for thread in self._threads:
            thread.join()

    def end(self) -> None:
        """End every process that was started, whatever is under way."""
        self.runner.stop()
        for thread in self._threads:
            thread.join(LANE_TIMEOUT)
        for lab in stages.LABS:
            if not lab.down(self.ground):
                print(f'{lab.run_dir(self.ground)} could not be ended: '
                      f'{self.logs}/down.log', file=sys.stderr)

    def _lanes(self) -> list[Chore]:
        """Return what is done at the same time."""
        on_labs = [
            [stage for stage in self.options.wanted if stage.lane is lane]
            for lane in (stages.Lane.LAB, stages.Lane.SECOND_LAB)]
        alone = [stage for stage in self.options.wanted
                 if stage.lane is stages.Lane.ALONE]
        lanes: list[Chore] = [
            functools.partial(self._perform_lane, wanted)
            for wanted in on_labs if wanted]
        if alone:
            lanes.append(functools.partial(
                self._perform_next_to_lab if lanes else self._perform_lane,
                alone))
        return lanes

    def _perform_lane(self, wanted: list[stages.Stage]) -> None:
        """Perform stages one after the other."""
        with contextlib.suppress(processes.Stopped):
            for stage in wanted:
                self._perform(stage)

    def _perform_next_to_lab(self, wanted: list[stages.Stage]) -> None:
        """Perform stages while those on a lab run."""
        # What is quick comes first, and the packages of the hypervisor.
        self._perform_lane([one for one in wanted if not one.has_tests])
        if stages.BY_NAME['volumes'] in wanted:
            # Their own stage says what is wrong.
            with (_niceness(self._niceness),
                  contextlib.suppress(errors.LabError, processes.Stopped)):
                stages.prepare_volumes(self.ground)
        self._perform_lane([one for one in wanted if one.has_tests])

    def _perform(self, stage: stages.Stage) -> None:
        began = time.monotonic()
        run = performance.Performance(
            stage.name, self.logs, self.ground, self.options.names,
            self.options.releases)
        counted, why = figures.Figures(), ''
        try:
            with (lock.held(self.logs / f'{stage.name}.lock'),
                  _niceness(0 if stage.has_guests else self._niceness)):
                run.log.write_text('')
                counted = stage.perform(run)
        except errors.LabError as exc:
            why = str(exc)
        except Exception:
            why = traceback.format_exc()
        if self.runner.stopped:
            raise processes.Stopped
        self.report.ended(stage.name, counted, time.monotonic() - began,
                          run.log, names=self.options.names, why=why)


@contextlib.contextmanager
def _niceness(more: int) -> cabc.Iterator[None]:
    """Make this thread, and what it starts, nicer than tools/test is.

    :param more: what comes on top of the niceness of tools/test
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, niceness + more)
    try:
        yield
    finally:
        # Root alone may, and starts guests.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)


def main(arguments: cabc.Sequence[str]) -> int:
    """Do as the command line says; 0 when nothing failed."""
    options = options_module.parse(arguments)
    try:
        lock.take(place.lab_dir(), place.CHECKOUT, 'tools/test')
        session = Session(options)
    except errors.LabError as exc:
        print(f'tools/test: {exc}', file=sys.stderr)
        print(figures.ONE_FAILED)
        return 1
    _heed_signals(_end)
    try:
        session.perform()
    finally:
        # It takes long at most as a lab takes to end.
        _heed_signals(signal.SIG_IGN)
        session.end()
    print(session.report.total)
    return 1 if session.report.total.failed else 0


def _heed_signals(handler: cabc.Callable[
        [int, types.FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _end(number: int, _: types.FrameType | None) -> None:
    """End as at the end of all stages."""
    sys.exit(ENDED_BY + number)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
