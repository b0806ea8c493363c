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

"""A Ceph: its pools and images, whatever client asks.

What Ceph refuses is refused, in the words of :mod:`nova_snap.model.ceph`.
"""

import collections.abc as cabc
import dataclasses
import itertools

from nova_snap.model import ceph as ceph_model

FSID = '8d2f5cf4-9d4b-4f7a-8c57-26b0a1e2b2c3'
# Of the second version: what is removed with children is not gone yet.
TRASH = 'trash'

# Objects that a flatten goes through.
OBJECTS = 4

# No image and no snapshot has that of another one.
_KEYS = itertools.count(1)


@dataclasses.dataclass
class Snapshot:
    """A snapshot.

    :ivar data: what the image had
    :ivar is_trash: it was removed, and goes with its last child
    """

    data: bytes
    size: int
    is_protected: bool = False
    is_trash: bool = False
    key: int = dataclasses.field(default_factory=_KEYS.__next__)


@dataclasses.dataclass
class Task:
    """What a manager has to do; it goes on each time it is looked at.

    :ivar done: objects; None until its turn has come
    """

    done: int | None = None


@dataclasses.dataclass
class Image:
    """An image.

    :ivar size: bytes
    :ivar parent: of a clone that is not flattened
    :ivar is_open: a client has it open; a dead one has, for a while
    :ivar task: of a manager, to flatten it
    """

    data: bytes
    size: int
    parent: ceph_model.Name | None = None
    snapshots: dict[str, Snapshot] = dataclasses.field(default_factory=dict)
    is_open: bool = False
    task: 'Task | None' = None
    key: int = dataclasses.field(default_factory=_KEYS.__next__)


