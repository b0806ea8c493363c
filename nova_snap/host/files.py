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

"""Directories and files of this host."""

import collections.abc as cabc
import contextlib
import errno
import fcntl
import os
import pathlib
import pwd
import stat
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.host import file_systems
from nova_snap.host import qemu_locks
from nova_snap import lookup
from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import layer as layer_model
from nova_snap.model import probe
from nova_snap.model import remedy

LOG = logging.getLogger(__name__)

# QEMU, another user, must be able to enter, and no user to list.
# :source: nova/virt/libvirt/driver.py snapshot; bugs.launchpad.net/nova/
#     +bug/1227027
SCRATCH_MODE = 0o701
SCRATCH_PREFIX = 'nova_snap-'
# QEMU's, and our group's, which what is made there inherits.
LENT_MODE = 0o2770
# Nova makes snapshots_directory like this (oslo_utils ensure_tree, umask 022);
# QEMU must be able to enter it, whatever the umask of the command is.
SNAPSHOTS_MODE = 0o755

# Of a file so many pieces are counted, which takes less than a second; what
# comes behind them counts as full.
MOST_EXTENTS = 100_000
# What stat(2) counts st_blocks in.
STAT_BLOCK = 512

FILE_MODE = 0o600
# Python's fcntl has no name for it before 3.12.
# :source: linux/fs.h
FICLONE = 0x40049409

BOOT_ID = pathlib.Path('/proc/sys/kernel/random/boot_id')


