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

"""What libvirt and QEMU tell of block jobs.

An event ends a wait early; what is true is read from the domain. One thing
is told by events alone: that a mirror failed after it was told to end. It is
gone then like one that ended well.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import json
import threading
import typing as ty

import libvirt
import libvirt_qemu
from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import errors as hypervisor_errors

LOG = logging.getLogger(__name__)

# Seconds for an event on its way from libvirtd, when its cause was seen.
NEWS_SECONDS = 2.0
NEWS_POLL_SECONDS = 0.05

ENDS = frozenset((libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED,
                  libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED,
                  libvirt.VIR_DOMAIN_BLOCK_JOB_CANCELED))

# :source: QEMU qapi/block-core.json BLOCK_JOB_COMPLETED, BLOCK_JOB_CANCELLED
COMPLETED = 'BLOCK_JOB_COMPLETED'
CANCELLED = 'BLOCK_JOB_CANCELLED'
QEMU_ENDS = f'{COMPLETED}|{CANCELLED}'
# Of the name that libvirt gives to the job of a copy.
# :source: libvirt src/qemu/qemu_blockjob.c qemuBlockJobDiskNew
JOB_NAME = 'copy-{}-'


class BlockJobEvents:
    """A bell that rings when a block job of one domain changes.

    Where nobody rings it, it is a clock.

    :ivar listens: libvirt was asked to ring
    """

    def __init__(self, clock: clock_module.Clock | None = None) -> None:
        self._bell = threading.Event()
        self._clock = clock or clock_module.Clock()
        self._ends: dict[str, int] = {}
        self._qemus_ends: list[tuple[str, str | None]] = []
        self.listens = False

    def ring(self, *event: ty.Any) -> None:
        """Wake the waiter; this is libvirt's callback."""
        _, _, target_dev, _, status, _ = event
        if status in ENDS:
            self._ends[target_dev] = status
        self._bell.set()

    def note(self, *event: ty.Any) -> None:
        """Keep how a job ended; this is libvirt's callback for QEMU's word."""
        _, _, name, _, _, details, _ = event
        told = json.loads(details)
        failure = told.get('error')
        if name == CANCELLED:
            # One that was ready is completed by the same command.
            failure = failure or 'it was cancelled before it was ready'
        self._qemus_ends.append((told.get('device', ''), failure))

    def wait(self, seconds: float) -> None:
        """Wait for the bell, at most so long."""
        self._bell.wait(seconds)
        self._bell.clear()

    def failure(self, target_dev: str) -> str | None:
        """Say how the job on a disk failed, if somebody told us so.

        To be asked when it is gone. A failure after the abort is called a
        cancellation by libvirt 9.0 (5.6 had the truth): only QEMU tells.

        :source: libvirt src/qemu/qemu_blockjob.c
            qemuBlockJobEventProcessConcluded
        """
        if not self.listens:
            return None
        deadline = self._clock.monotonic() + NEWS_SECONDS
        while (target_dev not in self._ends
                and self._clock.monotonic() < deadline):
            # QEMU's word comes before libvirt's.
            self.wait(NEWS_POLL_SECONDS)
        for job, failure in self._qemus_ends:
            if failure and job.startswith(JOB_NAME.format(target_dev)):
                return failure
        if self._ends.get(target_dev) == libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED:
            return 'libvirt does not say why'
        return None


@contextlib.contextmanager
def block_job_events(connection: ty.Any, uuid: str, bell: BlockJobEvents,
                     qemu: ty.Any = libvirt_qemu,
                     ) -> cabc.Iterator[BlockJobEvents]:
    """Listen from here on; to be entered before the job is started.

    :param qemu: the module by which libvirt passes QEMU's own events on
    :raises DomainGone: when libvirt does not know the domain
    :raises HypervisorError: when libvirt does not let us listen
    :source: virConnectDomainEventRegisterAny,
        VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2
    """
    with contextlib.ExitStack() as stack:
        try:
            with hypervisor_errors.translated(uuid, 'domainEventRegisterAny'):
                domain = connection.lookupByUUIDString(uuid)
                number = connection.domainEventRegisterAny(
                    domain, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2,
                    bell.ring, None)
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            raise dataclasses.replace(
                exc, reason=f'{exc.reason}. Was libvirtd restarted, and may '
                            'this user listen to its events? Take the '
                            'snapshot again') from exc
        stack.callback(_deregister, connection.domainEventDeregisterAny,
                       number)
        stack.enter_context(_qemus_word(qemu, connection, domain, bell))
        bell.listens = True
        yield bell


@contextlib.contextmanager
def _qemus_word(qemu: ty.Any, connection: ty.Any, domain: ty.Any,
                bell: BlockJobEvents) -> cabc.Iterator[None]:
    """Listen to QEMU itself, where libvirt lets us; this taints nothing.

    :source: virConnectDomainQemuMonitorEventRegister
    """
    try:
        number = qemu.qemuMonitorEventRegister(
            connection, domain, QEMU_ENDS, bell.note, None,
            libvirt_qemu.VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX)
    except libvirt.libvirtError as exc:
        LOG.debug('Nobody tells us when a mirror fails at its end: %s', exc)
        yield
        return
    try:
        yield
    finally:
        _deregister(qemu.qemuMonitorEventDeregister, connection, number)


def _deregister(call: cabc.Callable[..., ty.Any], *args: ty.Any) -> None:
    # A connection that broke meanwhile took the registration with it.
    with contextlib.suppress(libvirt.libvirtError):
        call(*args)
