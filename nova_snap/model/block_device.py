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

"""What an image says of the disks that a guest booted from it shall have.

One entry a disk, in the words of Nova's block device mapping. An image of a
volume-backed instance has no data: this mapping is all of it.

What neither the domain nor Cinder tells is written as Nova writes it by
default: a volume that is not the root has no boot index, and
none is deleted with the instance.
"""

import collections.abc as cabc
import dataclasses
import json
import re
import typing as ty

from nova_snap.model import domain as domain_model
from nova_snap.model import volumes as volumes_model
from nova_snap import units

Entry: ty.TypeAlias = dict[str, ty.Any]

MAPPING_PROPERTY = 'block_device_mapping'
VERSION_PROPERTY = 'bdm_v2'
ROOT_PROPERTY = 'root_device_name'
#: What Nova drops from the inherited properties and writes anew.
PROPERTIES = frozenset({MAPPING_PROPERTY, VERSION_PROPERTY, ROOT_PROPERTY})

# Every key of an image's mapping, which Nova 34 writes also where it has
# nothing to say.
# :source: nova/block_device.py bdm_new_fields, get_image_mapping
KEYS = (
    'boot_index', 'delete_on_termination', 'destination_type', 'device_name',
    'device_type', 'disk_bus', 'encrypted', 'encryption_format',
    'encryption_options', 'encryption_secret_uuid', 'guest_format',
    'image_id', 'no_device', 'snapshot_id', 'source_type', 'tag',
    'volume_id', 'volume_size', 'volume_type')

ROOT_INDEX = 0
NEVER_BOOTED = -1

# The disks that Nova makes on the node: 'disk.swap', 'disk.eph0', with the
# instance's UUID and '_' in front where they are volumes of LVM or Ceph.
# :source: nova/virt/libvirt/blockinfo.py get_disk_mapping, imagebackend.py
_SWAP = re.compile(r'(^|/|_)disk\.swap$')
_EPHEMERAL = re.compile(r'(^|/|_)disk\.eph\d+$')
# No block device of the instance's, although it may look like a disk.
_CONFIG_DRIVE = re.compile(r'(^|/|_)disk\.config$')


@dataclasses.dataclass(frozen=True)
class AttachedVolume:
    """A volume, and the disk of the guest that it is."""

    disk: domain_model.Disk
    volume: volumes_model.Volume


def device_name(disk: domain_model.Disk, recorded: str = '') -> str:
    """Return the name as Nova has it: '/dev/vda'.

    :param recorded: the name that Cinder was told, if it was told one
    """
    name = recorded or disk.target_dev
    return name if name.startswith('/') else f'/dev/{name}'


def of_volume(attached: AttachedVolume, instance_uuid: str,
              snapshot_id: str, *, is_root: bool) -> Entry:
    """Return the entry of a volume, to be made from its snapshot.

    :source: nova/block_device.py snapshot_from_bdm: the type of the volume
        is not copied, a snapshot has it
    """
    disk = attached.disk
    recorded = attached.volume.attachments.get(instance_uuid, '')
    return _entry(
        boot_index=ROOT_INDEX if is_root else None,
        delete_on_termination=False,
        destination_type='volume',
        device_name=device_name(disk, recorded),
        device_type=disk.device,
        disk_bus=disk.bus,
        snapshot_id=snapshot_id,
        source_type='snapshot',
        volume_size=attached.volume.size_gib)


def of_local_disk(disk: domain_model.Disk, size: int) -> Entry | None:
    """Return the entry of a disk that Nova makes empty on the node.

    :param size: bytes; the entry has GiB, and MiB for a swap disk
    :returns: None for a disk that Nova has no entry for
    :source: nova/block_device.py create_blank_bdm; nova/objects/
        block_device.py get_image_mapping; nova/db/main/models.py
        BlockDeviceMapping (encrypted is False by default)
    """
    if not is_made_by_nova(disk):
        return None
    is_swap = _SWAP.search(disk.source_path or '')
    return _entry(
        boot_index=NEVER_BOOTED,
        delete_on_termination=True,
        destination_type='local',
        device_name=device_name(disk),
        device_type=disk.device,
        disk_bus=disk.bus,
        encrypted=False,
        guest_format='swap' if is_swap else None,
        source_type='blank',
        volume_size=size // (units.MiB if is_swap else units.GiB))


def is_made_by_nova(disk: domain_model.Disk) -> bool:
    """Tell whether :func:`of_local_disk` has an entry for a disk."""
    path = disk.source_path or ''
    return bool(_SWAP.search(path) or _EPHEMERAL.search(path))


def is_config_drive(disk: domain_model.Disk) -> bool:
    """Tell whether a disk is one that Nova makes anew for each guest."""
    return _CONFIG_DRIVE.search(disk.source_path or '') is not None


def properties(entries: cabc.Sequence[Entry],
               root_device_name: str) -> dict[str, str]:
    """Return what the image's record says of them.

    :source: nova/image/glance.py _convert_to_v2
    """
    return {MAPPING_PROPERTY: json.dumps(entries), VERSION_PROPERTY: 'True',
            ROOT_PROPERTY: root_device_name}


def snapshots_named(image_properties: cabc.Mapping[str, str]) -> (
        tuple[str, ...] | None):
    """Return the snapshots of volumes that an image's mapping names.

    The owner of an image may write anything into it.

    :returns: each once, in order; None for an image that is not
        volume-backed: nothing is to be made from a snapshot
    """
    try:
        entries = json.loads(image_properties.get(MAPPING_PROPERTY, ''))
    # The second one is Python's, about brackets without end.
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, list):
        return None
    named = [entry['snapshot_id'] for entry in entries
             if isinstance(entry, dict)
             and entry.get('source_type') == 'snapshot'
             and isinstance(entry.get('snapshot_id'), str)
             and entry['snapshot_id']]
    return tuple(dict.fromkeys(named)) or None


def _entry(**values: ty.Any) -> Entry:
    return {**dict.fromkeys(KEYS), **values}
