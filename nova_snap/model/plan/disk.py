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

"""Decide whether a disk can be read, or refuse it."""

from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import all_disks
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import remedy
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model

# The formats a disk may have on the node; all of them are read with the
# format named, so no program probes one.
SOURCE_FORMATS = ('raw', 'qcow2')


def wanted(request: request_model.Request,
           domain: domain_model.Domain) -> tuple[domain_model.Disk, ...]:
    """Return the disks that images are to be made of, the root disk first.

    None where the domain has no such disk.
    """
    if request.set_id is not None:
        return all_disks.local(domain)
    if request.disk is None:
        return () if domain.root_disk is None else (domain.root_disk,)
    return tuple(disk for disk in domain.drives
                 if disk.target_dev == request.disk)[:1]


def in_rescue(domain: domain_model.Domain) -> str:
    """Say what to do with an instance that is in rescue."""
    return ('Nova has it in rescue; unrescue it first: '
            + remedy.command('openstack', 'server', 'unrescue', domain.uuid))


def volume_backed(domain: domain_model.Domain) -> str:
    """Say what to do with an instance whose root disk is Cinder's."""
    return ('its root disk is a Cinder volume; use '
            + remedy.image_of_server(domain.uuid))


def planned(request: request_model.Request,
            settings: settings_model.Settings, facts: plan_model.Facts) -> (
                tuple[plan_model.PlannedDisk, ...]):
    """Return the disks that are read, the root disk first.

    :raises Unsupported: when one cannot be read
    """
    if settings.virt_type == 'lxc' or facts.domain.type == 'lxc':
        raise plan_model.unsupported(
            facts, 'it is a container (lxc), which has no disk image; copy '
                   'its root directory')
    if not facts.disks:
        raise plan_model.unsupported(facts, _why_no_disk(request, facts))
    if facts.domain.is_rescued:
        # The first disk may be the rescue image, and Nova refuses it too.
        # :source: nova/compute/api.py API.snapshot (not in RESCUED)
        raise plan_model.unsupported(facts, in_rescue(facts.domain))
    if is_volume_backed(request, facts.domain):
        # From here on it is Cinder's; see nova_snap.model.plan.volumes.
        raise plan_model.unsupported(facts, volume_backed(facts.domain))
    return tuple(_planned(facts, found) for found in facts.disks)


def _why_no_disk(request: request_model.Request,
                 facts: plan_model.Facts) -> str:
    if request.set_id is not None:
        return ('it has no disk on this host for --all-disks, only volumes '
                'or none at all; leave it out')
    targets = _targets(facts.domain)
    if request.disk is None or not targets:
        return 'it has no disk'
    return f'it has no disk {request.disk}; it has {targets}'


def _targets(domain: domain_model.Domain) -> str:
    return ', '.join(disk.target_dev for disk in domain.disks)


def _planned(facts: plan_model.Facts,
             found: plan_model.DiskFacts) -> plan_model.PlannedDisk:
    disk = found.disk
    is_root = disk == facts.domain.root_disk
    what = ('its root disk ' if is_root else 'its disk ') + disk.target_dev
    reason = _why_not_kind(facts.domain, disk, what)
    if reason is None and (why := why_not_read(disk)) is not None:
        reason = f'{what} {why}'
    for above, layer in zip(found.chain, found.chain[1:], strict=False):
        reason = reason or _why_not_layer(above, layer, what)
    if not found.virtual_size:
        reason = reason or f'{what} has a size of 0 bytes'
    if reason is not None:
        raise plan_model.unsupported(facts, reason)
    return plan_model.PlannedDisk(
        target_dev=disk.target_dev, is_root=is_root, chain=found.chain,
        files=found.files, virtual_size=found.virtual_size,
        allocations=found.allocations, measured=found.measured,
        may_be_cloned=found.may_be_cloned)


def _why_not_kind(domain: domain_model.Domain, disk: domain_model.Disk,
                  what: str) -> str | None:
    """Say why a disk is not one that an image is made of, if it is none."""
    if disk.device not in domain_model.DISKS:
        others = _targets(domain)
        return f'{what} is a {disk.device}' + (
            f'; name a disk of it with --disk ({others})' if others else '')
    if disk.is_transient:
        return (f'{what} is transient: what the guest writes to it is kept '
                'only until the guest stops')
    if domain.nova is not None and disk.volume_id is not None:
        return f'{what} is a Cinder volume; use ' + remedy.command(
            'openstack', 'volume', 'snapshot', 'create', '--force',
            '--volume', disk.volume_id, f'{domain.name}-{disk.target_dev}')
    return None


