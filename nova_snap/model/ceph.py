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

"""Images in Ceph as values: names, addresses, what they are, what fails.

::

    StorageError
    `-- CephError
        +-- Unavailable    no answer in time
        +-- Refused        the key, or its capabilities
        +-- Gone           no such pool, image or snapshot
        +-- Exists
        +-- Busy           open elsewhere, or with snapshots or children
        `-- Full           the cluster, or the quota of the pool
"""

import dataclasses
import urllib.parse

from nova_snap import errors

# What an address of Glance's begins with, and its parts after that.
# :source: glance_store/_drivers/rbd.py StoreLocation
SCHEME = 'rbd://'
PARTS = 4

# As whom Ceph is asked, and what it reads, where neither is named. It looks
# for other files, too; this is the one that an operator has.
# :source: ceph src/common/config.cc CEPH_CONF_FILE_DEFAULT
DEFAULT_USER = 'admin'
DEFAULT_CONF = '/etc/ceph/ceph.conf'

# The snapshot that Glance makes of each image, and hands out.
# :source: glance_store/_drivers/rbd.py DEFAULT_SNAPNAME
GLANCE_SNAPSHOT = 'snap'


def client(user: str | None) -> str:
    """Return as whom Ceph is asked.

    :param user: without "client."; None or '' for Ceph's default
    """
    return f'client.{user or DEFAULT_USER}'


@dataclasses.dataclass(frozen=True)
class Name:
    """An image, or a snapshot of one."""

    pool: str
    image: str
    snapshot: str = ''

    def __str__(self) -> str:
        """Write it as the rbd command takes it."""
        return f'{self.pool}/{self.image}' + (
            f'@{self.snapshot}' if self.snapshot else '')

    def at(self, snapshot: str) -> 'Name':
        """Name a snapshot of the image."""
        return dataclasses.replace(self, snapshot=snapshot)

    def location(self, fsid: str) -> str:
        """Return the address that Glance has for a snapshot.

        :param fsid: the id of the cluster
        """
        return SCHEME + '/'.join(
            urllib.parse.quote(part, '')
            for part in (fsid, self.pool, self.image, self.snapshot))


def of_location(url: str) -> tuple[str, Name] | None:
    """Read an address of Glance's: the cluster, and what it has there.

    :returns: None for what is not a snapshot in Ceph
    """
    if not url.startswith(SCHEME):
        return None
    parts = [urllib.parse.unquote(part)
             for part in url.removeprefix(SCHEME).split('/')]
    if len(parts) != PARTS or not all(parts):
        return None
    fsid, pool, image, snapshot = parts
    return fsid, Name(pool, image, snapshot)


@dataclasses.dataclass(frozen=True)
class Image:
    """What Ceph says of an image.

    :ivar size: bytes
    :ivar parent: of a clone that is not flattened; its snapshot has another
        name than it had where it was deleted since
    :ivar snapshots: names of those that a user made
    :ivar protected: those of them that cannot be removed as they are
    :ivar key: no other image of the pool ever had it
    :ivar snapshot_keys: likewise, of each snapshot of the image
    """

    size: int
    parent: Name | None = None
    snapshots: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    key: str = ''
    snapshot_keys: tuple[int, ...] = ()

    def identity(self, snapshot: str) -> str | None:
        """Return what no other data have than those of a snapshot.

        :returns: None where there is no such snapshot
        """
        keys = dict(zip(self.snapshots, self.snapshot_keys, strict=True))
        return (f'{self.key}@{keys[snapshot]}' if snapshot in keys
                else None)


@dataclasses.dataclass(frozen=True)
class Task:
    """What a manager of Ceph's has to do for one of its clients.

    :ivar key: its id
    :ivar share: what is done of it, 0 to 1; None while it waits its turn
    :ivar failure: why it is to be tried again; '' where it did not fail
    """

    key: str
    share: float | None
    failure: str


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class CephError(errors.StorageError):
    """Ceph did not do it.

    :ivar call: what was asked, in an operator's words
    :ivar name: the pool, image or snapshot it was about
    :ivar client: as whom it was asked, as in ``client.nova``
    """

    template = 'Ceph failed to %(call)s %(name)s as %(client)s: %(reason)s'

    call: str
    name: str
    client: str


class Unavailable(CephError):
    """There was no answer in time; it may have been done all the same."""

    template = ('Ceph does not answer in time to %(call)s %(name)s as '
                '%(client)s: %(reason)s')


class Refused(CephError):
    """The key is not taken, or its capabilities do not let it."""

    template = 'Ceph does not let %(client)s %(call)s %(name)s: %(reason)s'


class Gone(CephError):
    """There is no such pool, image or snapshot."""

    template = 'Ceph has no %(name)s to %(call)s for %(client)s: %(reason)s'


class Exists(CephError):
    """There is one of this name."""


class Busy(CephError):
    """It is open elsewhere, or has snapshots or children."""

    template = ('%(name)s is in use, and Ceph did not %(call)s it for '
                '%(client)s: %(reason)s')


class Full(CephError):
    """The cluster is full, or the pool has reached its quota."""

    template = ('Ceph has no room to %(call)s %(name)s for %(client)s: '
                '%(reason)s')
