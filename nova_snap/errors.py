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

"""Every error that leaves nova_snap, in one tree.

::

    SnapError
    +-- Refused                    the plan says no; nothing was touched
    |   +-- InstanceNotFound
    |   +-- InstanceBusy           another operation holds the instance
    |   +-- NotEnoughSpace
    |   `-- Unsupported            a guest or a disk we cannot snapshot
    |       `-- QuiesceImpossible  no agent that could freeze it
    +-- HypervisorError            libvirt said no
    |   +-- DomainGone
    |   +-- QuiesceFailed
    |   |   `-- ThawFailed
    |   +-- HostdevStuck           a guest does not release a device
    |   +-- HostdevLost            and one that did not get it back
    |   +-- ManagedSaveFailed
    |   +-- BackupFailed           the job that holds the disks
    |   `-- MirrorFailed
    |       +-- MirrorTimeout
    |       `-- BlockJobLost
    +-- StorageError               a file, a file system or qemu-img
    |   +-- SpaceReserveReached    less is free than is left to the guests
    |   +-- ImageUnsafe            a finished file that refers to another
    |   `-- ExportFailed           a disk that is read over NBD
    +-- ServiceError               one of OpenStack's services
    |   +-- ImageServiceError      Glance
    |   |   +-- ImageServiceUnavailable (Retriable)
    |   |   |   `-- ImageStuck     Glance does not let go of it
    |   |   +-- ImageServiceRefused    credentials, roles
    |   |   +-- ImageQuotaExceeded
    |   |   +-- ImageGone
    |   |   `-- ImageCorrupt       Glance has other bytes than we sent
    |   `-- VolumeServiceError     Cinder
    |       +-- VolumeServiceAbsent    this cloud has none that is known
    |       +-- VolumeServiceUnavailable (Retriable)
    |       +-- VolumeServiceRefused   credentials, roles
    |       +-- VolumeQuotaExceeded
    |       +-- VolumeGone         a volume or a snapshot of one
    |       `-- VolumeSnapshotFailed   it was not made, or not removed
    +-- Cancelled                  it was to stop
    +-- ConfigError                an option that cannot be used
    +-- InstanceLocked             another process or thread holds the lock
    +-- JournalError
    |   `-- JournalUnknownVersion
    +-- UndoFailed                 a step could not be undone at once
    `-- RollbackIncomplete         something is left; its record says what

A class carries the message, an instance carries the facts, each in a field of
its own type. A message names the thing and, where there is one, the remedy.
"""

import dataclasses
import typing as ty

from nova_snap import units


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class SnapError(Exception):
    """The base of all errors of this package.

    A class that adds a field is a dataclass again, with the same arguments.

    :ivar reason: why, in words; '' where the other fields say it all
    """

    template: ty.ClassVar[str] = '%(reason)s'

    reason: str

    def __post_init__(self) -> None:
        """Make the message, which is what ``str()`` returns."""
        super().__init__(self.template % self._words())

    def _words(self) -> dict[str, ty.Any]:
        """Return what the template is filled with."""
        return {field.name: getattr(self, field.name)
                for field in dataclasses.fields(self)}


class Retriable(SnapError):
    """The same call may succeed when it is made again."""