class Files:
    """What a flow may do to the file system.

    :param owner: uid and gid of those who settle what we leave when we are
        killed, or None where that is we
    :cvar opens_devices: we may open block devices
    """

    opens_devices: ty.ClassVar[bool] = True

    def __init__(self, owner: tuple[int, int] | None = None) -> None:
        self._owner = owner

    def free_bytes(self, path: str) -> int:
        """Return what an ordinary user may still write there, bytes.

        :raises StorageError: when the path is not there
        """
        with _looking_at(path):
            figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize

    def file_system(self, path: str) -> int:
        """Return the number of the file system that a path lies on.

        :param path: need not be there yet, nor be to be looked at
        :raises StorageError: when its mount point cannot be looked at
        """
        where = file_systems.mount_point(path)
        with _looking_at(where):
            return os.stat(where).st_dev

    def is_missing(self, path: str) -> bool:
        """Tell whether it is known that there is no such file."""
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            # Not known: this process is not let in there.
            return False
        return False

    def written_bytes(self, path: str) -> int:
        """Return what a file takes, or the files of a directory.

        :returns: bytes; 0 of what cannot be looked at
        """
        found = [path]
        with contextlib.suppress(OSError):
            found += [os.path.join(path, name) for name in os.listdir(path)]
        total = 0
        for file in found:
            with contextlib.suppress(OSError):
                total += os.stat(file).st_blocks * STAT_BLOCK
        return total

    def make_scratch(self, path: str) -> None:
        """Make a directory that QEMU can enter and no other user can list.

        The one above it is made as well: it was checked in the plan.

        :raises StorageError: when it cannot be made
        """
        above = os.path.dirname(path)
        try:
            if not os.path.isdir(above):
                self._make_directory(above, SNAPSHOTS_MODE)
            self._make_directory(path, SCRATCH_MODE)
        except OSError as exc:
            raise errors.StorageError(
                reason=f'The directory {path} cannot be made: '
                       f'{exc.strerror}') from exc

    def make_lent(self, path: str, uid: int | None) -> None:
        """Make a directory in a scratch directory where QEMU may write.

        What QEMU makes there is of our group: we may connect to its socket.

        :param uid: of QEMU's user; None where that is not known: then only a
            QEMU that is root, or we, may write there
        :raises StorageError: when it cannot be made
        :source: libvirt src/qemu/qemu_process.c qemuProcessLaunch (umask)
        """
        above, name = os.path.split(path)
        try:
            with folder_module.opened(above, follow=False) as folder:
                folder.make(name, LENT_MODE, None if uid is None
                            else (uid, -1))
        except OSError as exc:
            raise errors.StorageError(
                reason=f'The directory {path} cannot be made: '
                       f'{exc.strerror}') from exc

    def take_back(self, path: str) -> None:
        """Become the owner of a directory that QEMU's user had; also absent.

        :raises StorageError: when that is not allowed, or it is a link
        """
        above, name = os.path.split(path)
        try:
            # What was opened without reading it cannot be given away.
            with folder_module.opened(above, follow=False) as folder, \
                    folder.below(name) as lent:
                os.fchown(lent.descriptor, os.geteuid(), -1)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise errors.StorageError(
                reason=f'{path} cannot be owned: {exc.strerror}') from exc

    def _make_directory(self, path: str, mode: int) -> None:
        above, name = os.path.split(path)
        # Not the group: QEMU may be in it, and would have to be let in.
        owner = None if self._owner is None else (self._owner[0], -1)
        with folder_module.opened(above) as folder:
            folder.make(name, mode, owner)

    def clone(self, path: str, target: str) -> bool:
        """Make a file of a scratch directory that shares another's blocks.

        It takes no time and no room, whatever the size: what is written to
        either later is its own.

        :returns: False where that cannot be done; no file is left
        :raises StorageError: when the file cannot be made
        :source: ioctl_ficlone(2)
        """
        above, name = os.path.split(target)
        try:
            with folder_module.opened(above, follow=False) as folder:
                made = folder.create(name, FILE_MODE)
                with os.fdopen(made, 'wb'):
                    is_cloned = _share_blocks(path, made)
                if not is_cloned:
                    folder.remove(name)
                return is_cloned
        except OSError as exc:
            raise errors.StorageError(
                reason=f'{target} cannot be made: {exc.strerror}') from exc

    def remove_scratch(self, path: str) -> None:
        """Remove such a directory and all in it; absent is fine.

        :raises StorageError: when it is not one of ours, or cannot go
        """
        above, name = os.path.split(path)
        if not name.startswith(SCRATCH_PREFIX):
            raise errors.StorageError(
                reason=f'{path} is not a scratch directory of ours')
        try:
            with folder_module.opened(above) as folder:
                folder.remove_tree(name)
        except FileNotFoundError:
            # That of all snapshots has gone, or is not mounted.
            return
        except OSError as exc:
            raise errors.StorageError(
                reason=f'The directory {path} cannot be removed: '
                       f'{exc.strerror}') from exc

    def remove(self, path: str) -> None:
        """Remove one file of a scratch directory; absent is fine.

        :raises StorageError: when it cannot be removed
        """
        above, name = os.path.split(path)
        try:
            with folder_module.opened(above, follow=False) as folder:
                folder.remove(name)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise errors.StorageError(
                reason=f'{path} cannot be removed: {exc.strerror}') from exc

    def own(self, path: str) -> None:
        """Take a file back that libvirt gave to QEMU's user.

        :raises StorageError: when that is not allowed, or it is a link, also
            a second name of another file
        """
        self._give(path, os.geteuid())

    def lend(self, path: str, uid: int) -> None:
        """Give a file of a scratch directory to QEMU's user.

        :raises StorageError: as :meth:`own`
        """
        self._give(path, uid)

    def _give(self, path: str, uid: int) -> None:
        """Let a file belong to a user."""
        above, name = os.path.split(path)
        try:
            with folder_module.opened(above, follow=False) as folder:
                folder.chown(name, uid)
        except OSError as exc:
            raise errors.StorageError(
                reason=f'{path} cannot be owned: {exc.strerror}') from exc

    def has_layer(self, layer: layer_model.Layer) -> bool:
        """Tell whether the storage of a layer has it.

        :raises StorageError: for a storage that this host cannot ask
        """
        if not layer.is_local:
            raise errors.StorageError(
                reason=f'It is not known whether {layer.path} is there: '
                       f'storage of the kind {layer.storage} is not asked')
        return self.exists(layer.path)

    def exists(self, path: str) -> bool:
        """Tell whether there is such a file."""
        return os.path.exists(path)

    def changed_at(self, path: str) -> int:
        """Return when the content of a file was last changed.

        :returns: nanoseconds since 1970
        :raises StorageError: when it cannot be looked at
        """
        return _figures(path).st_mtime_ns

    def file_id(self, path: str) -> layer_model.FileId:
        """Tell which file or block device it is, whatever its name.

        As long as something has it open no other file gets its number, but
        on NFS 3 and the like: there its server may not know who has it.

        :raises StorageError: when it cannot be looked at
        """
        figures = _figures(path)
        if stat.S_ISBLK(figures.st_mode):
            return figures.st_rdev, 0
        return (file_systems.network_source(path) or figures.st_dev,
                figures.st_ino)

    def is_held(self, path: str) -> bool:
        """Tell whether a QEMU is seen to have a file open."""
        return qemu_locks.are_held(path)

    def shows_locks(self, path: str) -> bool:
        """Tell whether a QEMU that has this file open would be seen."""
        return qemu_locks.are_shown(path)

    def first_bytes(self, path: str) -> bytes:
        """Return how a raw disk begins, also while a guest writes to it.

        :raises StorageError: when it cannot be read
        """
        try:
            with lookup.opened(path) as file:
                return file.read(first_bytes_model.LENGTH)
        except OSError as exc:
            raise errors.StorageError(
                reason=f'The disk {path} cannot be read: {exc.strerror}'
            ) from exc

    def head_of_cached(self, path: str, cache: str) -> bytes | None:
        """Return how a file of Nova's image cache begins.

        QEMU opens it to be read only, and its owner may be QEMU's user all
        the same: libvirt gives it to that user.

        :param cache: the directory of the image cache
        :returns: None for what does not lie right in it, and for what users
            besides its owner may write to, or exchange
        """
        above, name = os.path.split(path)
        if os.path.realpath(above) != os.path.realpath(cache):
            return None
        with contextlib.suppress(OSError), \
                folder_module.opened(cache) as folder, \
                open(folder.open(name, os.O_RDONLY), 'rb') as file:
            modes = (os.fstat(folder.descriptor).st_mode
                     | os.fstat(file.fileno()).st_mode)
            if not modes & (stat.S_IWGRP | stat.S_IWOTH):
                return file.read(probe.HEAD_BYTES)
        return None

    def is_block_device(self, path: str) -> bool:
        """Tell whether it is a block device; what is absent is none."""
        with contextlib.suppress(OSError):
            return stat.S_ISBLK(os.stat(path).st_mode)
        return False

    def allocated_bytes(self, path: str) -> int:
        """Return what the data of a file take, or a block device, bytes.

        :raises StorageError: when it cannot be read
        """
        try:
            with lookup.opened(path) as file:
                figures = os.fstat(file.fileno())
                if stat.S_ISBLK(figures.st_mode):
                    return file.seek(0, os.SEEK_END)
                # One has what was preallocated, the other what is in the
                # holes of a file system that cannot tell them.
                return min(figures.st_blocks * STAT_BLOCK,
                           _data_bytes(file.fileno(), figures.st_size))
        except OSError as exc:
            reason = f'The disk {path} cannot be read: {exc.strerror}'
            if isinstance(exc, PermissionError):
                reason += '. Run as root or as the user of nova-compute'
            elif not isinstance(exc, lookup.LookupRefused):
                reason += '. Is its file system mounted and well?'
            raise errors.StorageError(reason=reason) from exc


