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

from nova_snap import errors

MOUNTS = pathlib.Path('/proc/self/mountinfo')
NETWORK_FILE_SYSTEMS = frozenset((
    '9p', 'afs', 'beegfs', 'ceph', 'cifs', 'coda', 'fuse.ceph',
    'fuse.ceph-fuse', 'fuse.glusterfs', 'fuse.sshfs', 'gfs2', 'gpfs',
    'lustre', 'nfs', 'nfs4', 'ocfs2', 'orangefs', 'smb3'))

# What is gone with a container, or at the next boot.
PASSING_FILE_SYSTEMS = frozenset((
    'aufs', 'fuse.fuse-overlayfs', 'overlay', 'ramfs', 'tmpfs'))


def file_system_type(path: str) -> str:
    """Return the type of the file system that holds a path."""
    return _mount(path)[1]


def mount_point(path: str) -> str:
    """Return where the file system that holds a path is mounted."""
    return _mount(path)[0]


def _mount(path: str) -> tuple[str, str]:
    """Return the mount point and the type of the file system of a path.

    :source: proc(5), /proc/pid/mountinfo
    """
    resolved = os.path.realpath(path)
    best, best_type = '', 'unknown'
    for line in MOUNTS.read_bytes().splitlines():
        before, _, after = line.partition(b' - ')
        # A blank in a path is written \040.
        where = os.fsdecode(re.sub(
            rb'\\([0-7]{3})', lambda found: bytes((int(found[1], 8),)),
            before.split()[4]))
        if (os.path.commonpath((resolved, where)) == where
                and len(where) >= len(best)):
            best, best_type = where, after.split()[0].decode()
    return best, best_type


def check_local(path: str) -> None:
    """Fail unless a directory is on a disk of this host.

    Another host must never read our records and locks as its own.

    :raises JournalError: when it is on a network file system
    """
    existing = os.path.realpath(path)
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    kind = file_system_type(existing)
    if kind in NETWORK_FILE_SYSTEMS:
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