class Refused(SnapError):
    """The plan says no: the guest and the image service are untouched."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class InstanceNotFound(Refused):
    """No domain has this name or UUID."""

    template = ('No instance %(instance)s in libvirt at %(uri)s: '
                '"nova-snap list" shows those that are there')

    instance: str
    uri: str
    reason: str = dataclasses.field(init=False, default='')


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class InstanceBusy(Refused):
    """Another operation holds the instance."""

    template = 'Instance %(instance)s is busy: %(reason)s'

    instance: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class NotEnoughSpace(Refused):
    """The file system has not the room that the snapshot needs.

    :ivar needed_bytes: that the snapshot writes
    :ivar reserved_bytes: of those that are free, for other snapshots that
        are under way
    :ivar reserve_bytes: of those that are free, for the guests
    :ivar remedy: a sentence
    """

    template = ('%(path)s has %(free)s free, of which %(reserved)s are for '
                'other snapshots under way and %(reserve)s stay free '
                '([nova_snap]space_reserve), and the snapshot needs '
                '%(needed)s: %(missing)s are missing. %(remedy)s')

    path: str
    free_bytes: int
    needed_bytes: int
    reserved_bytes: int
    reserve_bytes: int
    remedy: str
    reason: str = dataclasses.field(init=False, default='')

    def _words(self) -> dict[str, ty.Any]:
        return {'path': self.path, 'remedy': self.remedy,
                'free': units.format_bytes(self.free_bytes),
                'needed': units.format_bytes(self.needed_bytes),
                'reserved': units.format_bytes(self.reserved_bytes),
                'reserve': units.format_bytes(self.reserve_bytes),
                'missing': units.format_bytes(
                    self.needed_bytes + self.reserved_bytes
                    + self.reserve_bytes - self.free_bytes)}


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Unsupported(Refused):
    """This guest, or its disk, cannot be snapshotted."""

    template = 'Instance %(instance)s cannot be snapshotted: %(reason)s'

    instance: str


class QuiesceImpossible(Unsupported):
    """It has to be frozen, and no agent in it can be asked."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class HypervisorError(SnapError):
    """libvirt said no.

    :ivar instance: its name or UUID, or libvirt's address where no domain is
        meant
    :ivar call: libvirt's name of what was asked; '' where nothing was
    :ivar code: libvirt's number of the error
    """

    template = 'libvirt refused %(call)s for %(instance)s: %(reason)s'

    instance: str
    call: str = ''
    code: int | None = None


class DomainGone(HypervisorError):
    """libvirt does not know the domain, or does not know it any more."""

    template = 'Instance %(instance)s is gone from libvirt (at %(call)s)'


class QuiesceFailed(HypervisorError):
    """The guest was not frozen, or not to the end."""

    template = ('The file systems of %(instance)s could not be frozen: '
                '%(reason)s')


class ThawFailed(QuiesceFailed):
    """The guest's agent did not thaw: the guest may be frozen still."""

    template = ('The file systems of %(instance)s could not be thawed: '
                '%(reason)s. When its agent answers again run "virsh '
                'domfsthaw %(instance)s"; "virsh reset %(instance)s" boots '
                'a guest whose agent does not')


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class HostdevStuck(HypervisorError):
    """A guest does not release a device."""

    template = ('Device %(hostdev)s is not released by %(instance)s: '
                '%(reason)s')

    hostdev: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class HostdevLost(HypervisorError):
    """A guest did not get a device back."""

    template = ('Device %(hostdev)s could not be given back to '
                '%(instance)s: %(reason)s')

    hostdev: str


class ManagedSaveFailed(HypervisorError):
    """libvirt did not save the guest's memory; the guest goes on."""

    template = 'The memory of %(instance)s could not be saved: %(reason)s'


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class MirrorFailed(HypervisorError):
    """The copy of a disk is not the disk."""

    template = ('The copy of disk %(target_dev)s of %(instance)s failed: '
                '%(reason)s')

    target_dev: str


class MirrorTimeout(MirrorFailed):
    """The copy was late, or stood still."""


class BlockJobLost(MirrorFailed):
    """The copy job is not there any more."""


class BackupFailed(HypervisorError):
    """The backup job did not start, or its disks cannot be read any more."""

    template = 'The backup job of %(instance)s failed: %(reason)s'


