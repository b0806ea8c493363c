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

"""Decide whether a root disk can be read, or refuse it."""

from nova_snap.model import domain as domain_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import settings as settings_model

# The formats a root disk may have on the node; all of them are read with the
# format named, so nothing is ever probed.
SOURCE_FORMATS = ('raw', 'qcow2')


# Said of the instance.
IN_RESCUE = ('Nova has it in rescue; unrescue it first ("openstack server '
             'unrescue")')


VOLUME_BACKED = ('its root disk is a Cinder volume; use "openstack server '
                 'image create"')


def supported(settings: settings_model.Settings,
                    facts: plan_model.Facts) -> domain_model.Disk:
    disk = facts.domain.root_disk
    if settings.virt_type == 'lxc' or facts.domain.type == 'lxc':
        raise plan_model.unsupported(
            facts,
            'it is a container (lxc), which has no '
            'disk image; copy its root directory',
        )
    if disk is None:
        raise plan_model.unsupported(facts, 'it has no disk')
    if facts.domain.is_rescued:
        # The first disk may be the rescue image, and Nova refuses it too.
        # :source: nova/compute/api.py API.snapshot (not in RESCUED)
        raise plan_model.unsupported(facts, IN_RESCUE)
    if is_volume_backed(facts.domain):
        # From here on it is Cinder's; see nova_snap.model.plan.volumes.
        raise plan_model.unsupported(facts, VOLUME_BACKED)
    if disk.source_type not in ('file', 'block'):
        raise plan_model.unsupported(
            facts, f'its root disk {disk.target_dev} is of type '
                   f'{disk.source_type}; files and block devices can be '
                   'snapshotted')
    if disk.source_path is None:
        raise plan_model.unsupported(
            facts, f'its root disk {disk.target_dev} has no source'
        )
    if disk.encrypted:
        raise plan_model.unsupported(
            facts,
            f'its root disk {disk.target_dev} is '
            'encrypted, and the image would not be',
        )
    if disk.has_slices:
        raise plan_model.unsupported(
            facts, f'its root disk {disk.target_dev} is a part of a file or '
                   'device (<slices>); whole ones can be snapshotted')
    _refuse_formats(facts, disk)
    return disk


def _refuse_formats(facts: plan_model.Facts, disk: domain_model.Disk) -> None:
    if disk.driver_format not in SOURCE_FORMATS:
        raise plan_model.unsupported(
            facts, f'the format of its root disk {disk.target_dev} is '
                   f'{disk.driver_format or "not named"} in its XML; raw '
                   'and qcow2 can be snapshotted')
    for layer in facts.chain[1:]:
        if not layer.is_local:
            raise plan_model.unsupported(
                facts, f'the backing file {layer.path} of its root disk is '
                       'given by a network address or a "json:" description; '
                       'only files and block devices of this host are read')
        if layer.format not in SOURCE_FORMATS:
            raise plan_model.unsupported(
                facts, f'the format of the backing file {layer.path} is '
                       f'{layer.format or "not named"}; name it with '
                       '"qemu-img rebase -u -F" while the guest is off')


def is_volume_backed(domain: domain_model.Domain) -> bool:
    """Tell whether the root disk of a guest of Nova's is a volume.

    Nova 34.0 was seen to write the type 'image' for such a guest too, with
    no image's UUID. Only disks that are volumes have a serial number, or an
    alias that is a volume's id.

    :source: nova/virt/driver.py InstanceDriverMetadata; the volume drivers
        in nova/virt/libvirt/volume/
    """
    nova, disk = domain.nova, domain.root_disk
    if nova is None or disk is None:
        return False
    return (nova.root_type == 'volume'
            or (nova.root_type == 'image' and not nova.root_uuid)
            or disk.volume_id is not None)
