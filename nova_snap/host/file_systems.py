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

"""On which file system a path lies, and what that is good for."""

import os
import pathlib
import re
import typing as ty

from nova_snap import errors

MOUNTS = pathlib.Path('/proc/self/mountinfo')
NETWORK_FILE_SYSTEMS = frozenset((
    '9p', 'afs', 'beegfs', 'ceph', 'cifs', 'coda', 'fuse.ceph',
    'fuse.ceph-fuse', 'fuse.glusterfs', 'fuse.sshfs', 'gfs2', 'gpfs',
    'lustre', 'nfs', 'nfs4', 'ocfs2', 'orangefs', 'smb3'))

# What is gone with a container, or at the next boot.
PASSING_FILE_SYSTEMS = frozenset((
    'aufs', 'fuse.fuse-overlayfs', 'overlay', 'ramfs', 'tmpfs'))

# Those whose files can share their blocks, each of them if it was made so.
# :source: ioctl_ficlone(2); Linux fs/*, remap_file_range
CLONING_FILE_SYSTEMS = frozenset((
    'bcachefs', 'btrfs', 'cifs', 'nfs4', 'ocfs2', 'overlay', 'smb3', 'xfs',
    'zfs'))
# Its subvolumes have a device number each, and share blocks all the same.
SUBVOLUMES = 'btrfs'


def file_system_type(path: str) -> str:
    """Return the type of the file system that holds a path."""
    return _mount(path).kind


def mount_point(path: str) -> str:
    """Return where the file system that holds a path is mounted."""
    return _mount(path).point


class _Mount(ty.NamedTuple):
    """A file system in the tree of this host.

    :ivar source: a device or, of a network file system, a server and what it
        has there
    """

    point: str
    kind: str
    source: str


def _mount(path: str) -> _Mount:
    """Return the file system that holds a path.

    :source: proc(5), /proc/pid/mountinfo
    """
    resolved = os.path.realpath(path)
    # In a chroot it may be that no mount is named.
    best = _Mount(os.sep, 'unknown', '')
    for line in MOUNTS.read_bytes().splitlines():
        before, _, after = line.partition(b' - ')
        # A blank in a path is written \040.
        where = os.fsdecode(re.sub(
            rb'\\([0-7]{3})', lambda found: bytes((int(found[1], 8),)),
            before.split()[4]))
        if (os.path.commonpath((resolved, where)) == where
                and len(where) >= len(best.point)):
            kind, source, *_ = map(os.fsdecode, after.split())
            best = _Mount(where, kind, source)
    return best


def network_type(path: str) -> str:
    """Return the type of the network file system of a path; '' for none."""
    kind = file_system_type(path)
    return kind if kind in NETWORK_FILE_SYSTEMS else ''


def network_source(path: str) -> str:
    """Return what the network file system of a path is mounted from.

    The number of its device is another one after each mount, and what is
    mounted at the first look is unmounted after some minutes without one: by
    autofs, and by NFS itself where its server has one below another.

    :returns: '' for a file system of this host
    :source: Linux fs/nfs/super.c nfs_set_super (set_anon_super);
        fs/nfs/namespace.c nfs_d_automount, nfs_mountpoint_expiry_timeout
    """
    mount = _mount(path)
    return mount.source if mount.kind in NETWORK_FILE_SYSTEMS else ''


def does_direct_io(path: str, mode: int) -> bool:
    """Tell whether a file can be opened past the page cache.

    Asked of the file itself (Nova asks ``instances_path``).

    :param mode: os.O_RDONLY or os.O_WRONLY
    :returns: False also for what cannot be opened at all
    :source: nova/privsep/utils.py supports_direct_io
    """
    try:
        # To open a pipe must be no wait.
        os.close(os.open(path, mode | os.O_NONBLOCK | os.O_DIRECT))
    except OSError:
        return False
    return True


def may_share_blocks(path: str, directory: str) -> bool:
    """Tell whether a file in a directory may be made a clone of another.

    Only a try says whether it can: an XFS may have been made without.
    """
    kinds = {file_system_type(path), file_system_type(directory)}
    if not kinds <= CLONING_FILE_SYSTEMS or len(kinds) > 1:
        return False
    try:
        return (kinds == {SUBVOLUMES}
                or os.stat(path).st_dev == os.stat(directory).st_dev)
    except OSError:
        return False


def check_local(path: str) -> None:
    """Fail unless a directory is on a disk of this host.

    Another host must never read our records and locks as its own.

    :raises JournalError: when it is on a network file system
    """
    existing = os.path.realpath(path)
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    kind = network_type(existing)
    if kind:
        raise errors.JournalError(
            reason=f'[nova_snap]journal_dir {path} is on a network file '
                   f'system ({kind}), which other hosts see too. Set it to '
                   'a directory on a local disk')


def check_lasting(path: str) -> None:
    """Fail unless what a directory holds outlives this container.

    :raises JournalError: when it is on the file system of a container's
        image, or in memory
    """
    kind = file_system_type(path)
    if kind in PASSING_FILE_SYSTEMS:
        raise errors.JournalError(
            reason=f'[nova_snap]journal_dir {path} is on a file system '
                   f'({kind}) that goes with this container, or with the '
                   'next boot, and a guest that a killed snapshot left '
                   'stopped or undefined stays so. Mount a directory of the '
                   'host there, or set it to one that is')
