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

They are Nova's and Glance's too, and in no package index: those of the
distribution are loaded when Ceph is first asked.

Each call connects anew, which takes some 20 ms, and lets go of everything: a
step holds names, never handles. Each operation of Ceph's has a deadline, so
each call has an end, also when no monitor and no OSD answers. All calls
block: see :class:`nova_snap.steps.world.DiskWork`.
"""

import collections.abc as cabc
import contextlib
import errno
import hashlib
import importlib
import json
import typing as ty

from nova_snap import errors
from nova_snap.host import rbd_opened
from nova_snap.model import ceph as ceph_model
from nova_snap import units

# The package that has both bindings, and what loads it.
PACKAGE = 'python3-rbd'

# Seconds for each operation of an OSD or a monitor. Without a bound librados
# waits for ever; a cluster that recovers answers well within this.
# :source: ceph src/common/options rados_osd_op_timeout
OPERATION_SECONDS = 30
# While the guest may be frozen: below it an agent for Windows thaws by itself.
SNAPSHOT_SECONDS = 8
# For the question what is wrong, after another one got no answer.
HEALTH_SECONDS = 3

# What is read at once for a hash: as much as an object of Glance's holds.
READ_BYTES = 8 * units.MiB

# An object that is in no pool. To remove it changes nothing, and is refused
# as every write is.
PROBE = 'nova_snap-is-this-pool-writable'

# What librbd takes an image for whose pool's defaults say nothing.
# :source: nova/storage/rbd_utils.py RADOSClient.features
LAYERING = 1

_KINDS: dict[int, type[ceph_model.CephError]] = {
    errno.EPERM: ceph_model.Refused,
    errno.EACCES: ceph_model.Refused,
    errno.ENOENT: ceph_model.Gone,
    errno.EEXIST: ceph_model.Exists,
    errno.EBUSY: ceph_model.Busy,
    errno.ENOTEMPTY: ceph_model.Busy,
    errno.ENOSPC: ceph_model.Full,
    errno.EDQUOT: ceph_model.Full,
    errno.ETIMEDOUT: ceph_model.Unavailable,
    # What a client is answered that was banned for being silent.
    errno.ESHUTDOWN: ceph_model.Unavailable,
}

Result = ty.TypeVar('Result')

#: Takes how much is done and how much there is; may raise to end the call.
#: It may be called in a thread of librbd's.
Progress = cabc.Callable[[int, int], None]


class Bindings(ty.NamedTuple):
    """The two modules of Ceph's."""

    rados: ty.Any
    rbd: ty.Any


def load() -> Bindings:
    """Load Ceph's bindings.

    :raises ConfigError: when they are not there, saying where they come from
    """
    try:
        return Bindings(importlib.import_module('rados'),
                        importlib.import_module('rbd'))
    except ImportError as exc:
        raise errors.ConfigError(
            option='[libvirt]images_type',
            reason=f'a disk in Ceph needs the Python modules rados and rbd '
                   f'({exc}). Install them with "apt-get install {PACKAGE}" '
                   f'or "dnf install {PACKAGE}"; a virtual environment does '
                   'not see them unless it was made with '
                   '--system-site-packages') from exc


