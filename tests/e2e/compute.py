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

"""nova-compute: started, ended and killed, each time with its options."""

import collections.abc
import datetime
import os
import pathlib
import signal
import time
import typing as ty

from tests.e2e import config
from tests.e2e import layout
from tests.e2e import machine
from tests.lab import errors
from tests.lab import process

Options = collections.abc.Mapping[str, ty.Mapping[str, ty.Any]]

# Seconds. Ten to start on an idle machine.
UP_TIMEOUT = 180


# :source: nova/monkey_patch.py patch
EVENTLET = {'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'false'}


class Compute:
    """The one compute node.

    :ivar options: what was added to nova.conf for the process that runs
    """

    def __init__(self, where: layout.Layout, services: machine.Machine,
                 base: collections.abc.Callable[[], config.Sections], *,
                 eventlet: bool = False) -> None:
        """Know the node.

        :param base: returns nova.conf without any case's own options
        :param eventlet: run it with green threads, whatever is the default
            of its release
        """
        self.layout = where
        self.machine = services
        self.base = base
        self.eventlet = eventlet
        self.options: Options = {}
        self.started = 0.0
        self.daemon = process.Daemon('nova-compute', where.services)

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self.daemon.pid

    @property
    def log(self) -> pathlib.Path:
        """The log of all its lives."""
        return self.daemon.log_file

    def configure(self, options: Options) -> None:
        """Write nova.conf, for the next start."""
        self.options = options
        self.machine.write('nova/nova.conf', config.render(
            config.merge(self.base(), options)))

    def start(self) -> None:
        """Start the process; do not wait."""
        self.started = time.time()
        self.daemon.start(
            self.machine.command([layout.program('nova', 'nova-compute')]),
            env={**self.machine.environment(),
                 **(EVENTLET if self.eventlet else {})})

    def end(self) -> None:
        """End the process, in order or not."""
        self.daemon.stop()

    def terminate(self) -> int:
        """Send SIGTERM, return the pid; do not wait.

        :raises LabError: when it does not run
        """
        return self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process, as the kernel does when memory is short.

        What it has started (a qemu-img, its privileged helper) is not
        killed.

        :raises LabError: when it does not run
        """
        self._signal(signal.SIGKILL)
        process.wait_until(lambda: self.pid is None, timeout=10,
                           what='death of nova-compute')

    def require_alive(self) -> None:
        """Check that the process runs and has not given up.

        It stays alive after an error that ends the service.

        :raises LabError: with the end of its log
        """
        if self.pid is None:
            raise errors.LabError(
                f'nova-compute died: {self.daemon.log_tail()}')
        with self.log.open(errors='replace') as lines:
            critical = [line for line in lines if ' CRITICAL nova ' in line]
        if critical and _logged(critical[-1]) > self.started:
            raise errors.LabError(f'nova-compute gave up: {critical[-1]}')

    def _signal(self, number: signal.Signals) -> int:
        pid = self.pid
        if pid is None:
            raise errors.LabError('nova-compute does not run: '
                                  f'{self.daemon.log_tail()}')
        os.kill(pid, number)
        return pid


def _logged(line: str) -> float:
    """Return when a line was logged, as the clock of the machine says it."""
    return datetime.datetime.fromisoformat(line[:23]).timestamp()