class StorageError(SnapError):
    """A file, a file system or qemu-img did not do it."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class SpaceReserveReached(StorageError):
    """The snapshot was given up before it took the room of the guests."""

    template = ('The snapshot was given up: %(path)s has only %(free)s free, '
                'and [nova_snap]space_reserve leaves %(reserve)s to the '
                'guests. Free some, or put snapshots_directory on a file '
                'system of its own')

    path: str
    free_bytes: int
    reserve_bytes: int
    reason: str = dataclasses.field(init=False, default='')

    def _words(self) -> dict[str, ty.Any]:
        return {'path': self.path,
                'free': units.format_bytes(self.free_bytes),
                'reserve': units.format_bytes(self.reserve_bytes)}


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class ImageUnsafe(StorageError):
    """A finished file is not whole in itself."""

    template = 'The finished image %(path)s is not accepted: %(reason)s'

    path: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class ExportFailed(StorageError):
    """A disk cannot be read over NBD.

    :ivar path: of the server's unix socket
    :ivar export: the name of the disk there; '' is the default one
    """

    template = ('The disk "%(export)s" cannot be read over NBD from '
                '%(path)s: %(reason)s')

    path: str
    export: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class ServiceError(SnapError):
    """One of OpenStack's services said no.

    :ivar call: what was asked, in an operator's words
    :ivar status: that of HTTP; None when there was no answer
    """

    call: str
    status: int | None = None


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class ImageServiceError(ServiceError):
    """Glance said no, or Keystone before it.

    :ivar image_id: where one image is meant
    :ivar service: which of the two
    """

    template = '%(service)s failed at %(call)s: %(reason)s'

    image_id: str | None = None
    service: str = 'Glance'


class ImageServiceUnavailable(ImageServiceError, Retriable):
    """Glance stays silent, or says that it may answer later."""

    template = ('%(service)s does not answer at %(call)s: %(reason)s. Is the '
                'endpoint right, and does the service run?')


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class ImageStuck(ImageServiceUnavailable):
    """Glance does not let go of an image whose upload ended.

    :ivar image_status: which the image keeps
    """

    template = ('Image %(image_id)s stays %(image_status)s after its upload '
                'ended, as when a worker of Glance was killed: %(reason)s')

    image_status: str


class ImageServiceRefused(ImageServiceError):
    """The credentials are not allowed to do this."""

    template = '%(service)s refuses %(call)s: %(reason)s'


class ImageQuotaExceeded(ImageServiceError):
    """The project, or the store, has no room for the image."""

    template = 'Glance is out of quota or space: %(reason)s'


class ImageGone(ImageServiceError):
    """The image is not there any more."""

    template = 'Image %(image_id)s was deleted in Glance while it was made'


class ImageCorrupt(ImageServiceError):
    """Glance has other bytes than were sent."""

    template = ('Image %(image_id)s in Glance is not what was sent: '
                '%(reason)s')


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class VolumeServiceError(ServiceError):
    """Cinder said no, or Keystone before it.

    :ivar service: which of the two
    """

    template = '%(service)s failed at %(call)s: %(reason)s'

    service: str = 'Cinder'


class VolumeServiceAbsent(VolumeServiceError):
    """This cloud has no Cinder, or nothing says where it is."""

    template = 'No Cinder is known: %(reason)s'


class VolumeServiceUnavailable(VolumeServiceError, Retriable):
    """Cinder stays silent, or says that it may answer later."""

    template = ('%(service)s does not answer at %(call)s: %(reason)s. Is the '
                'endpoint right, and does the service run?')


class VolumeServiceRefused(VolumeServiceError):
    """The credentials are not allowed to do this."""

    template = '%(service)s refuses %(call)s: %(reason)s'


class VolumeQuotaExceeded(VolumeServiceError):
    """The project is not allowed another snapshot."""

    template = 'Cinder is out of quota at %(call)s: %(reason)s'


class VolumeGone(VolumeServiceError):
    """There is no such volume, or no such snapshot."""

    template = 'Cinder knows nothing of what %(call)s is about: %(reason)s'


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class VolumeSnapshotFailed(VolumeServiceError):
    """Cinder could not make a snapshot, or not remove it."""

    template = ('The snapshot %(snapshot_id)s of volume %(volume_id)s '
                'failed: %(reason)s')

    snapshot_id: str
    volume_id: str


class Cancelled(SnapError):
    """The one who asked for the snapshot, or the service, stops it."""

    template = 'The snapshot was cancelled: %(reason)s'


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class ConfigError(SnapError):
    """An option cannot be used.

    :ivar option: with its group: ``[libvirt]virt_type``
    """

    template = 'Option %(option)s: %(reason)s'

    option: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class InstanceLocked(SnapError):
    """Another process, or another thread, holds the lock of an instance."""

    template = 'Instance %(instance)s is held: %(reason)s'

    instance: str


class JournalError(SnapError):
    """The journal, or one record of it, cannot be used."""


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class JournalUnknownVersion(JournalError):
    """Another release wrote a record."""

    template = ('Record %(path)s has the unknown format version %(version)s '
                'and is left alone')

    path: str
    version: object
    reason: str = dataclasses.field(init=False, default='')


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class UndoFailed(SnapError):
    """A step could not be undone where it should; it is tried once more."""

    template = '%(step)s could not be undone: %(reason)s'

    step: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class RollbackIncomplete(SnapError):
    """Something could not be put back; the journal's record stays.

    :ivar undone: what, and why not
    :ivar record: the id of the record
    """

    template = ('%(reason)s. Not undone: %(undone)s. The record %(record)s '
                'is kept: mend the cause, then run "nova-snap recover"')

    undone: str
    record: str
