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

"""The secrets of libvirt's that a guest needs when it starts."""

import collections.abc as cabc
import dataclasses

from lxml import etree


@dataclasses.dataclass(frozen=True)
class Secret:
    """A secret, as the XML of a domain names it.

    :ivar owner: what of the guest needs it, in words
    :ivar uuid: '' for one that is named by its usage
    :ivar kind: 'passphrase', 'ceph', 'iscsi' or 'vtpm'
    """

    owner: str
    uuid: str
    kind: str = 'passphrase'
    usage: str = ''

    def __str__(self) -> str:
        return self.uuid or f'for {self.kind} {self.usage}'


def find(root: etree._Element) -> cabc.Iterator[Secret]:
    """Read those of a domain.

    :source: libvirt docs/formatdomain.rst, "TPM device"; docs/formatsecret.rst
    """
    for found in root.findall('./devices/tpm/backend/encryption'):
        yield Secret('its TPM', found.get('secret', ''), 'vtpm')
    for disk in root.findall('./devices/disk'):
        target = disk.find('./target')
        name = '' if target is None else target.get('dev', '')
        for found in disk.iter('secret'):
            yield Secret(f'its disk {name}', found.get('uuid', ''),
                         found.get('type', ''), found.get('usage', ''))
