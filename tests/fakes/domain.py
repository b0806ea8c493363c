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

"""A domain of the fake libvirt: defined, started, saved, ended.

It has two definitions, as every domain has: the persistent one, and the one
its QEMU process was started with. Each method has the name, the arguments
and the refusals of libvirt's; what another administrator does to a guest is
done by the same methods.
"""

# ruff: noqa: N802, N803 - libvirt's names

import libvirt
from lxml import etree

from tests.fakes import agent as fake_agent
from tests.fakes import backup as fake_backup
from tests.fakes import disk as fake_disk
from tests.fakes import guest as fake_guest
from tests.fakes import refusal

RUNNING = fake_guest.RUNNING
PAUSED = fake_guest.PAUSED
SHUTOFF = fake_guest.SHUTOFF

# Looks at a save until it has ended.
SAVE_LOOKS = 3

JOB_OPERATIONS = {
    'backup': libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP,
    'save': libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE,
    'migration': libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
}


class Metadata:
    """A snapshot or a checkpoint, as libvirt remembers it."""

    def __init__(self, xml: str) -> None:
        self._xml = xml

    def getName(self) -> str:
        return str(etree.fromstring(self._xml).findtext('name'))

    def getXMLDesc(self, flags: int = 0) -> str:
        return self._xml


