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

"""What Nova wrote into a domain about its instance."""

import collections.abc as cabc
import dataclasses

from lxml import etree

NAMESPACES = {
    'nova': 'http://openstack.org/xmlns/libvirt/nova/1.1',
    'nova10': 'http://openstack.org/xmlns/libvirt/nova/1.0',
}


@dataclasses.dataclass(frozen=True)
class NovaMetadata:
    """What Nova wrote into the domain about the instance.

    The values of ``image_properties`` are those of Nova's objects ('True'),
    not the strings of the image ('yes').
    """

    name: str
    flavor_disk_gib: int
    image_uuid: str | None
    image_container_format: str | None
    image_min_disk: int
    image_min_ram: int
    image_properties: cabc.Mapping[str, str]
    user_uuid: str
    user_name: str
    project_uuid: str
    project_name: str
    root_type: str
    root_uuid: str


def find(root: etree._Element) -> NovaMetadata | None:
    for prefix in NAMESPACES:
        instance = root.find(f'./metadata/{prefix}:instance',
                             NAMESPACES)
        if instance is not None:
            return _metadata(instance, prefix)
    return None


def _metadata(instance: etree._Element, prefix: str) -> NovaMetadata:
    def find(path: str) -> etree._Element | None:
        return instance.find(
            '/'.join(f'{prefix}:{part}' for part in path.split('/')),
            NAMESPACES)

    def text(path: str) -> str:
        element = find(path)
        return '' if element is None else (element.text or '').strip()

    def attribute(path: str, name: str) -> str:
        element = find(path)
        return '' if element is None else element.get(name, '')

    def number(path: str) -> int:
        # Metadata can be written by others than Nova, and hold anything.
        word = text(path)
        return int(word) if word.isdecimal() else 0

    return NovaMetadata(
        name=text('name'),
        flavor_disk_gib=number('flavor/disk'),
        image_uuid=attribute('image', 'uuid') or None,
        image_container_format=text('image/containerFormat') or None,
        image_min_disk=number('image/minDisk'),
        image_min_ram=number('image/minRam'),
        image_properties=_image_properties(instance, prefix),
        user_uuid=attribute('owner/user', 'uuid'),
        user_name=text('owner/user'),
        project_uuid=attribute('owner/project', 'uuid'),
        project_name=text('owner/project'),
        root_type=attribute('root', 'type'),
        root_uuid=attribute('root', 'uuid'),
    )


def _image_properties(instance: etree._Element,
                           prefix: str) -> dict[str, str]:
    path = f'{prefix}:image/{prefix}:properties/{prefix}:property'
    return {element.get('name', ''): (element.text or '').strip()
            for element in instance.findall(path, NAMESPACES)}
