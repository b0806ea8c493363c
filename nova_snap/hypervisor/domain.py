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

"""One domain, and the libvirt calls that we allow ourselves on it."""

import dataclasses
import json

import libvirt

from nova_snap import errors
from nova_snap.hypervisor import backup as backup_module
from nova_snap.hypervisor import blockjob
from nova_snap.hypervisor import checkpoint as checkpoint_module
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import errors as hypervisor_errors
from nova_snap.model import domain as domain_model
from nova_snap.model import hostdev as hostdev_model

State = domain_model.State

STATES = {
    libvirt.VIR_DOMAIN_RUNNING: State.RUNNING,
    # QEMU runs and waits for its disk: to a snapshot it is running
    libvirt.VIR_DOMAIN_BLOCKED: State.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: State.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: State.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: State.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: State.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: State.PMSUSPENDED,
}

JOBS = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: 'migration',
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: 'migration',
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: 'save',
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: 'dump',
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: 'snapshot',
    libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: 'backup',
}

# The first release that knows the flag.
# :source: libvirt news, v8.9.0
KEEP_TPM_VERSION = (8, 9, 0)
# By number: a binding that is older than its libvirtd has no name for it.
# :source: libvirt/libvirt-domain.h VIR_DOMAIN_UNDEFINE_KEEP_TPM
UNDEFINE_KEEP_TPM = 1 << 6
AGENT_TIMEOUT_BLOCK = -2
FREEZE_STATUS = '{"execute": "guest-fsfreeze-status"}'
THAWED = 'thawed'


@dataclasses.dataclass(frozen=True)
class Definition:
    """What ``undefine`` takes away and ``define`` alone does not give back.

    :ivar xml: inactive, with its secrets: never to be logged
    """

    xml: str = dataclasses.field(repr=False)
    autostart: bool
    snapshots: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    checkpoints: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)


