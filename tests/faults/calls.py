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

"""The calls that a flow makes to the world outside, as they were recorded."""

import collections.abc as cabc
import dataclasses
import re

# Of the libvirt binding, what looks at the world and leaves it as it is.
# What is not named here counts as an act: a new call is tried at once.
LIBVIRT_LOOKS = frozenset((
    'open', 'setKeepAlive', 'isAlive', 'getLibVersion', 'getVersion',
    'getURI', 'lookupByUUIDString', 'lookupByName', 'listAllDomains',
    'domainEventRegisterAny', 'domainEventDeregisterAny',
    'qemuMonitorEventRegister', 'qemuMonitorEventDeregister',
    'UUIDString', 'secretLookupByUUIDString', 'name', 'ID',
    'backupGetXMLDesc', 'isActive', 'isPersistent', 'hasManagedSaveImage',
    'state', 'XMLDesc', 'jobStats',
    'autostart', 'listAllSnapshots', 'listAllCheckpoints', 'blockInfo',
    'blockJobInfo', 'getTime', 'getXMLDesc', 'getDomainCapabilities',
    'getCapabilities', 'qemuAgentCommand', 'virDomainCheckpoint.getName',
    'virDomainCheckpoint.getXMLDesc'))
# Of the parts of the world, by the name of the class.
WORLD_LOOKS = frozenset((
    'Files.allocated_bytes', 'Files.changed_at', 'Files.exists',
    'Files.file_id', 'Files.file_system', 'Files.first_bytes',
    'Files.free_bytes', 'Files.has_layer', 'Files.head_of_cached',
    'Files.is_block_device', 'Files.is_held', 'Files.is_missing',
    'Files.shows_locks', 'Files.written_bytes', 'QemuImg.first_bytes',
    'QemuImg.info', 'QemuImg.is_cut_short', 'QemuImg.measure',
    'Checkpoints.guests', 'Checkpoints.read', 'Images.check',
    'Images.find', 'Images.get', 'Volumes.check', 'Volumes.project_id',
    'Volumes.acting_in', 'Volumes.volume', 'Volumes.limits',
    'Volumes.snapshot', 'Volumes.find_snapshot', 'Store.machine_id',
    'Images.location_way', 'Images.stores', 'Ceph.fsid',
    'Ceph.check_writable', 'Ceph.find', 'Ceph.sha512', 'Ceph.opened',
    'Store.read', 'Store.read_all', 'Store.ids', 'Locks.is_held'))

# Of an image, a project or a snapshot.
ID = re.compile('[0-9a-f]{8}-?[0-9a-f]{4}|[0-9a-f]{32}')

LIBVIRT = 'libvirt'
TRANSFER = 'transfer'
# The requests, as the proxy in front of Glance and Cinder sees them.
SERVICE = 'service'
# The snapshot as a whole, in the place of a call; it says of which flow.
WHOLE = 'whole'

# A call that is made so often is a wait, or one of many pieces: its first
# ones are tried.
MOST_LOOKS = 2


@dataclasses.dataclass(frozen=True)
class Call:
    """One call.

    :ivar border: 'libvirt', 'transfer', 'service' for a request, or the name
        of the class of the world whose method it is
    :ivar name: of the method; libvirt's own stand alone
    :ivar ordinal: the first call of this name is 1
    :ivar says: what a write of the journal says that the last did not
    """

    border: str
    name: str
    ordinal: int
    says: str = ''

    def __str__(self) -> str:
        return f'{self.name}.{self.ordinal}'

    @property
    def is_look(self) -> bool:
        """Whether it leaves the world as it is."""
        if self.border == WHOLE:
            return True
        if self.border == SERVICE:
            return self.name.split('-')[1] == 'GET'
        return (self.border == TRANSFER or self.name in WORLD_LOOKS
                or (self.border == LIBVIRT and self.name in LIBVIRT_LOOKS))

    @property
    def is_tried(self) -> bool:
        """Whether it has cases of its own."""
        return not self.is_look or self.ordinal <= MOST_LOOKS

    def line(self) -> str:
        """Return the line that :func:`read` reads."""
        return f'{self.border} {self.name} {self.ordinal} {self.says}'.strip()


def read(lines: cabc.Iterable[str]) -> list[Call]:
    """Read the calls of one run, in their order."""
    found = []
    for line in lines:
        border, name, ordinal, *says = line.split(' ', 3)
        found.append(Call(border, name, int(ordinal), *says))
    return found


def request(service: str, method: str, path: str, ordinal: int) -> Call:
    """Return a request as a call; ids in the path do not count."""
    parts = ['ID' if ID.search(part) else part
             for part in path.strip('/').split('/')]
    return Call(SERVICE, '-'.join((service, method, *parts[1:])), ordinal)


def path_pattern(call: str) -> tuple[str, str]:
    """Return the method and a regular expression of a request's path."""
    _, method, *parts = call.split('-')
    return method, '^/v[0-9]/' + '/'.join(
        '[^/]+' if part == 'ID' else re.escape(part)
        for part in parts) + '$'
