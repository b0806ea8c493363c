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

"""The backup job of a domain: its disks at one moment, to be read over NBD.

The guest writes on. What it overwrites is kept in a scratch file a disk, so
the job may last as long as there is room for that.
"""

import libvirt

from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from nova_snap.model import backup as backup_model

# Seconds. To close files and a socket takes QEMU some milliseconds, or its
# storage hangs. But libvirt handles one event after the other, and may first
# have to give up, after half a minute, that of a channel of the guest.
# :source: libvirt src/qemu/qemu_driver.c processSerialChangedEvent;
# src/conf/virdomainjob.c virDomainObjBeginJobInternal
END_TIMEOUT = 60.0
FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.5


class BackupJob(connection_module.OfDomain):
    """The one backup job that a domain can have."""

    def begin(self, backup: backup_model.Backup,
              checkpoint: str | None = None) -> None:
        """Start it: this is the point in time of all its disks.

        The scratch files are there: libvirt takes longer where it has to
        make them.

        :param checkpoint: the XML of one to make at the same moment
        :source: virDomainBackupBegin
        """
        self._call('backupBegin', backup_model.begin_xml(backup), checkpoint,
                   libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)

    def running(self) -> backup_model.Backup | None:
        """Return the job that runs, also one that is not ours.

        :source: virDomainBackupGetXMLDesc
        """
        try:
            xml = self._call('backupGetXMLDesc', 0)
        except errors.HypervisorError as exc:
            if exc.code in (libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
                            libvirt.VIR_ERR_OPERATION_INVALID):
                # Without a QEMU process there is none, either.
                return None
            raise
        return backup_model.parse(xml)

    def end(self, socket: str) -> None:
        """End the job with this socket, if it runs.

        :raises BackupFailed: when it has not ended in time; it still may
        :source: virDomainAbortJob; libvirt src/qemu/qemu_backup.c
            qemuBackupJobCancelBlockjobs
        """
        if not self._is_running(socket):
            return
        try:
            self._call('abortJob')
        except errors.HypervisorError:
            # It may have ended between the look and the call.
            if self._is_running(socket):
                raise
        for _ in self._connection.clock.looks(
                END_TIMEOUT, first_pause=FIRST_LOOK_SECONDS,
                longest_pause=LONGEST_LOOK_SECONDS):
            if not self._is_running(socket):
                return
        raise errors.BackupFailed(
            instance=self.uuid,
            reason=f'it has not ended {END_TIMEOUT:.0f} s after it was told '
                   'to; does the storage of snapshots_directory hang?')

    def _is_running(self, socket: str) -> bool:
        found = self.running()
        return found is not None and found.socket == socket