def _share_blocks(path: str, target: int) -> bool:
    """Let an open file have another's content, if its file system can."""
    try:
        with lookup.opened(path) as source:
            fcntl.ioctl(target, FICLONE, source.fileno())
    except OSError as exc:
        LOG.debug('%s is not cloned: %s', path, exc)
        return False
    return True


def _figures(path: str) -> os.stat_result:
    with _looking_at(path), lookup.found(path) as there:
        return os.fstat(there.descriptor)


@contextlib.contextmanager
def _looking_at(path: str) -> cabc.Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise errors.StorageError(
            reason=f'{path} cannot be looked at: {exc.strerror}') from exc


def _data_bytes(file: int, size: int) -> int:
    """Return what is not a hole in a file, nor preallocated.

    :source: lseek(2) SEEK_DATA; nova/conf/compute.py preallocate_images
    """
    total = at = 0
    try:
        for _ in range(MOST_EXTENTS):
            start = os.lseek(file, at, os.SEEK_DATA)
            at = os.lseek(file, start, os.SEEK_HOLE)
            total += at - start
    except OSError as exc:
        # There are no more data.
        if exc.errno == errno.ENXIO:
            return total
        raise
    return total + size - at


def snapshots_room(path: str, *, is_default: bool) -> str:
    """Return the directory whose free space counts for snapshots.

    That is ``snapshots_directory`` itself, or the one above it as long as
    the default is not made yet. A directory that the operator named and that
    is missing is most often a file system that is not mounted: making it
    would fill the one below.

    :raises StorageError: when it is missing
    :source: nova/virt/libvirt/driver.py snapshot (fileutils.ensure_tree)
    """
    if os.path.isdir(path):
        return path
    above = os.path.dirname(path)
    if is_default and os.path.isdir(above):
        return above
    raise errors.StorageError(
        reason=f'[libvirt]snapshots_directory {path} is missing. Mount it, '
               'or make it: '
               + remedy.command('install', '-d', '-m', '0755', path))


