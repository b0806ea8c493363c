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

"""What the product needs of libvirt: what the tests of a guest share.

Each side brings a ``Side``: a guest, and what another client can do to it.
"""

import collections.abc as cabc
import contextlib
import typing as ty

import libvirt

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import blockjob
from nova_snap.hypervisor import domain as domain_module
from nova_snap.hypervisor import events as events_module
from nova_snap.hypervisor import host as host_module
from nova_snap.model import domain as domain_model

State = domain_model.State

DISK = 'vda'
PASSWORD = 'xyzzy'

# Seconds. The guest is small and its mirror ready at once; a loaded machine
# takes its time.
READY_TIMEOUT = 120
STALL_TIMEOUT = 60
AGENT_SECONDS = 2
# A guest with its memory back has an agent, of which libvirt hears a little
# later.
CONNECTED_SECONDS = 60
LOOK_SECONDS = 0.1
# Long enough for a mirror to end that can.
HANG_SECONDS = 2

# Bytes per second: a mirror that is not ready while we look.
SLOW = 1 << 16


class Storage(ty.Protocol):
    """What an overlay lies on, for a test to harm.

    :ivar delta: the overlay
    """

    delta: str

    def hang(self, hangs: bool) -> None:
        """Let every write wait, or go on."""

    def break_down(self) -> None:
        """Let every write fail from now on, also those that wait."""


class Side(ty.Protocol):
    """A real guest or a fake one.

    :ivar host: the product's, over this side's libvirt
    :ivar uuid: the guest's
    """

    host: host_module.Host
    uuid: str
    clock: clock_module.Clock

    def theirs(self) -> ty.Any:
        """Return the domain as another client of libvirt has it."""

    def agent_timeout(self) -> int:
        """Return for how many seconds libvirt waits for the agent."""

    def make_delta(self) -> str:
        """Make an overlay over the backing file of the guest's disk."""

    def make_scratch(self, size: int) -> str:
        """Make an empty qcow2 file with so many bytes of disk."""

    def socket(self) -> str:
        """Return a path at which QEMU may make its socket."""

    def make_raw_file(self) -> str:
        """Make a raw file as large as the guest's disk."""

    def full_delta(self) -> ty.ContextManager[str]:
        """Make an overlay where there is no room for it."""

    def storage(self) -> ty.ContextManager[Storage]:
        """Make an overlay on a storage of its own."""

    def wait_for_lag(self) -> None:
        """Wait until the mirror has something to write; its storage hangs."""

    def is_copy(self, delta: str) -> bool:
        """Tell whether a delta has what the guest's disk has; it is off."""

    def add_metadata(self) -> None:
        """Give the guest a snapshot and a checkpoint, in name only."""

    def saving(self) -> ty.ContextManager[None]:
        """Save the guest while the block runs; the block must cancel it."""

    def restart_libvirtd(self) -> None:
        """Restart it; guests run on."""


def refused(code: int, call: cabc.Callable[..., object],
            *args: object) -> errors.HypervisorError:
    """Call, and return the error that must come, with libvirt's code."""
    try:
        call(*args)
    except errors.HypervisorError as exc:
        if exc.code != code:
            raise AssertionError(f'{exc.code} instead of {code}') from exc
        return exc
    raise AssertionError(f'{call} was not refused')


class Contract:
    """What both sides have in common; a mixin of a test case."""

    side: Side

    @property
    def domain(self) -> domain_module.Domain:
        """Return the guest's domain as the product has it."""
        return self.side.host.domain(self.side.uuid)

    @property
    def device(self) -> blockjob.BlockDevice:
        """Return the guest's disk as the product has it."""
        return self.domain.block_device(DISK)

    def wait_connected(self) -> None:
        """Wait until libvirt has heard of the guest's agent."""
        for _ in self.side.clock.looks(CONNECTED_SECONDS,
                                       first_pause=LOOK_SECONDS,
                                       longest_pause=LOOK_SECONDS):
            if self.domain.model().agent == 'connected':
                return
        raise AssertionError('the agent is not connected')

    def wait_ready(self, path: str,
                   heard: events_module.BlockJobEvents | None = None) -> None:
        """Wait until the mirror to a file has caught up.

        :param heard: what listens already: only one can
        """
        with (contextlib.nullcontext(heard) if heard else
              self.side.host.block_job_events(self.side.uuid)) as events:
            self.device.wait_ready(
                path, blockjob.Deadlines(ready=READY_TIMEOUT,
                                         stall=STALL_TIMEOUT),
                wait=events.wait, progress=lambda done, total: None)

    def assert_invalid(self, call: cabc.Callable[..., object],
                       *args: object) -> errors.HypervisorError:
        """Assert that libvirt refuses the call: not in this state."""
        return refused(libvirt.VIR_ERR_OPERATION_INVALID, call, *args)