class FakeDomain(fake_guest.FakeGuest):
    """One domain.

    :ivar save_seconds: how long a save takes whose caller waits
    :ivar save_looks: looks at a save whose caller is gone, until it has
        ended; None is never
    :ivar saved: True for a managed-save image with a paused guest, False
        for one with a running guest, None for no image
    :ivar pauses: how often QEMU has paused it over its scratch file
    :ivar bitmaps: in the file of its root disk, on or off
    :ivar broken_bitmaps: those that QEMU was killed with
    :ivar refuses_checkpoints: libvirt makes none of this disk
    :ivar starts: how often a QEMU process was started for it
    """

    def __init__(self, host: fake_guest.Host, xml: str) -> None:
        super().__init__(host, xml)
        self.uuid = str(etree.fromstring(xml).findtext('uuid'))
        self.id = -1
        self.starts = 0
        self.pauses = 0
        self.is_set_to_autostart = False
        self.snapshots: list[Metadata] = []
        self.checkpoints: list[Metadata] = []
        self.bitmaps: set[str] = set()
        self.broken_bitmaps: set[str] = set()
        self.refuses_checkpoints = False
        self.saved: bool | None = None
        self.has_lost_nvram = False
        self.has_lost_tpm = False
        self.running_job: str | None = None
        self.job_cannot_be_aborted = False
        self.save_looks: int | None = SAVE_LOOKS
        self.save_seconds = 0.0
        self.backup: fake_backup.FakeBackup | None = None
        self.backup_life = fake_backup.BackupLife()
        self._has_io_error = False
        self._why_paused = libvirt.VIR_DOMAIN_PAUSED_UNKNOWN
        self._state_before_save = SHUTOFF
        self._saved_xml: str | None = None
        self._will_open_channel = False
        self._job_looks = 0

    # What it is

    def UUIDString(self) -> str:
        return self.uuid

    def name(self) -> str:
        return str(self.tree.findtext('name'))

    def ID(self) -> int:
        return self.id

    def isActive(self) -> int:
        return int(self.live is not None)

    def isPersistent(self) -> int:
        return int(self.persistent is not None)

    def hasManagedSaveImage(self, flags: int = 0) -> int:
        return int(self.saved is not None)

    def state(self, flags: int = 0) -> list[int]:
        if self.now != PAUSED:
            return [self.now, 0]
        is_full = self.backup is not None and self.backup.is_full
        return [PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR
                if is_full or self._has_io_error else self._why_paused]

    def XMLDesc(self, flags: int = 0) -> str:
        self._look_at_devices()
        inactive = flags & libvirt.VIR_DOMAIN_XML_INACTIVE
        if inactive and self.persistent is not None:
            tree = etree.fromstring(self.persistent)
        elif inactive or self.live is None:
            tree = self.tree
        else:
            tree = self.tree
            tree.set('id', str(self.id))
            self.add_live_parts(tree)
        if not flags & libvirt.VIR_DOMAIN_XML_SECURE:
            for secret in tree.findall('./devices/graphics[@passwd]'):
                del secret.attrib['passwd']
        return etree.tostring(tree, encoding='unicode')

    def _look_at_devices(self) -> None:
        if self.live is not None:
            self.hostdevs.look()

    def info(self) -> list[int]:
        memory = int(self.tree.findtext('memory'))
        return [self.now, memory, memory, int(self.tree.findtext('vcpu')), 0]

    def jobStats(self, flags: int = 0) -> dict[str, int]:
        self.require_running()
        if self.running_job is None:
            return {'type': libvirt.VIR_DOMAIN_JOB_NONE}
        self._job_looks += 1
        if (self.running_job == 'save' and self.save_looks is not None
                and self._job_looks > self.save_looks):
            self._end_save()
        return {'type': libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
                'operation': JOB_OPERATIONS[self.running_job or 'save']}

    def abortJob(self) -> int:
        self.require_running()
        if self.running_job is None:
            raise refusal.invalid('no job is active on the domain')
        if self.job_cannot_be_aborted:
            raise refusal.invalid('the job is about to end')
        if self.backup is not None:
            self.backup.is_ending = True
            return 0
        if self.running_job == 'save':
            # libvirt stops the guest for it, and lets it go on.
            self.now = self._state_before_save
        self.running_job = None
        return 0

    # Its backup job

    def backupBegin(self, backupXML: str, checkpointXML: str | None,
                    flags: int = 0) -> int:
        # Without it libvirt makes the scratch files.
        assert flags == libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL
        self.require_running()
        self._require_no_job()
        if self.mirrors:
            raise refusal.invalid('disk has active block job')
        made = checkpointXML and Metadata(checkpointXML)
        since = etree.fromstring(backupXML).findtext('incremental')
        if since and since not in self._names_of_checkpoints():
            raise refusal.no_checkpoint(since)
        if made and self.refuses_checkpoints:
            raise refusal.invalid('checkpoint for disk unsupported')
        if made and self.snapshots:
            raise refusal.invalid('cannot create checkpoint while snapshot '
                                  'exists')
        self.flush()
        sources = {
            element.find('./target').get('dev'):
                fake_guest.active_layer(element)
            for element in self.tree.findall('./devices/disk')}
        self.backup = fake_backup.begin(backupXML, {
            target: (fake_disk.content(*source),
                     fake_disk.DiskFile.load(source[0]).virtual_size)
            for target, source in sources.items()}, self.backup_life)
        self.running_job = 'backup'
        if made:
            self.checkpoints.append(made)
            self.bitmaps.add(made.getName())
        self.remember_moment()
        return 0

    def backupGetXMLDesc(self, flags: int = 0) -> str:
        self.require_running()
        if self.backup is not None and not self.backup.look():
            self._end_backup()
        if self.backup is None:
            raise refusal.refusal(libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
                                  'Domain backup job id not found: no domain '
                                  'backup job present')
        return self.backup.xml

    def fill_scratch(self) -> None:
        """Let a scratch file be full: the guest's next write waits."""
        assert self.backup is not None
        self.backup.is_full = True
        self.pauses += self.now == RUNNING
        self.now = PAUSED

    def _end_backup(self) -> None:
        if self.backup is not None:
            self._has_io_error = self.backup.is_full and self.now == PAUSED
            self.backup.leave()
            self.backup = None
            self.running_job = None

    def _require_no_job(self) -> None:
        if self.running_job is not None:
            raise refusal.refusal(
                libvirt.VIR_ERR_OPERATION_TIMEOUT,
                'cannot acquire state change lock')

    # Its definition

    def autostart(self) -> int:
        return int(self.is_set_to_autostart)

    def setAutostart(self, autostart: int) -> int:
        if self.persistent is None:
            raise refusal.invalid('cannot set autostart for transient domain')
        self.is_set_to_autostart = bool(autostart)
        return 0

    def undefineFlags(self, flags: int = 0) -> int:
        if self.persistent is None:
            raise refusal.invalid('cannot undefine transient domain')
        if self.saved is not None and not (
                flags & libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE):
            raise refusal.invalid('Refusing to undefine while domain managed '
                                  'save image exists')
        if self.live is None and self.snapshots:
            raise refusal.invalid('cannot delete inactive domain with '
                                  f'{len(self.snapshots)} snapshots')
        if self.live is None and self.checkpoints:
            raise refusal.invalid('cannot delete inactive domain with '
                                  f'{len(self.checkpoints)} checkpoints')
        self._undefine_nvram(flags)
        if not flags & libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM:
            self.has_lost_tpm = self.tree.find('./devices/tpm') is not None
        self.persistent = None
        self.is_set_to_autostart = False
        self.saved = None
        self._vanish_if_nothing_is_left()
        return 0

    def _names_of_checkpoints(self) -> list[str]:
        return [one.getName() for one in self.checkpoints]

    def delete_checkpoint(self, metadata: Metadata, flags: int) -> int:
        """Do what the method of a checkpoint does."""
        if metadata not in self.checkpoints:
            raise refusal.no_checkpoint(metadata.getName())
        name = metadata.getName()
        if not flags & libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY:
            if self.live is None:
                raise refusal.refusal(
                    libvirt.VIR_ERR_OPERATION_UNSUPPORTED, 'cannot delete '
                    'checkpoint for inactive domain')
            if name not in self.bitmaps:
                raise refusal.refusal(
                    libvirt.VIR_ERR_INTERNAL_ERROR,
                    f"bitmap '{name}' not found in backing chain")
            self.bitmaps.discard(name)
            self.broken_bitmaps.discard(name)
        self.checkpoints.remove(metadata)
        return 0

    def _undefine_nvram(self, flags: int) -> None:
        if self.tree.find('./os/nvram') is None:
            return
        if flags & libvirt.VIR_DOMAIN_UNDEFINE_NVRAM:
            self.has_lost_nvram = True
        elif not flags & libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM:
            raise refusal.invalid('cannot undefine domain with nvram')

    def define(self, xml: str) -> None:
        """Take a new definition, as defineXML of the connection does."""
        if self._host.refuses_define_during_job and self.mirrors:
            raise refusal.invalid('domain has active block job')
        self.persistent = xml

    def listAllSnapshots(self, flags: int = 0) -> list[Metadata]:
        return list(self.snapshots)

    def listAllCheckpoints(self, flags: int = 0) -> list[Metadata]:
        return list(self.checkpoints)

    def snapshotCreateXML(self, xmlDesc: str, flags: int = 0) -> Metadata:
        if flags & libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY:
            assert flags & libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            self._snapshot_disk(etree.fromstring(xmlDesc).find('.//disk'))
            return Metadata(xmlDesc)
        return self._redefine(self.snapshots, xmlDesc, flags
                              == libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)

    def _snapshot_disk(self, disk: etree._Element) -> None:
        """Put an overlay over a disk: the guest goes on in it."""
        if self.mirrors:
            raise refusal.refusal(libvirt.VIR_ERR_BLOCK_COPY_ACTIVE,
                                  'block copy still active')
        overlay = disk.find('./source').get('file')
        self.put_overlay(disk.get('name'), overlay)
        for name in ('live', 'persistent'):
            xml = getattr(self, name)
            if xml is not None:
                setattr(self, name, fake_guest.with_disk(
                    xml, disk.get('name'), overlay, 'qcow2'))
        if self.live is not None:
            self.find_layers()

    def checkpointCreateXML(self, xmlDesc: str,
                            flags: int = 0) -> Metadata:
        name = Metadata(xmlDesc).getName()
        validates = libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
        if flags & validates and (self.live is None or name
                                  not in self.bitmaps - self.broken_bitmaps):
            raise refusal.refusal(
                libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT, 'checkpoint '
                f"inconsistent: missing or broken bitmap '{name}'")
        return self._redefine(
            self.checkpoints, xmlDesc, flags & ~validates
            == libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE)

    def _redefine(self, known: list[Metadata], xml: str,
                  redefines: bool) -> Metadata:
        assert redefines, 'this guest has no use for a real snapshot'
        made = Metadata(xml)
        assert made.getName() not in [one.getName() for one in known]
        known.append(made)
        return made

    # Its life

    def create(self) -> int:
        return self.createWithFlags(0)

    def createWithFlags(self, flags: int = 0) -> int:
        if self.live is not None:
            raise refusal.invalid('domain is already running')
        self.live = (
            self.persistent if self.saved is None
            else fake_guest.without_missing_discs(self._saved_xml))
        self.id = self._host.next_id()
        self.starts += 1
        if self.saved is None:
            self.agent.frozen = False
        paused = bool(self.saved or flags & libvirt.VIR_DOMAIN_START_PAUSED)
        self.now = PAUSED if paused else RUNNING
        if paused and self.agent.channel == fake_agent.Channel.CONNECTED:
            # Its channel opens when it runs.
            self.agent.channel = fake_agent.Channel.DISCONNECTED
            self._will_open_channel = True
        self._why_paused = (
            libvirt.VIR_DOMAIN_PAUSED_USER if self.saved is None
            else libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
        self.saved = None
        self.find_layers()
        self.hostdevs.start()
        return 0

    def managedSave(self, flags: int = 0) -> int:
        self.begin_save()
        self._host.clock.sleep(self.save_seconds)
        if self.running_job is None:
            raise refusal.refusal(
                libvirt.VIR_ERR_OPERATION_ABORTED, 'operation aborted: job '
                "'domain save' canceled by client")
        self._end_save()
        return 0

    def begin_save(self) -> None:
        """Begin to save: this goes on without its caller."""
        self.require_running()
        if self.persistent is None:
            raise refusal.invalid('cannot do managed save for transient '
                                  'domain')
        if self.mirrors:
            raise refusal.invalid('domain has active block job')
        if self.hostdevs.facts():
            raise refusal.invalid("cannot migrate domain: VFIO device doesn't "
                                  'support migration')
        self._require_no_job()
        self._state_before_save = self.now
        self.now = PAUSED
        self.running_job = 'save'
        self._job_looks = 0

    def _end_save(self) -> None:
        self.running_job = None
        self.remember_moment()
        saved = self._state_before_save == PAUSED
        self._saved_xml = self.live
        self._end_process()
        self.saved = saved

    def suspend(self) -> int:
        self.require_running()
        self.now = PAUSED
        self._why_paused = libvirt.VIR_DOMAIN_PAUSED_USER
        return 0

    def resume(self) -> int:
        self.require_running()
        if self.backup is None or not self.backup.is_full:
            self.now = RUNNING
            self._has_io_error = False
            self._open_channel()
        return 0

    def _open_channel(self) -> None:
        """Let libvirt find the agent; while a backup job runs it does not.

        :source: libvirt src/qemu/qemu_driver.c processSerialChangedEvent
        """
        if self._will_open_channel and self.backup is None:
            self.agent.channel = fake_agent.Channel.CONNECTED
        self._will_open_channel = False

    def shutdown(self) -> int:
        """Ask the guest to end; it does so at once."""
        self.require_running()
        return self.destroy()

    def destroyFlags(self, flags: int = 0) -> int:
        return self.destroy()

    def destroy(self) -> int:
        self.require_running()
        self.agent.frozen = False
        self._end_process()
        self._vanish_if_nothing_is_left()
        return 0

    def _end_process(self) -> None:
        self.flush()
        for mirror in self.mirrors.values():
            mirror.leave_delta(whole=False)
        self.mirrors.clear()
        self._end_backup()
        self.running_job = None
        self._has_io_error = False
        self.live = None
        self.id = -1
        self.now = SHUTOFF

    def _vanish_if_nothing_is_left(self) -> None:
        if self.live is None and self.persistent is None:
            del self._host.domains[self.uuid]
