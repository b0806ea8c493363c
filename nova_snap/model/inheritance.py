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

"""Which of a base image's properties a snapshot of its guest is given.

Nova copies them into its database when it makes the instance and reads them
from there. We have the image, as long as it exists, and the domain's XML.
"""

import collections.abc as cabc
import re
import typing as ty

from nova_snap.model import consistency as consistency_model
from nova_snap.model import image_set
from nova_snap.model import nova as nova_model

Properties: ty.TypeAlias = cabc.Mapping[str, str]

# What we say of one image alone.
SAID_OF_ONE = consistency_model.PROPERTIES | image_set.PROPERTIES

# That, and what Nova lets neither an operator nor an image hand on.
# :source: nova/compute/utils.py NON_INHERITABLE_IMAGE_PROPERTIES
NEVER_INHERITED = SAID_OF_ONE | frozenset({
    'cinder_encryption_key_deletion_policy',
    'cinder_encryption_key_id',
    'img_signature',
    'img_signature_certificate_uuid',
    'img_signature_hash_method',
    'img_signature_key_type',
})

# Glance refuses a record that names these.
# :source: nova/compute/utils.py NON_INHERITABLE_IMAGE_NAMESPACES
RESERVED_PREFIX = 'os_glance'

# Nova keeps an instance's image properties in a table and leaves these out.
# :source: nova/utils.py SM_SKIP_KEYS
STRUCTURED = frozenset({
    'block_device_mapping',
    'img_block_device_mapping',
    'img_mappings',
    'mappings',
})

# Bytes of UTF-8: the width of that table's column.
# :source: nova/utils.py get_system_metadata_from_image
VALUE_LIMIT_BYTES = 255

# The names in an image, and those which Nova's object gives the same thing.
# :source: nova/objects/image_meta.py ImageMetaProps._legacy_property_map,
#     without what only other hypervisors read
OBJECT_NAMES = {
    'architecture': 'hw_architecture',
    'auto_disk_config': 'hw_auto_disk_config',
    'bdm_v2': 'img_bdm_v2',
    'bittorrent': 'img_bittorrent',
    'cache_in_nova': 'img_cache_in_nova',
    'hypervisor_type': 'img_hv_type',
    'hypervisor_version_requires': 'img_hv_requested_version',
    'ipxe_boot': 'hw_ipxe_boot',
    'owner_id': 'img_owner_id',
    'root_device_name': 'img_root_device_name',
    'vm_mode': 'hw_vm_mode',
    'vmware_adaptertype': 'hw_disk_bus',
    'vmware_disktype': 'hw_disk_type',
    'vmware_image_version': 'img_version',
    'vmware_linked_clone': 'img_linked_clone',
    'vmware_ostype': 'os_distro',
}


def inherited(nova: nova_model.NovaMetadata, base: Properties,
              non_inheritable: cabc.Set[str]) -> dict[str, str]:
    """Return the base image's properties, as far as they are handed on.

    The image's own words win ('yes'); what it has no longer is taken from
    the domain, in the words of Nova's objects ('True'), which Nova reads as
    well.

    :param base: the image's own properties; none when it is gone
    """
    raw = dict(base)
    hidden = STRUCTURED | NEVER_INHERITED | non_inheritable
    known = hidden | raw.keys() | {'owner_id'}
    twins = {twin for name, twin in OBJECT_NAMES.items() if name in known}
    for name, value in _raw(nova.image_properties).items():
        if name not in twins:
            raw.setdefault(name, value)
    return {name: _truncated(value) for name, value in raw.items()
            if name not in hidden and not is_withheld(name)}


def is_withheld(name: str) -> bool:
    """Whether no snapshot may have a property of this name."""
    return name in NEVER_INHERITED or name.startswith(RESERVED_PREFIX)


def _raw(objects: Properties) -> dict[str, str]:
    """Turn Nova's object values back into an image's properties.

    Lists are the only ones an image writes otherwise: one property for each
    NUMA cell, one for each trait. The domain has them as Python prints them:
    ``[CoercedSet({0, 1})]``, ``[512, 512]``, ``['CUSTOM_X']``.

    :source: nova/objects/image_meta.py _set_numa_cpus, _set_numa_mem,
        _set_attr_from_trait_names
    """
    raw: dict[str, str] = {}
    for name, value in objects.items():
        if name == 'traits_required':
            raw.update((f'trait:{trait}', 'required')
                       for trait in re.findall(r"'([^']*)'", value))
        elif name == 'hw_numa_mem':
            raw.update((f'{name}.{cell}', size) for cell, size
                       in enumerate(re.findall(r'\d+', value)))
        elif name == 'hw_numa_cpus':
            raw.update((f'{name}.{cell}', cpus.replace(' ', ''))
                       for cell, cpus
                       in enumerate(re.findall(r'\{([^}]*)\}', value)))
        else:
            raw[name] = value
    return raw


def _truncated(value: str) -> str:
    """Cut a value where Nova cuts it, never within a character."""
    return value.encode()[:VALUE_LIMIT_BYTES].decode(errors='ignore')
