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

"""Decide how an instance whose root disk is a Cinder volume is snapshotted.

As in :mod:`nova_snap.model.plan.local` nothing here asks the world. Cinder
makes the snapshots; what happens on the node is the freeze around them.
"""

import collections.abc as cabc
import dataclasses

from nova_snap import errors
from nova_snap.model import block_device
from nova_snap.model import domain as domain_model
from nova_snap.model import nova as nova_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import freeze as freeze_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import remedy
from nova_snap.model import request as request_model
from nova_snap.model import volumes as volumes_model
from nova_snap import units

State = domain_model.State
AttachedVolume = block_device.AttachedVolume

# Cinder makes snapshots of no others, also when it is forced.
# :source: cinder/volume/api.py create_snapshot_in_db
SNAPSHOT_STATES = frozenset({'available', 'in-use'})
# What Nova gives an image without data.
# :source: nova/image/glance.py GlanceImageServiceV2.create
IMAGE_FORMAT = 'raw'
CONTAINER_FORMAT = 'bare'


@dataclasses.dataclass(frozen=True)
class VolumeFacts:
    """Everything such a plan is made from.

    :ivar guest: without the chain of its root disk and its sizes, which are
        Cinder's
    :ivar volumes: the root disk comes first
    :ivar local_sizes: bytes, by target, of the disks that are no volumes
    :ivar project_id: the project in which Cinder is asked; None where the
        credentials name none
    """

    guest: plan_model.Facts
    volumes: tuple[AttachedVolume, ...]
    local_sizes: cabc.Mapping[str, int]
    limits: volumes_model.SnapshotLimits
    project_id: str | None


@dataclasses.dataclass(frozen=True)
class VolumePlan:
    """What will be done to a guest and its volumes.

    :ivar wants_freeze: the guest's file systems are frozen through the agent
    :ivar requires_freeze: and the snapshot fails when they cannot be
    :ivar nova: what Nova wrote into the domain
    :ivar image: the one that names the snapshots
    :ivar project_id: where the snapshots are made; None where that is not
        known
    :ivar volumes: the root disk comes first
    :ivar local_entries: of the image's mapping, of disks that are no volumes
    :ivar remarks: what the operator should know before it starts
    """

    instance_uuid: str
    instance_name: str
    state: State
    qemu_id: int
    wants_freeze: bool
    requires_freeze: bool
    has_managed_save: bool
    nova: nova_model.NovaMetadata
    image: request_model.RequestedImage
    project_id: str | None
    volumes: tuple[AttachedVolume, ...]
    local_entries: tuple[block_device.Entry, ...]
    remarks: tuple[str, ...]
    method: plan_model.Method = plan_model.Method.VOLUMES

    def sentences(self) -> tuple[str, ...]:
        """Say, one line each, what will happen."""
        frozen = {(False, False): 'its file systems are not frozen',
                  (True, False): 'its file systems are frozen until then if '
                                 'the guest agent answers',
                  (True, True): 'its file systems are frozen until then'}
        return (
            f'snapshot of the volumes of {self.instance_name} '
            f'({self.instance_uuid}), which is {self.state}',
            *(f'disk {one.disk.target_dev}: volume {one.volume.volume_id}, '
              f'{one.volume.size_gib} GiB' for one in self.volumes),
            'Cinder makes a snapshot of each; '
            + frozen[self.wants_freeze, self.requires_freeze],
            'the image has no data: it names the snapshots, and goes with '
            '"nova-snap image-delete"',
            *self.remarks)

    def mapping(self, snapshot_ids: cabc.Sequence[str]) -> (
            list[block_device.Entry]):
        """Return the image's mapping.

        :param snapshot_ids: one for each volume, in their order
        """
        return [*self.local_entries,
                *(block_device.of_volume(one, self.instance_uuid, snapshot,
                                         is_root=one is self.volumes[0])
                  for one, snapshot in zip(self.volumes, snapshot_ids,
                                           strict=True))]

    @property
    def root_device_name(self) -> str:
        """Return the name of the root disk as Nova has it."""
        root = self.volumes[0]
        return block_device.device_name(
            root.disk, root.volume.attachments.get(self.instance_uuid, ''))

    @property
    def size_bytes(self) -> int:
        """Return how large the volumes are together."""
        return sum(one.volume.size_gib for one in self.volumes) * units.GiB


def attached_disks(domain: domain_model.Domain) -> (
        tuple[domain_model.Disk, ...]):
    """Return the disks that are volumes, the root disk first.

    :raises Unsupported: when the root disk does not say which volume it is
    """
    root = domain.root_disk
    if root is None or root.volume_id is None:
        disk = 'its root disk' + (f' {root.target_dev}' if root else '')
        raise errors.Unsupported(
            instance=domain.name,
            reason=f'{disk} is a Cinder volume, but neither its serial '
                   'number nor its alias in libvirt says which; use '
                   + remedy.image_of_server(domain.uuid))
    return (root, *(disk for disk in (*domain.disks, *domain.cdroms)
                    if disk.volume_id is not None and disk != root))


def local_disks(domain: domain_model.Domain) -> (
        tuple[domain_model.Disk, ...]):
    """Return the disks whose data will not be in the snapshot."""
    return tuple(disk for disk in domain.disks if disk.volume_id is None
                 and not block_device.is_config_drive(disk))