def check_qemu_enters(path: str, user: tuple[int, int] | None) -> None:
    """Fail unless QEMU's user can walk down to a directory.

    :param user: uid and gid of QEMU; None where libvirt does not tell
    :raises StorageError: naming the first directory it cannot enter
    """
    if user is None or user[0] == 0:
        return
    groups = _groups(*user)
    resolved = pathlib.Path(path).resolve()
    for directory in (*reversed(resolved.parents), resolved):
        if not _may_enter(directory, user[0], groups):
            raise errors.StorageError(
                reason=f'QEMU (uid {user[0]}, gid {user[1]}) cannot enter '
                       f'{directory}, and [libvirt]snapshots_directory is '
                       f'{path}. Allow it: '
                       + remedy.command('chmod', 'o+x', str(directory)))


def _groups(uid: int, gid: int) -> frozenset[int]:
    """Return all groups that libvirt gives a QEMU of this user.

    :source: libvirt src/security/security_dac.c virSecurityDACPreFork
    """
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return frozenset((gid,))
    return frozenset((gid, *os.getgrouplist(name, gid)))


def _may_enter(directory: pathlib.Path, uid: int,
               groups: frozenset[int]) -> bool:
    try:
        figures = directory.stat()
    except OSError:
        return False
    if figures.st_uid == uid:
        return bool(figures.st_mode & stat.S_IXUSR)
    if figures.st_gid in groups:
        return bool(figures.st_mode & stat.S_IXGRP)
    return bool(figures.st_mode & stat.S_IXOTH)


def owner_for_writes(state_path: str) -> tuple[int, int] | None:
    """Return who shall own what root writes: the owner of state_path.

    None when we are not root, or when there is no such directory.
    """
    if os.geteuid() != 0 or not os.path.isdir(state_path):
        return None
    figures = os.stat(state_path)
    return figures.st_uid, figures.st_gid


def boot_id() -> str:
    """Return the id of this boot of the host."""
    return BOOT_ID.read_text().strip()
