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

"""Images in Ceph: the act, by Ceph's own Python bindings.

A step holds names, never handles. All calls block: see
:class:`nova_snap.model.disk_work.DiskWork`.
"""

import collections.abc as cabc
import contextlib
import errno
import hashlib
import typing as ty

from nova_snap.host import rbd_client
from nova_snap.host import rbd_opened
from nova_snap.model import ceph as ceph_model
from nova_snap import units

# While the guest may be frozen: below it an agent for Windows thaws by itself.
SNAPSHOT_SECONDS = 8

# What is read at once for a hash: as much as an object of Glance's holds.
READ_BYTES = 8 * units.MiB

# An object that is in no pool. To remove it changes nothing, and is refused
# as every write is.
PROBE = 'nova_snap-is-this-pool-writable'

# What librbd takes an image for whose pool's defaults say nothing.
# :source: nova/storage/rbd_utils.py RADOSClient.features
LAYERING = 1

Result = ty.TypeVar('Result')

#: Takes how much is done and how much there is; may raise to end the call.
#: It may be called in a thread of librbd's.
Progress = cabc.Callable[[int, int], None]


class Ceph(rbd_client.Client):
    """One cluster, as one client.

    Each method raises CephError, of which the kind says what is wrong, and
    ConfigError where the bindings or the configuration are not there.
    """

    def fsid(self) -> str:
        """Return the id of the cluster."""
        with self._connected('look at', 'the cluster') as cluster:
            return str(cluster.get_fsid())

    def check_writable(self, pool: str) -> None:
        """See that images can be made in a pool; nothing is written.

        :raises Refused: when the capabilities do not let us, naming them
        :raises Gone: when there is no such pool
        """
        with self._in(pool, 'write to') as pooled:
            rados = self._bindings().rados
            with contextlib.suppress(rados.ObjectNotFound):
                pooled.remove_object(PROBE)

    def find(self, name: ceph_model.Name) -> ceph_model.Image | None:
        """Look an image up; None where there is none.

        :raises Gone: when there is no such pool
        """
        rbd = self._bindings().rbd
        with self._in(name.pool, 'look at') as pooled, \
                self._translated('look at', name):
            try:
                image = rbd.Image(pooled, name.image, read_only=True)
            except rbd.ImageNotFound:
                return None
            with rbd_opened.closing(image, rbd.Error):
                users = [one for one in image.list_snaps()
                         if _is_users(rbd, one)]
                snapshots = tuple(one['name'] for one in users)
                return ceph_model.Image(
                    int(image.size()), _parent(rbd, image), snapshots,
                    tuple(one for one in snapshots
                          if image.is_protected_snap(one)),
                    str(image.id()), tuple(int(one['id']) for one in users))

    def create_snapshot(self, name: ceph_model.Name) -> None:
        """Make a snapshot: this is a point in time.

        :raises Exists: when there is one
        """
        with self._image(name, 'snapshot', seconds=SNAPSHOT_SECONDS) as image:
            image.create_snap(name.snapshot)

    def protect_snapshot(self, name: ceph_model.Name) -> None:
        """Let a snapshot be cloned, and not be removed as it is.

        Clones of the second version need no protection, and stand it: which
        version a cluster makes need not be known.

        :source: ceph src/librbd/image/CloneRequest.cc validate_parent
        """
        with self._image(name, 'protect') as image:
            if not image.is_protected_snap(name.snapshot):
                image.protect_snap(name.snapshot)

    def remove_snapshot(self, name: ceph_model.Name) -> None:
        """Remove a snapshot, protected or not; one that is absent is fine.

        With children of the second version it goes when they do: until then
        it cannot be seen.

        :raises Busy: when it has children of the first version
        """
        rbd = self._bindings().rbd
        with contextlib.suppress(ceph_model.Gone), \
                self._image(name, 'remove') as image:
            if image.is_protected_snap(name.snapshot):
                # Another client may have done so since.
                with contextlib.suppress(rbd.InvalidArgument):
                    image.unprotect_snap(name.snapshot)
            image.remove_snap(name.snapshot)

    def clone(self, parent: ceph_model.Name, child: ceph_model.Name) -> None:
        """Make an image that begins as a protected snapshot.

        It has the features that new images have here, as Nova's have.

        :raises Exists: when there is an image of this name
        :source: nova/storage/rbd_utils.py clone
        """
        rbd = self._bindings().rbd
        with self._connected('clone', str(parent)) as cluster, \
                self._translated('clone', parent), \
                cluster.open_ioctx(parent.pool) as source, \
                self._translated('write to', child), \
                cluster.open_ioctx(child.pool) as target:
            rbd.RBD().clone(source, parent.image, parent.snapshot, target,
                            child.image, features=_features(cluster))

    def flatten(self, name: ceph_model.Name, progress: Progress) -> None:
        """Give a clone all data of its parent; nothing to one that has them.

        :param progress: of objects; what it raises ends the call
        :source: ceph src/librbd/AsyncObjectThrottle.cc start_next_op: what
            the progress returns below 0 ends the operation
        """
        raised: list[BaseException] = []

        def advance(done: int, total: int) -> int:
            try:
                progress(done, total)
            except BaseException as exc:  # noqa: BLE001 - raised below
                raised.append(exc)
                return -errno.ECANCELED
            return 0

        try:
            with self._image(name, 'flatten') as image:
                image.flatten(on_progress=advance)
        except ceph_model.CephError:
            if raised:
                raise raised[0] from None
            # Another client may have done it before, or since.
            found = self.find(name)
            if found is None or found.parent is not None:
                raise

    def add_flatten(self, name: ceph_model.Name) -> None:
        """Have a manager of Ceph's flatten a clone, some time later.

        Its turn comes when the tasks of all clients before it are done. It is
        done also when the managers are started anew.

        :raises Unavailable: when no manager answers; one may do it later
        :source: ceph src/pybind/mgr/rbd_support/task.py
        """
        self._manager('have a manager flatten', name,
                      'rbd task add flatten', image_spec=str(name))

    def flattening(self, name: ceph_model.Name) -> list[ceph_model.Task]:
        """Return the tasks of the managers to flatten a clone.

        One that is done, or was given up, is none of them.
        """
        tasks = self._manager('ask a manager of', name, 'rbd task list')
        return [ceph_model.Task(task['id'],
                                task.get('progress', 0.0)
                                if task.get('in_progress') else None,
                                task.get('retry_message', ''))
                for task in tasks
                if _is_to_flatten(task.get('refs', {}), name)]

    def cancel_flatten(self, name: ceph_model.Name) -> None:
        """Have the managers flatten a clone no more.

        It is closed a moment later.
        """
        for task in self.flattening(name):
            with contextlib.suppress(ceph_model.Gone):
                self._manager('have no manager flatten', name,
                              'rbd task cancel', task_id=task.key)

    def sha512(self, name: ceph_model.Name, progress: Progress) -> str:
        """Read a snapshot once and return its hash.

        :param progress: of bytes; what it raises ends the call
        """
        found = hashlib.sha512()
        zeros = bytes(READ_BYTES)
        with self.opened(name) as image:
            position = 0
            for offset, length, has_data in [
                    *image.extents(), (image.size_bytes, 0, False)]:
                end = offset + length
                while position < end:
                    begin = offset if position < offset else end
                    size = min(READ_BYTES, begin - position)
                    found.update(
                        image.read(position, size)
                        if has_data and position >= offset else zeros[:size])
                    position += size
                    progress(position, image.size_bytes)
        return found.hexdigest()

    def create(self, name: ceph_model.Name, size: int) -> None:
        """Make an image of zeros.

        :param size: bytes
        :raises Exists: when there is one
        """
        rbd = self._bindings().rbd
        with self._connected('create', str(name)) as cluster, \
                self._translated('write to', name), \
                cluster.open_ioctx(name.pool) as pooled:
            rbd.RBD().create(pooled, name.image, size, old_format=False,
                             features=_features(cluster))

    def remove(self, name: ceph_model.Name) -> None:
        """Remove an image without snapshots; one that is absent is fine.

        :raises Busy: when it has snapshots, or a client has it open: one
            that was killed has so for half a minute
        """
        rbd = self._bindings().rbd
        with self._in(name.pool, 'remove') as pooled, \
                self._translated('remove', name), \
                contextlib.suppress(rbd.ImageNotFound):
            rbd.RBD().remove(pooled, name.image)

    @contextlib.contextmanager
    def opened(self, name: ceph_model.Name, *,
               read_only: bool = True) -> cabc.Iterator[rbd_opened.Opened]:
        """Have an image, or a snapshot, open for the block.

        What is in the block must run where it may block.
        """
        rbd = self._bindings().rbd
        with self._in(name.pool, 'open') as pooled:
            with self._translated('open', name):
                image = rbd.Image(pooled, name.image,
                                  snapshot=name.snapshot or None,
                                  read_only=read_only)
            with self._translated('close', name), \
                    rbd_opened.closing(image, rbd.Error):
                yield rbd_opened.Opened(
                    image, lambda call: self._translated(call, name),
                    rbd.OSError)

    def fill(self, name: ceph_model.Name,
             write: cabc.Callable[[rbd_opened.Opened], Result]) -> Result:
        """Have an image written to, in one call.

        :param write: takes the image, and runs where it may block
        """
        with self.opened(name, read_only=False) as opened:
            return write(opened)


def _features(cluster: ty.Any) -> int:
    return int(cluster.conf_get('rbd_default_features') or 0) or LAYERING


def _is_users(rbd: ty.Any, snapshot: cabc.Mapping[str, ty.Any]) -> bool:
    """Tell whether a snapshot is none of Ceph's own, as in its trash."""
    return bool(snapshot.get('namespace', 0)
                == rbd.RBD_SNAP_NAMESPACE_TYPE_USER)


def _parent(rbd: ty.Any, image: ty.Any) -> ceph_model.Name | None:
    try:
        return ceph_model.Name(*image.parent_info())
    except rbd.ImageNotFound:
        return None


def _is_to_flatten(refs: cabc.Mapping[str, str],
                   name: ceph_model.Name) -> bool:
    return (refs.get('action'), refs.get('pool_name'),
            refs.get('image_name'), refs.get('pool_namespace', '')) == (
                'flatten', name.pool, name.image, '')