class FakeCluster:
    """The cluster.

    :ivar pools: with their images, by name
    :ivar version: of the clones that it makes
    :ivar read_only: pools to which our client must not write
    :ivar is_managed: managers do what we ask of them
    :ivar waits_its_turn: they have the tasks of others before ours
    :ivar fails_to_flatten: what they say of each try to flatten
    :ivar is_down: no monitor answers
    :ivar is_full: nothing can be written
    """

    client = 'client.nova'

    def __init__(self, *pools: str) -> None:
        self.fsid = FSID
        self.pools: dict[str, dict[str, Image]] = {
            pool: {} for pool in pools}
        self.version = 2
        self.read_only: set[str] = set()
        self.is_managed = False
        self.waits_its_turn = False
        self.fails_to_flatten = ''
        self.is_down = False
        self.is_full = False

    def content(self, url: str) -> tuple[bytes, int] | None:
        """Return what lies at an address of Glance's, and its size."""
        found = ceph_model.of_location(url)
        if found is None or found[0] != self.fsid:
            return None
        image = self.pools.get(found[1].pool, {}).get(found[1].image)
        snapshot = image and image.snapshots.get(found[1].snapshot)
        return (snapshot.data, snapshot.size) if snapshot else None

    def destroy(self, url: str) -> None:
        """Remove what lies there, as Glance does.

        :raises Busy: when it has children
        :source: glance_store/_drivers/rbd.py _delete_image
        """
        found = ceph_model.of_location(url)
        assert found is not None
        name = found[1]
        if name.image in self.pools.get(name.pool, {}):
            self.remove_snapshot(name)
            self.remove(name)

    # What is asked of it

    def pool(self, call: str, pool: str, *,
             writes: bool = False) -> dict[str, Image]:
        """Return the images of a pool."""
        about = f'pool {pool}'
        if self.is_down:
            raise self.error(ceph_model.Unavailable, call, about,
                             'no monitor answers')
        if pool not in self.pools:
            raise self.error(ceph_model.Gone, call, about, 'no such pool')
        if writes and pool in self.read_only:
            raise self.error(ceph_model.Refused, call, about,
                             f'it needs profile rbd pool={pool}')
        if writes and self.is_full:
            raise self.error(ceph_model.Full, call, about, 'it is full')
        return self.pools[pool]

    def image(self, call: str, name: ceph_model.Name, *,
              writes: bool = True) -> Image:
        """Return an image."""
        found = self.pool(call, name.pool, writes=writes).get(name.image)
        if found is None:
            raise self.error(ceph_model.Gone, call, name, 'no such image')
        return found

    def look(self, name: ceph_model.Name) -> ceph_model.Image | None:
        """Look an image up."""
        found = self.pool('look at', name.pool).get(name.image)
        if found is None:
            return None
        users = {snapshot: one for snapshot, one in found.snapshots.items()
                 if not one.is_trash}
        return ceph_model.Image(
            found.size, found.parent, tuple(users),
            tuple(snapshot for snapshot, one in users.items()
                  if one.is_protected),
            str(found.key), tuple(one.key for one in users.values()))

    def create_snapshot(self, name: ceph_model.Name) -> None:
        """Make a snapshot."""
        image = self.image('snapshot', name)
        if name.snapshot in image.snapshots:
            raise self.error(ceph_model.Exists, 'snapshot', name,
                             'it exists')
        image.snapshots[name.snapshot] = Snapshot(image.data, image.size)

    def protect_snapshot(self, name: ceph_model.Name) -> None:
        """Protect a snapshot."""
        self._snapshot('protect', name).is_protected = True

    def remove_snapshot(self, name: ceph_model.Name) -> None:
        """Remove a snapshot that may be absent."""
        try:
            snapshot = self._snapshot('remove', name)
        except ceph_model.Gone:
            return
        children = list(self._children(name))
        if children and self.version == 1:
            raise self.error(ceph_model.Busy, 'remove', name,
                             'image has children')
        image = self.image('remove', name)
        del image.snapshots[name.snapshot]
        if children:
            trash = name.at(f'{TRASH}-{name.snapshot}')
            image.snapshots[trash.snapshot] = dataclasses.replace(
                snapshot, is_trash=True)
            for child in children:
                child.parent = trash

    def clone(self, parent: ceph_model.Name, child: ceph_model.Name) -> None:
        """Make a clone."""
        snapshot = self._snapshot('clone', parent, writes=False)
        if not snapshot.is_protected and self.version == 1:
            raise self.error(ceph_model.CephError, 'clone', parent,
                             'invalid argument')
        self._new('write to', child, snapshot.data, snapshot.size, parent)

    def create(self, name: ceph_model.Name, size: int) -> None:
        """Make an image of zeros."""
        self._new('write to', name, b'', size, None)

    def flatten(self, name: ceph_model.Name,
                progress: cabc.Callable[[int, int], None]) -> None:
        """Flatten a clone."""
        image = self.image('flatten', name)
        for number in range(OBJECTS):
            progress(number, OBJECTS)
        self.let_parent_go(image)

    def add_flatten(self, name: ceph_model.Name) -> None:
        """Have a manager flatten a clone, unless it is to do so already."""
        self._manager('have a manager flatten', name)
        image = self.image('have a manager flatten', name)
        image.task = image.task or Task()

    def flattening(self, name: ceph_model.Name) -> list[ceph_model.Task]:
        """Return the tasks of the managers, which go on."""
        self._manager('ask a manager of', name)
        image = self.pools.get(name.pool, {}).get(name.image)
        if image is None or image.task is None:
            return []
        if not self.waits_its_turn:
            self._go_on(image, image.task)
        if image.task is None:
            return []
        done = image.task.done
        return [ceph_model.Task(
            'of our clone', None if done is None else done / OBJECTS,
            self.fails_to_flatten)]

    def cancel_flatten(self, name: ceph_model.Name) -> None:
        """Have the managers give up what they have to do of a clone."""
        self._manager('have no manager flatten', name)
        image = self.pools.get(name.pool, {}).get(name.image)
        if image is not None and image.task is not None:
            image.task, image.is_open = None, False

    def _go_on(self, image: Image, task: Task) -> None:
        task.done = 0 if task.done is None else task.done + 1
        image.is_open = True
        if task.done < OBJECTS or self.fails_to_flatten:
            return
        self.let_parent_go(image)
        image.task, image.is_open = None, False

    def _manager(self, call: str, name: ceph_model.Name) -> None:
        self.pool(call, name.pool)
        if not self.is_managed:
            raise self.error(ceph_model.Refused, call, name,
                             f'it needs profile rbd pool={name.pool}')

    def let_parent_go(self, image: Image) -> None:
        """Take a child away from its parent, whose trash may go."""
        parent, image.parent = image.parent, None
        if parent is None:
            return
        above = self.pools[parent.pool].get(parent.image)
        snapshot = above and above.snapshots.get(parent.snapshot)
        if (above and snapshot and snapshot.is_trash
                and not list(self._children(parent))):
            del above.snapshots[parent.snapshot]

    def remove(self, name: ceph_model.Name) -> None:
        """Remove an image that may be absent."""
        pool = self.pool('remove', name.pool, writes=True)
        image = pool.get(name.image)
        if image is None:
            return
        if image.snapshots:
            raise self.error(ceph_model.Busy, 'remove', name,
                             'image has snapshots')
        if image.is_open:
            raise self.error(ceph_model.Busy, 'remove', name,
                             'image is busy')
        self.let_parent_go(image)
        del pool[name.image]

    def error(self, kind: type[ceph_model.CephError], call: str,
              name: object, reason: str) -> ceph_model.CephError:
        """Make the error that the real one makes."""
        return kind(call=call, name=str(name), client=self.client,
                    reason=reason)

    def _new(self, call: str, name: ceph_model.Name, data: bytes, size: int,
             parent: ceph_model.Name | None) -> None:
        pool = self.pool(call, name.pool, writes=True)
        if name.image in pool:
            raise self.error(ceph_model.Exists, call, name, 'it exists')
        pool[name.image] = Image(data, size, parent)

    def _snapshot(self, call: str, name: ceph_model.Name, *,
                  writes: bool = True) -> Snapshot:
        found = self.image(call, name, writes=writes).snapshots.get(
            name.snapshot)
        if found is None or found.is_trash:
            raise self.error(ceph_model.Gone, call, name, 'no such snapshot')
        return found

    def _children(self, name: ceph_model.Name) -> cabc.Iterator[Image]:
        for pool in self.pools.values():
            yield from (image for image in pool.values()
                        if image.parent == name)
