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

"""What a test sees of a guest while a snapshot is taken of it.

Each of the classes that are called is a hook for :class:`base.Hooks`.
"""

import collections.abc as cabc
import contextlib
import pathlib
import time
import typing as ty

import libvirt

from nova_snap.hypervisor import connection as connection_module
from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof

# Seconds for an event on its way from libvirtd.
EVENT_TIMEOUT = 10

LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: 'defined',
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: 'undefined',
    libvirt.VIR_DOMAIN_EVENT_STARTED: 'started',
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: 'suspended',
    libvirt.VIR_DOMAIN_EVENT_RESUMED: 'resumed',
    libvirt.VIR_DOMAIN_EVENT_STOPPED: 'stopped',
}
BLOCK_JOB = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED: 'job completed',
    libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED: 'job failed',
    libvirt.VIR_DOMAIN_BLOCK_JOB_CANCELED: 'job canceled',
    libvirt.VIR_DOMAIN_BLOCK_JOB_READY: 'job ready',
}
JOB_ENDS = frozenset(('job completed', 'job failed', 'job canceled'))

Call = cabc.Callable[[], ty.Any]


class Instant:
    """Reads the guest's console right before and after the point in time.

    For ``block_device.abort``.
    """

    def __init__(self, guest: guest_domain.Guest) -> None:
        self._guest = guest
        self.before: int | None = None
        self.after: int | None = None

    def __call__(self, call: Call, *args: ty.Any) -> ty.Any:
        """Make the call between two looks."""
        self.before = self._guest.last_record()
        result = call()
        self.after = self._guest.last_record()
        return result

    def check(self, image: pathlib.Path, image_format: str) -> int:
        """Prove that an image is the disk at that instant.

        :returns: the last record in it
        :raises ProofFailed: when it is not, or no such instant was seen
        """
        if self.before is None or self.after is None:
            raise errors.ProofFailed('the point in time was never reached')
        if self.before < 0:
            raise errors.ProofFailed('the guest had not written anything')
        return proof.assert_point_in_time(
            image, image_format, reported_before=self.before,
            reported_after=self.after)


class AtRest:
    """Copies the guest's disk at the moment its content is extracted.

    For ``qemu_img.convert``. qemu-img refuses a disk that QEMU has open, so
    a guest that is not at rest fails the test here.

    :ivar copy: what the guest would read, raw
    :ivar active: whether the guest had a QEMU process then
    """

    def __init__(self, guest: guest_domain.Guest,
                 folder: pathlib.Path) -> None:
        self._guest = guest
        self.copy = folder / 'at-rest'
        self.active: bool | None = None

    def __call__(self, call: Call, *args: ty.Any) -> ty.Any:
        """Copy, then make the call."""
        disk = self._guest.spec.disk
        self.active = bool(self._guest.domain.isActive())
        process.run(['qemu-img', 'convert', '-f', disk.driver_format,
                     '-O', 'raw', str(disk.path), str(self.copy)])
        return call()


class AtUpload:
    """Looks at the guest's state when the upload begins.

    For ``images.upload``.
    """

    def __init__(self, guest: guest_domain.Guest) -> None:
        self._guest = guest
        self.state: int | None = None

    def __call__(self, call: Call, *args: ty.Any) -> ty.Any:
        """Look, then make the call."""
        self.state = self._guest.domain.state()[0]
        return call()


class Events:
    """What libvirt tells of one guest, in its order.

    :ivar seen: words of LIFECYCLE and BLOCK_JOB, with the time of each
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    @property
    def names(self) -> list[str]:
        """The events, without their times."""
        return [name for name, _ in self.seen]

    def time(self, name: str) -> float:
        """Return when the first such event came, monotonic seconds."""
        return dict(reversed(self.seen))[name]

    def wait_for_end_of_job(self) -> None:
        """Wait until a block job has ended: all before it is seen then."""
        process.wait_until(lambda: JOB_ENDS & set(self.names),
                           timeout=EVENT_TIMEOUT, what='end of a block job')

    def add_lifecycle(self, *event: ty.Any) -> None:
        """Take note; libvirt's callback."""
        self._add(LIFECYCLE.get(event[2], f'lifecycle {event[2]}'))

    def add_block_job(self, *event: ty.Any) -> None:
        """Take note; libvirt's callback."""
        self._add(BLOCK_JOB.get(event[4], f'job {event[4]}'))

    def _add(self, name: str) -> None:
        self.seen.append((name, time.monotonic()))


@contextlib.contextmanager
def events(guest: guest_domain.Guest) -> cabc.Iterator[Events]:
    """Listen to a guest for the length of a ``with`` block."""
    connection_module.start_event_loop()
    heard = Events()
    with guest.libvirtd.connection() as connection:
        domain = connection.lookupByUUIDString(guest.spec.uuid)
        numbers = [
            connection.domainEventRegisterAny(domain, kind, callback, None)
            for kind, callback in (
                (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                 heard.add_lifecycle),
                (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
                 heard.add_block_job))]
        del domain
        try:
            yield heard
        finally:
            for number in numbers:
                connection.domainEventDeregisterAny(number)
