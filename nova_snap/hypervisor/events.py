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

Events alone say one thing: that a mirror failed after it was asked to end.
It is gone then like one that ended well.
"""

import contextlib
import dataclasses
import enum
import json
import typing as ty

import libvirt
import libvirt_qemu

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import errors as hypervisor_errors
from nova_snap.hypervisor import listener

# Seconds for an event on its way from libvirtd, when its cause was seen, and
# between two looks whether it has come.
NEWS_SECONDS = 2.0
FIRST_NEWS_LOOK_SECONDS = 0.05
LONGEST_NEWS_LOOK_SECONDS = 0.2

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


class Ending(enum.Enum):
    """How a block job ended, as far as events told it."""

    ENDED = 'ended'
    FAILED = 'failed'
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True)
class JobEnd:
    """The end of a block job.

    :ivar reason: of a failure; '' otherwise
    """

    ending: Ending
    reason: str = ''


class BlockJobEvents(listener.Listener):
    """Hears what becomes of the block jobs of one domain.

    To be entered before a job is started.

    :source: VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2;
        virConnectDomainQemuMonitorEventRegister, which taints nothing
    """

    def __init__(self, connection: connection_module.Connection, uuid: str,
                 bell: clock_module.Bell) -> None:
        super().__init__(connection, uuid, bell)
        # Of each disk, by its target.
        self._libvirts_ends: dict[str, int] = {}
        # QEMU's name of an event, and its details.
        self._qemus_ends: list[tuple[str, str]] = []

    def __enter__(self) -> 'BlockJobEvents':
        """Listen from here on.

        :raises DomainGone: when libvirt does not know the domain
        :raises HypervisorError: when libvirt does not let us listen
        """
        try:
            super().__enter__()
        except errors.DomainGone:
            raise
        except errors.HypervisorError as exc:
            raise dataclasses.replace(
                exc, reason=f'{exc.reason}. Was libvirtd restarted, and may '
                            'this user listen to its events? Take the '
                            'snapshot again') from exc
        return self

    def ending(self, target_dev: str) -> JobEnd:
        """Say how the job on a disk ended; to be asked when it is gone.

        A failure after the abort is called a cancellation by libvirt 9.0
        (5.6 had the truth): only QEMU tells. Its word comes before libvirt's.

        :source: libvirt src/qemu/qemu_blockjob.c
            qemuBlockJobEventProcessConcluded
        """
        for _ in self._connection.clock.looks(
                NEWS_SECONDS, first_pause=FIRST_NEWS_LOOK_SECONDS,
                longest_pause=LONGEST_NEWS_LOOK_SECONDS, wait=self.wait):
            if target_dev in self._libvirts_ends:
                break
        words = self._qemus_words(target_dev)
        failure = next(filter(None, words), '')
        if not failure and (self._libvirts_ends.get(target_dev)
                            == libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED):
            failure = 'libvirt does not say why'
        if failure:
            return JobEnd(Ending.FAILED, failure)
        return JobEnd(Ending.ENDED if words else Ending.UNKNOWN)

    def _qemus_words(self, target_dev: str) -> list[str]:
        """Return why each copy of a disk failed; '' for one that did not."""
        words = []
        for name, details in self._qemus_ends:
            told = json.loads(details)
            if told.get('device', '').startswith(JOB_NAME.format(target_dev)):
                words.append(told.get('error') or (
                    # One that was ready is completed by the same command.
                    'it was cancelled before it was ready'
                    if name == CANCELLED else ''))
        return words

    def _register(self, connection: ty.Any, domain: ty.Any,
                  registered: contextlib.ExitStack) -> None:
        self._register_event(
            connection, domain, registered,
            libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, self._note_libvirts)
        qemu = self._connection.qemu
        with hypervisor_errors.translated(self._uuid,
                                          'qemuMonitorEventRegister'):
            number = qemu.qemuMonitorEventRegister(
                connection, domain, QEMU_ENDS, self._note_qemus, None,
                libvirt_qemu.
                VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX)
        registered.callback(listener.deregister,
                            qemu.qemuMonitorEventDeregister, connection,
                            number)

    def _note_libvirts(self, *event: ty.Any) -> None:
        _, _, target_dev, _, status, _ = event
        if status in ENDS:
            self._libvirts_ends[target_dev] = status
        self._bell.ring()

    def _note_qemus(self, *event: ty.Any) -> None:
        _, _, name, _, _, details, _ = event
        self._qemus_ends.append((name, details))
