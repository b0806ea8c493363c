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

"""Our errors in Nova's words.

A tenant reads the message of what the driver raises as the fault of the
instance: it says what happened, and nothing of this host. The rest is in
nova-compute's log.

:source: nova/compute/utils.py exception_to_dict
"""

import collections.abc as cabc
import contextlib

from nova import exception
from oslo_log import log as logging

from nova_snap.driver import features
from nova_snap import errors

LOG = logging.getLogger(__name__)

# What a tenant reads; the first class that fits, so the narrow ones first.
# Of a guest that has gone off for a moment without a definition.
OFF = 'its guest was switched off while the snapshot was taken'
NO_ROOM = 'its host has not enough room for the image'

_TOLD: tuple[tuple[type[errors.SnapError], str], ...] = (
    (errors.InstanceBusy, 'another operation on its disk is under way'),
    (errors.NotEnoughSpace, NO_ROOM),
    (errors.SpaceReserveReached, NO_ROOM),
    (errors.QuiesceImpossible, 'its guest agent cannot be asked'),
    (errors.Unsupported, 'it cannot be snapshotted as it is'),
    (errors.Cancelled, 'the compute service was stopped; the guest is as it '
                       'was'),
    (errors.QuiesceFailed, 'its guest agent did not do it'),
    (errors.HostdevStuck, 'its guest did not release a passed-through device'),
    (errors.HostdevLost, 'a passed-through device could not be given back'),
    (errors.MirrorFailed, 'its disk could not be copied'),
    (errors.ManagedSaveFailed, 'its memory could not be saved'),
    (errors.ImageCorrupt, 'the image service has not what was sent to it'),
    (errors.ImageServiceError, 'the image service did not take the image'),
    (errors.StorageError, 'the image could not be written on its host'),
    (errors.SnapError, 'an error on its host'),
)


class SnapshotFailed(exception.NovaException):
    """A snapshot failed for a reason that Nova has no exception for."""

    msg_fmt = 'The snapshot of instance %(instance_id)s failed: %(reason)s'


@contextlib.contextmanager
def in_novas_words(instance_id: str, image_id: str, *,
                   has_domain: cabc.Callable[[], bool]) -> (
                       cabc.Iterator[None]):
    """Turn our errors into those that nova-compute knows what to do with.

    :param has_domain: tells whether libvirt has the domain now
    :raises InstanceNotRunning: when there was no domain to begin with
    :raises InstanceNotFound: when it has disappeared since, and not come back
    :raises ImageNotFound: when the image was deleted since
    :raises InstanceQuiesceFailed: when file systems had to be frozen
    :raises ImageNotAuthorized, ImageQuotaExceeded: when Glance says so
    :raises SnapshotFailed: for everything else
    :source: nova/compute/manager.py _snapshot_instance
    """
    try:
        yield
    except errors.SnapError as exc:
        LOG.error('The snapshot of instance %s failed: %s', instance_id, exc)
        raise _translated(exc, instance_id, image_id, has_domain) from exc


@contextlib.contextmanager
def quiesce_in_novas_words() -> cabc.Iterator[None]:
    """Turn what a freeze or a thaw raises into Nova's exception for it.

    :raises InstanceQuiesceFailed: in every case
    """
    try:
        yield
    except errors.SnapError as exc:
        LOG.error('%s', exc)
        raise features.quiesce_failed(_told(exc)) from exc


def _translated(exc: errors.SnapError, instance_id: str, image_id: str,
                has_domain: cabc.Callable[[], bool]) -> (
                    exception.NovaException):
    # What could not be cleaned up is in its record; Nova reads why the
    # snapshot failed in the first place.
    cause = exc
    while isinstance(cause, (errors.RollbackIncomplete, errors.UndoFailed)):
        why = cause.__cause__
        if isinstance(why, exception.NovaException):
            return why
        if not isinstance(why, errors.SnapError):
            break
        cause = why
    instance = {'instance_id': instance_id}
    if isinstance(cause, errors.DomainGone) and has_domain():
        # It switched itself off while it was undefined, and we have defined
        # it again. Told that it is not found, Nova would do nothing at all.
        return SnapshotFailed(**instance, reason=OFF)
    if isinstance(cause, (errors.QuiesceFailed, errors.QuiesceImpossible)):
        return features.quiesce_failed(_told(cause))
    image = {'image_id': image_id}
    for kind, novas, facts in (
            (errors.InstanceNotFound, exception.InstanceNotRunning, instance),
            (errors.DomainGone, exception.InstanceNotFound, instance),
            (errors.ImageGone, exception.ImageNotFound, image),
            (errors.ImageServiceRefused, exception.ImageNotAuthorized, image),
            (errors.ImageQuotaExceeded, exception.ImageQuotaExceeded, image)):
        if isinstance(cause, kind):
            return novas(**facts)
    return SnapshotFailed(**instance, reason=_told(cause))


def _told(exc: errors.SnapError) -> str:
    return next(words for kind, words in _TOLD if isinstance(exc, kind))