def why_not_read(disk: domain_model.Disk) -> str | None:
    """Say why a disk cannot be read, as its XML has it, if it cannot."""
    if not disk.storage.is_read:
        return (f'is of type {disk.source_type}'
                + (f' ({disk.protocol})' if disk.protocol else '')
                + '; files, block devices and images in Ceph can be '
                  'snapshotted')
    if disk.source_path is None:
        return 'has no source'
    if disk.encrypted:
        return 'is encrypted, and the image would not be'
    if disk.has_slices:
        return ('is a part of a file or device (<slices>); whole ones can be '
                'snapshotted')
    if disk.driver_format not in SOURCE_FORMATS:
        return ('has ' + (f'the format {disk.driver_format}'
                          if disk.driver_format else
                          'a format that is not named')
                + ' in its XML; raw and qcow2 can be snapshotted')
    return _why_not_in_ceph(disk)


def _why_not_in_ceph(disk: domain_model.Disk) -> str | None:
    if disk.ceph is None:
        return None
    if disk.driver_format != 'raw':
        return (f'has the format {disk.driver_format} in Ceph; raw ones can '
                'be snapshotted there')
    if disk.ceph_snapshot:
        return (f'is the snapshot {disk.ceph_snapshot} of an image in Ceph; '
                'images can be snapshotted')
    if (disk.source_path or '').count('/') != 1:
        return (f'is {disk.source_path} in Ceph, which is not of the form '
                'POOL/IMAGE')
    return None


def _why_not_layer(above: layer_model.Layer, layer: layer_model.Layer,
                   what: str) -> str | None:
    """Say why a layer below the active one cannot be read, if it cannot."""
    if not layer.is_local:
        return (f'the backing file {layer.path} of {what} is given by a '
                'network address or a "json:" description; only files and '
                'block devices of this host are read')
    if layer.format not in SOURCE_FORMATS:
        return (f'the format of the backing file {layer.path} is '
                f'{layer.format or "not named"} in {above.path}. Name it, '
                'while the guest is off: '
                + ', or '.join(_naming(above, layer, image_format)
                               for image_format in SOURCE_FORMATS))
    return None


def _naming(above: layer_model.Layer, layer: layer_model.Layer,
            image_format: str) -> str:
    return f'where it is {image_format}, with ' + remedy.command(
        'qemu-img', 'rebase', '-u', '-f', above.format, '-F', image_format,
        '-b', layer.path, above.path)


def refuse_live(facts: plan_model.Facts) -> None:
    """Refuse disks whose writes QEMU does not see, all or some of them.

    It would keep no old data of them, and mirror none. The commands of a LUN
    fail while a job is on it: the guest's file systems become read-only.

    :raises Unsupported: naming one
    :source: QEMU hw/scsi/scsi-disk.c scsi_block_do_sgio; block/io.c
        bdrv_co_ioctl, which no filter of a job has
    """
    for disk in (found.disk for found in facts.disks):
        why = ('is a LUN whose SCSI commands pass QEMU by'
               if disk.device == 'lun' else
               'is shareable: other guests may write to it at the same time'
               if disk.is_shareable else None)
        if why is not None:
            raise plan_model.unsupported(
                facts, f'its disk {disk.target_dev} {why}, so it cannot be '
                       'taken live; take it with --cold, or stop the guest '
                       'first')


def is_volume_backed(request: request_model.Request,
                     domain: domain_model.Domain) -> bool:
    """Tell whether an image is asked of a root disk that is a volume.

    That is so for guests of Nova's only. A set has no volumes.

    Nova 34.0 was seen to write the type 'image' for such a guest too, with
    no image's UUID. Only disks that are volumes have a serial number, or an
    alias that is a volume's id.

    :source: nova/virt/driver.py InstanceDriverMetadata; the volume drivers
        in nova/virt/libvirt/volume/
    """
    nova, disk = domain.nova, domain.root_disk
    if nova is None or disk is None or (disk,) != wanted(request, domain):
        return False
    if request.set_id is not None:
        return False
    return (nova.root_type == 'volume'
            or (nova.root_type == 'image' and not nova.root_uuid)
            or disk.volume_id is not None)
