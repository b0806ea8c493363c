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
    +-- HypervisorError            libvirt said no
    |   +-- DomainGone
    |   +-- QuiesceFailed
    |   +-- HostdevStuck           a guest does not release a device
    |   +-- HostdevLost            and one that did not get it back
    |   +-- ManagedSaveFailed
    |   `-- MirrorFailed
    |       +-- MirrorTimeout
    |       `-- BlockJobLost
    +-- StorageError               a file, a file system or qemu-img
    |   `-- ImageUnsafe            a finished file that refers to another
    +-- ImageServiceError          Glance
    |   +-- ImageServiceUnavailable (Retriable)
    |   +-- ImageServiceRefused    credentials, roles
    |   +-- ImageQuotaExceeded
    |   +-- ImageGone
    |   `-- ImageCorrupt           Glance has other bytes than we sent
    +-- VolumeServiceError         Cinder
    |   +-- VolumeServiceAbsent    this cloud has none, or nothing says where
    |   +-- VolumeServiceUnavailable (Retriable)
    |   +-- VolumeServiceRefused   credentials, roles
    |   +-- VolumeQuotaExceeded
    |   +-- VolumeGone             a volume or a snapshot of one
    |   `-- VolumeSnapshotFailed   Cinder could not make it, or not remove it
    +-- Cancelled                  whoever asked for it stops
    +-- ConfigError                an option that cannot be used
    +-- JournalError
    |   `-- JournalUnknownVersion
    +-- UndoFailed                 a hold could not be let go at once
    `-- RollbackIncomplete         something is left; its record says what

A class carries the message, an instance carries the facts: the keyword
arguments fill the template and stay readable as attributes. A message names
the thing and, where there is one, the remedy.
"""

import typing as ty


class SnapError(Exception):
    """The base of all errors of this package."""

    template = '%(reason)s'

    def __init__(self, **facts: ty.Any) -> None:
        self.facts = facts
        super().__init__(self.template % facts)

    def __getattr__(self, name: str) -> ty.Any:
        try:
            return self.__dict__['facts'][name]
        except KeyError:
            raise AttributeError(name) from None


class Retriable(SnapError):
    """The same call may succeed when it is made again."""


class Refused(SnapError):
    """The plan says no: the guest and the image service are untouched."""


class InstanceNotFound(Refused):
    template = ('No instance %(instance)s in libvirt at %(uri)s: '
                '"nova-snap list" shows those that are there')


class InstanceBusy(Refused):
    template = 'Instance %(instance)s is busy: %(reason)s'


class NotEnoughSpace(Refused):
    template = ('%(path)s has %(free)s free and the snapshot may need '
                '%(needed)s: %(missing)s are missing. %(remedy)s')


class Unsupported(Refused):
    template = 'Instance %(instance)s cannot be snapshotted: %(reason)s'


class HypervisorError(SnapError):
    template = 'libvirt refused %(call)s for %(instance)s: %(reason)s'


class DomainGone(HypervisorError):
    template = 'Instance %(instance)s is gone from libvirt (at %(call)s)'


class QuiesceFailed(HypervisorError):
    template = ('The file systems of %(instance)s could not be frozen: '
                '%(reason)s')


class HostdevStuck(HypervisorError):
    template = ('Device %(hostdev)s is not released by %(instance)s: '
                '%(reason)s')


class HostdevLost(HypervisorError):
    template = ('Device %(hostdev)s could not be given back to '
                '%(instance)s: %(reason)s')


class ManagedSaveFailed(HypervisorError):
    template = 'The memory of %(instance)s could not be saved: %(reason)s'


class MirrorFailed(HypervisorError):
    template = ('The copy of disk %(target_dev)s of %(instance)s failed: '
                '%(reason)s')


class MirrorTimeout(MirrorFailed):
    pass


class BlockJobLost(MirrorFailed):
    pass


class StorageError(SnapError):
    pass


class ImageUnsafe(StorageError):
    template = 'The finished image %(path)s is not accepted: %(reason)s'


class ImageServiceError(SnapError):
    template = 'Glance failed at %(call)s: %(reason)s'


class ImageServiceUnavailable(ImageServiceError, Retriable):
    template = ('Glance does not answer at %(call)s: %(reason)s. Is the '
                'endpoint right, and does the service run?')


class ImageServiceRefused(ImageServiceError):
    template = ('Glance refuses %(call)s: %(reason)s. The credentials need '
                'a role that may do this')


class ImageQuotaExceeded(ImageServiceError):
    template = 'Glance is out of quota or space: %(reason)s'


class ImageGone(ImageServiceError):
    template = 'Image %(image_id)s was deleted in Glance while it was made'


class ImageCorrupt(ImageServiceError):
    template = ('Image %(image_id)s in Glance is not what was sent: '
                '%(reason)s')


class VolumeServiceError(SnapError):
    template = 'Cinder failed at %(call)s: %(reason)s'


class VolumeServiceAbsent(VolumeServiceError):
    template = 'No Cinder is known: %(reason)s'


class VolumeServiceUnavailable(VolumeServiceError, Retriable):
    template = ('Cinder does not answer at %(call)s: %(reason)s. Is the '
                'endpoint right, and does the service run?')


class VolumeServiceRefused(VolumeServiceError):
    template = ('Cinder refuses %(call)s: %(reason)s. The credentials need '
                'a role that may do this')


class VolumeQuotaExceeded(VolumeServiceError):
    template = 'Cinder is out of quota at %(call)s: %(reason)s'


class VolumeGone(VolumeServiceError):
    template = 'Cinder knows nothing of what %(call)s is about: %(reason)s'


class VolumeSnapshotFailed(VolumeServiceError):
    template = ('The snapshot %(snapshot_id)s of volume %(volume_id)s '
                'failed: %(reason)s')


class Cancelled(SnapError):
    template = 'The snapshot was cancelled: %(reason)s'


class ConfigError(SnapError):
    template = 'Option %(option)s: %(reason)s'


class JournalError(SnapError):
    pass


class JournalUnknownVersion(JournalError):
    template = ('Record %(path)s has the unknown format version %(version)s '
                'and is left alone')


class UndoFailed(SnapError):
    """A hold could not be let go where it should; it is tried once more."""

    template = '%(step)s could not be undone: %(reason)s'


class RollbackIncomplete(SnapError):
    """Something could not be put back; the journal's record stays."""

    template = ('%(reason)s. Not undone: %(undone)s. The record %(record)s '
                'is kept: mend the cause, then run "nova-snap recover"')