class Domain(connection_module.OfDomain):
    """The domain with this UUID."""

    def block_device(self, target_dev: str) -> blockjob.BlockDevice:
        """Return one of its disks, for the block job on it."""
        return blockjob.BlockDevice(self._connection, self.uuid, target_dev)

    def backup_job(self) -> backup_module.BackupJob:
        """Return its backup job, which may not run."""
        return backup_module.BackupJob(self._connection, self.uuid)

    def checkpoints(self) -> checkpoint_module.Checkpoints:
        """Return its checkpoints."""
        return checkpoint_module.Checkpoints(self._connection, self.uuid)

    # What it is

    def exists(self) -> bool:
        """Tell whether libvirt knows the domain."""
        try:
            self._call('UUIDString')
        except errors.DomainGone:
            return False
        return True

    def name(self) -> str:
        """Return libvirt's name of the domain."""
        return str(self._call('name'))

    def qemu_id(self) -> int:
        """Return the number of its QEMU process, -1 when there is none.

        Another number is another process, also for the same domain.
        """
        return int(self._call('ID'))

    def is_active(self) -> bool:
        """Tell whether it has a QEMU process."""
        return bool(self._call('isActive'))

    def is_persistent(self) -> bool:
        """Tell whether it is defined."""
        return bool(self._call('isPersistent'))

    def has_managed_save(self) -> bool:
        """Tell whether a managed-save image waits for its next start."""
        return bool(self._call('hasManagedSaveImage', 0))

    def state(self) -> domain_model.State:
        """Return what the guest is doing."""
        return STATES.get(self._call('state', 0)[0], State.UNKNOWN)

    def has_io_error(self) -> bool:
        """Tell whether QEMU has paused the guest over an I/O error.

        The write that failed is done again when the guest goes on.

        :source: VIR_DOMAIN_PAUSED_IOERROR; QEMU's werror=stop and enospc
        """
        state, reason = self._call('state', 0)
        return bool(state == libvirt.VIR_DOMAIN_PAUSED
                    and reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR)

    def is_paused_since_its_start(self) -> bool:
        """Tell whether it was started paused, and stands still since.

        One that another program has paused does not.

        :source: libvirt src/qemu/qemu_process.c qemuProcessStart: of a guest
            that is restored the reason is VIR_DOMAIN_PAUSED_MIGRATION
        """
        state, reason = self._call('state', 0)
        return bool(state == libvirt.VIR_DOMAIN_PAUSED
                    and reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION)

    def xml(self) -> str:
        """Return the XML: the live one when it runs; without secrets."""
        return str(self._call('XMLDesc', 0))

    def model(self) -> domain_model.Domain:
        """Return the domain as values."""
        return domain_model.parse(self.xml())

    def block_sizes(self, target_dev: str) -> tuple[int, int]:
        """Return virtual size and allocation of the active layer, bytes."""
        capacity, allocation, _ = self._call('blockInfo', target_dev, 0)
        return int(capacity), int(allocation)

    def job(self) -> str | None:
        """Return the job that runs on the domain as a whole, in a word."""
        stats = self._call('jobStats', 0)
        if stats.get('type', libvirt.VIR_DOMAIN_JOB_NONE) \
                == libvirt.VIR_DOMAIN_JOB_NONE:
            return None
        return JOBS.get(stats.get('operation'), 'job')

    def abort_job(self) -> None:
        """Cancel the job that runs on the domain as a whole."""
        self._call('abortJob')

    # Its definition

    def definition(self) -> Definition:
        """Read all that an undefine takes away."""
        return Definition(
            xml=self.definition_xml(),
            autostart=bool(self._call('autostart')),
            snapshots=self._metadata(
                'listAllSnapshots',
                libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL),
            checkpoints=self._metadata(
                'listAllCheckpoints',
                libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL))

    def definition_xml(self) -> str:
        """Return the XML it is defined with; never to be logged."""
        return str(self._call('XMLDesc', libvirt.VIR_DOMAIN_XML_INACTIVE
                              | libvirt.VIR_DOMAIN_XML_SECURE))

    def _metadata(self, call: str, order: int) -> tuple[tuple[str, str], ...]:
        found = self._call(call, order)
        # One of them may be deleted while we read.
        with hypervisor_errors.translated(self.uuid, 'getXMLDesc'):
            return tuple(
                (one.getName(), one.getXMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
                for one in found)

    def undefine(self) -> None:
        """Take the definition away; NVRAM and TPM state are kept.

        The guest runs on as a transient domain: powered off now, it is gone.

        :source: virDomainUndefineFlags; nova/virt/libvirt/guest.py
            delete_configuration
        """
        flags = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
        if self._connection.version() >= KEEP_TPM_VERSION:
            flags |= UNDEFINE_KEEP_TPM
        self._call('undefineFlags', flags)

    def define_again(self, definition: Definition) -> None:
        """Give the domain back all that :meth:`definition` read.

        Safe to call again: what is there already is left alone.
        """
        self._connection.define(definition.xml, self.uuid)
        self.complete(definition)

    def complete(self, definition: Definition) -> None:
        """Give a defined domain back what its XML does not say.

        Safe to call again: what is there already is left alone.
        """
        if definition.autostart and not self._call('autostart'):
            self._call('setAutostart', 1)
        present = {s.getName() for s in self._call('listAllSnapshots', 0)}
        for name, xml in definition.snapshots:
            if name not in present:
                self._call('snapshotCreateXML', xml,
                           libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)
        present = {c.getName() for c in self._call('listAllCheckpoints', 0)}
        for name, xml in definition.checkpoints:
            if name not in present:
                self._call('checkpointCreateXML', xml,
                           libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE)

    # Its devices

    def hostdevs(self) -> tuple[hostdev_model.Hostdev, ...]:
        """Return the passed-through devices that it has now."""
        return domain_model.parse_hostdevs(self.xml())

    def detach_device(self, xml: str) -> None:
        """Ask the running guest to release a device.

        That it was asked is no word of its answer: what it has is in its
        XML. Its definition is left alone.

        :param xml: of the device, as the XML of the running guest has it
        :source: virDomainDetachDeviceFlags
        """
        self._call('detachDeviceFlags', xml,
                   libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def attach_device(self, xml: str) -> None:
        """Give the running guest a device; its definition is left alone.

        :source: virDomainAttachDeviceFlags
        """
        self._call('attachDeviceFlags', xml,
                   libvirt.VIR_DOMAIN_AFFECT_LIVE)

    # Its guest agent

    def set_agent_timeout(self, seconds: int | None) -> None:
        """Bound every wait for the agent; None waits for ever again.

        :source: virDomainAgentSetResponseTimeout
        """
        self._call('agentSetResponseTimeout',
                   AGENT_TIMEOUT_BLOCK if seconds is None else seconds, 0)

    def ask_agent_time(self) -> None:
        """Ask the agent something harmless: an answer shows that it lives.

        Not ``guest-ping``, which needs a call that taints the domain.

        :raises QuiesceFailed: when it does not answer in time
        """
        self._call('getTime', 0)

    def freeze(self) -> int:
        """Freeze the guest's file systems and return how many.

        :raises QuiesceFailed: when the agent does not answer; it may have
            frozen them all the same, or do so later
        """
        return int(self._call('fsFreeze', None, 0))

    def thaw(self) -> int:
        """Thaw the guest's file systems; safe when none is frozen.

        :raises ThawFailed: when the agent does not answer, or refuses
        """
        return int(self._call('fsThaw', None, 0))

    def is_thawed(self, seconds: int) -> bool:
        """Ask the agent whether the file systems are thawed.

        This taints the domain.

        :param seconds: for the answer
        :raises QuiesceFailed: when the agent does not answer, or refuses
        :source: virDomainQemuAgentCommand; guest-fsfreeze-status in QEMU's
            qga/qapi-schema.json
        """
        with hypervisor_errors.translated(self.uuid, 'qemuAgentCommand'):
            answer = self._connection.qemu.qemuAgentCommand(
                self._connection.get().lookupByUUIDString(self.uuid),
                FREEZE_STATUS, seconds, 0)
            # The guest has written it, and libvirt has looked that it is an
            # object.
            return bool(json.loads(answer).get('return') == THAWED)

    def set_time(self, seconds: int) -> None:
        """Set the guest's clock through the agent, seconds since 1970.

        :raises QuiesceFailed: when the agent does not answer
        """
        self._call('setTime', {'seconds': seconds, 'nseconds': 0}, 0)

    # Its life

    def managed_save(self) -> None:
        """Save the guest's memory and end its QEMU process."""
        self._call('managedSave', 0)

    def resume(self) -> None:
        """Let a paused guest go on."""
        self._call('resume')

    def start(self, *, paused: bool) -> None:
        """Start it, from its managed-save image where there is one.

        :param paused: leave the guest paused; otherwise it runs
        """
        self._call('createWithFlags',
                   libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