def refuse_early(request: request_model.Request,
                 facts: plan_model.Facts) -> None:
    """Refuse what needs no Cinder to be refused.

    :raises Refused: when the image cannot be what it is asked to be
    :raises Unsupported: when this guest cannot be snapshotted
    :raises InstanceBusy: when something else is at work on it
    """
    plan_model.refuse_names(request)
    if facts.domain.is_rescued:
        raise _unsupported(facts, disk_plan.in_rescue(facts.domain))
    if any(image.made_by == request_model.Party.NOVA
           for image in request.images):
        raise _unsupported(facts, disk_plan.volume_backed(facts.domain))
    if request.image_format is not None:
        raise _unsupported(
            facts, 'its root disk is a Cinder volume, and the image has no '
                   'data and no format; leave out --format')
    if request.cold:
        raise _unsupported(
            facts, 'its root disk is a Cinder volume, which is snapshotted '
                   'while the guest runs on; leave out --cold')
    plan_model.refuse_if_busy(facts)


def make_plan(request: request_model.Request, facts: VolumeFacts) -> (
        VolumePlan):
    """Decide how the snapshot is taken; :func:`refuse_early` said yes.

    :raises Refused: when the project is not allowed so many snapshots
    :raises Unsupported: when a volume cannot be snapshotted
    """
    guest = facts.guest
    for attached in facts.volumes:
        _refuse_volume(facts, attached)
    _refuse_over_quota(facts)
    wants, requires = _freeze(request, facts)
    (image,) = request.images
    # Only an instance of Nova's is known to be volume-backed.
    assert guest.domain.nova is not None
    local = [(disk, block_device.of_local_disk(
        disk, facts.local_sizes.get(disk.target_dev, 0)))
        for disk in local_disks(guest.domain)]
    return VolumePlan(
        instance_uuid=guest.domain.uuid, instance_name=guest.domain.name,
        state=guest.state, qemu_id=guest.qemu_id, wants_freeze=wants,
        requires_freeze=requires, has_managed_save=guest.has_managed_save,
        nova=guest.domain.nova, image=image,
        project_id=facts.project_id, volumes=facts.volumes,
        local_entries=tuple(entry for _, entry in local if entry),
        remarks=tuple(_remarks(facts, local)))


def _unsupported(facts: plan_model.Facts, reason: str) -> errors.Unsupported:
    return errors.Unsupported(instance=facts.domain.name, reason=reason)


def _refuse_volume(facts: VolumeFacts, attached: AttachedVolume) -> None:
    guest, volume = facts.guest, attached.volume
    what = f'volume {volume.volume_id} (disk {attached.disk.target_dev})'
    if (facts.project_id and volume.project_id
            and volume.project_id != facts.project_id):
        raise _unsupported(
            guest, f'its {what} belongs to project {volume.project_id}, and '
                   f'the snapshot would belong to {facts.project_id}; use '
                   'credentials with the role member in the former')
    if volume.status not in SNAPSHOT_STATES:
        raise _unsupported(
            guest, f'its {what} is {volume.status} in Cinder; wait until it '
                   'is in-use')
    if volume.attachments and guest.domain.uuid not in volume.attachments:
        raise _unsupported(
            guest, f'its {what} is attached to '
                   + ', '.join(volume.attachments) + ' in Cinder, not to it')


def _refuse_over_quota(facts: VolumeFacts) -> None:
    missing = facts.limits.missing(len(facts.volumes))
    nova = facts.guest.domain.nova
    project = facts.project_id or (nova.project_uuid if nova else '')
    if missing:
        raise errors.Refused(
            reason=f'{len(facts.volumes)} snapshots of volumes are needed, '
                   f'and the project has {facts.limits.used} of the '
                   f'{facts.limits.maximum} that its quota in Cinder allows: '
                   f'{missing} too many. Delete some, or raise the quota: '
                   + remedy.command(
                       'openstack', 'quota', 'set', '--snapshots',
                       str(facts.limits.maximum + missing), project))


def _freeze(request: request_model.Request,
            facts: VolumeFacts) -> tuple[bool, bool]:
    """Say whether the guest is frozen around all snapshots, and must be."""
    guest = facts.guest
    method = (plan_model.Method.STOPPED if guest.state == State.SHUTOFF
              else plan_model.Method.VOLUMES)
    wants, requires = freeze_plan.freeze(request, guest, method)
    files = [one.disk.target_dev for one in facts.volumes
             if one.disk.source_type == 'file']
    if not files:
        return wants, requires
    names = ', '.join(files)
    if requires:
        raise _unsupported(
            guest, f'the volumes of its disks {names} are files, which Nova '
                   'snapshots for Cinder, freezing the guest for each by '
                   'itself: not all at one moment, as is asked for')
    if not guest.nova_compute_runs:
        raise _unsupported(
            guest, f'the volumes of its disks {names} are files, which Nova '
                   'snapshots for Cinder, and no nova-compute runs on this '
                   'host; start it')
    return False, False


def _remarks(facts: VolumeFacts, local: cabc.Sequence[
        tuple[domain_model.Disk, block_device.Entry | None]]) -> (
            cabc.Iterator[str]):
    guest = facts.guest
    if guest.nova_compute_runs:
        yield 'this instance belongs to Nova, which does not see this ' \
              'operation'
    if any(one.disk.source_type == 'file' for one in facts.volumes):
        yield 'its volumes are files: Nova freezes the guest for each of ' \
              'them by itself, and they are not of one moment'
    for disk, entry in local:
        if entry is None:
            yield (f'disk {disk.target_dev} is no volume: its data is not '
                   'in the image')
        else:
            yield (f'disk {disk.target_dev} is made empty for each new '
                   'instance: its data is not in the image')
    for one in facts.volumes:
        if not one.volume.attachments:
            yield (f'Cinder does not know that volume {one.volume.volume_id} '
                   'is attached to this instance')