class Ceph:
    """One cluster, as one client.

    Each method raises CephError, of which the kind says what is wrong, and
    ConfigError where the bindings or the configuration are not there.

    :ivar client: as whom it is asked, as in ``client.nova``
    """

    def __init__(self, config_file: str, user: str | None, *,
                 connect_timeout: int,
                 operation_timeout: int = OPERATION_SECONDS,
                 bindings: cabc.Callable[[], Bindings] = load) -> None:
        """Remember how the cluster is reached; nothing is asked yet.

        :param config_file: '' for the places where Ceph looks by itself
        :param user: without "client."; None for Ceph's default, admin
        :param connect_timeout: seconds; less than 1 is no bound but the next
        :param operation_timeout: seconds for each operation of Ceph's, of
            which a call is several
        """
        self._config_file = config_file
        self._user = user or None
        self._timeout = connect_timeout
        self._operation = operation_timeout
        self._bindings = bindings
        self.client = ceph_model.client(user)

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
        """Give a clone all data of its parent; it may be done again.

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
            raise

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

    # One call

    @contextlib.contextmanager
    def _image(self, name: ceph_model.Name, call: str, *,
               seconds: int | None = None) -> cabc.Iterator[ty.Any]:
        """Have an image open, to be changed."""
        rbd = self._bindings().rbd
        with self._in(name.pool, call, seconds=seconds) as pooled, \
                self._translated(call, name), \
                rbd_opened.closing(rbd.Image(pooled, name.image),
                                   rbd.Error) as image:
            yield image

    @contextlib.contextmanager
    def _in(self, pool: str, call: str, *,
            seconds: int | None = None) -> cabc.Iterator[ty.Any]:
        """Have a pool open."""
        about = f'pool {pool}'
        with self._connected(call, about, seconds=seconds) as cluster, \
                self._translated(call, about, pool=pool), \
                cluster.open_ioctx(pool) as pooled:
            yield pooled

    @contextlib.contextmanager
    def _connected(self, call: str, name: str, *,
                   seconds: int | None = None) -> (
                       cabc.Iterator[ty.Any]):
        """Have a connection for the block."""
        rados = self._bindings().rados
        seconds = min(seconds or self._operation, self._operation)
        try:
            cluster = rados.Rados(conffile=self._config_file,
                                  rados_id=self._user)
        except rados.Error as exc:
            raise errors.ConfigError(
                option='[libvirt]images_rbd_ceph_conf',
                reason=f'{self._config_file or ceph_model.DEFAULT_CONF} '
                       f'cannot be read: {exc}') from exc
        with self._translated(call, name):
            mount = self._timeout if self._timeout > 0 else seconds
            for option, bound in (('client_mount_timeout', mount),
                                  ('rados_mon_op_timeout', seconds),
                                  ('rados_osd_op_timeout', seconds)):
                cluster.conf_set(option, str(bound))
        try:
            self._connect(cluster, call, name)
            yield cluster
        finally:
            cluster.shutdown()

    def _connect(self, cluster: ty.Any, call: str, name: str) -> None:
        try:
            cluster.connect()
        except self._bindings().rados.Error as exc:
            code = getattr(exc, 'errno', None)
            facts = {'call': call, 'name': name, 'client': self.client}
            if code == errno.ETIMEDOUT:
                raise ceph_model.Unavailable(
                    **facts, reason='no monitor answers at '
                                    f'{cluster.conf_get("mon_host")}') from exc
            raise ceph_model.Refused(
                **facts, reason=f'{_words(exc)}. Its key must be in a file '
                                'that this process can read, as /etc/ceph/'
                                f'ceph.{self.client}.keyring, and be that '
                                f'of "ceph auth get {self.client}"') from exc

    @contextlib.contextmanager
    def _translated(self, call: str, name: ceph_model.Name | str, *,
                    pool: str | None = None) -> cabc.Iterator[None]:
        """Turn what the bindings raise into our errors."""
        rados, rbd = self._bindings()
        if isinstance(name, ceph_model.Name):
            pool = name.pool
        try:
            yield
        except (rados.Error, rbd.Error) as exc:
            code = getattr(exc, 'errno', None)
            kind = _KINDS.get(code or 0, ceph_model.CephError)
            reason = _words(exc)
            if kind is ceph_model.Refused:
                reason += _capabilities(self.client, pool or 'POOL')
            elif kind is ceph_model.Unavailable:
                reason += f'. {self._health()}'
            raise kind(call=call, name=str(name), client=self.client,
                       reason=reason) from exc

    def _health(self) -> str:
        """Return in a sentence what the monitors say is wrong."""
        rados = self._bindings().rados
        cluster = rados.Rados(conffile=self._config_file,
                              rados_id=self._user)
        try:
            for option in ('client_mount_timeout', 'rados_mon_op_timeout'):
                cluster.conf_set(option, str(HEALTH_SECONDS))
            cluster.connect()
            code, answer, _ = cluster.mon_command(
                json.dumps({'prefix': 'health', 'format': 'json'}), b'')
            if code:
                return 'Look at "ceph health detail"'
            health = json.loads(answer)
            checks = '; '.join(check['summary']['message']
                               for check in health['checks'].values())
            return f'The monitors say {health["status"]}: {checks}'
        except (rados.Error, ValueError, KeyError):
            return ('No monitor answers any more at '
                    f'{cluster.conf_get("mon_host")}')
        finally:
            cluster.shutdown()


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


def _words(exc: Exception) -> str:
    """Return what a binding says, without its number."""
    said = str(exc)
    return said.partition('] ')[2] or said


def _capabilities(client: str, pool: str) -> str:
    return (f'. It needs the capability "profile rbd pool={pool}" of the '
            f'OSDs: see what it has with "ceph auth get {client}", and give '
            'it all of that and this one with "ceph auth caps"')
