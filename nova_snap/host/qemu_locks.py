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

"""The locks that a QEMU has on each file of its disks.

They tell which file a guest has open, where the name leads to another one.

:source: QEMU block/file-posix.c raw_apply_lock_bytes; fcntl(2), open file
    description locks; proc(5), /proc/locks
"""

import contextlib
import fcntl
import os
import pathlib
import struct

from nova_snap.host import file_systems
from nova_snap import lookup

LOCKS = pathlib.Path('/proc/locks')
KIND = 'OFDLCK'

# A byte that no QEMU locks: its own are 100 to 263.
# :source: QEMU block/file-posix.c RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE
BYTE = 1023
# struct flock with 64 bits for offsets.
FORMAT = 'hhqqi4x'


def are_held(path: str) -> bool:
    """Tell whether locks of QEMU's kind are seen on a file.

    Not each file system shows them, and a kernel may count its devices in
    another way.
    """
    with contextlib.suppress(OSError):
        figures = os.stat(path)
        name = (f'{os.major(figures.st_dev):02x}:'
                f'{os.minor(figures.st_dev):02x}:{figures.st_ino}')
        return any(name in words and KIND in words for words
                   in map(str.split, LOCKS.read_text().splitlines()))
    return False


def are_shown(path: str) -> bool:
    """Tell whether a lock on a file is seen, by having one for a moment.

    Not on a network file system, whose server might not answer.
    """
    if file_systems.network_type(path):
        return False
    with contextlib.suppress(OSError), lookup.opened(path) as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(
            FORMAT, fcntl.F_RDLCK, os.SEEK_SET, BYTE, 1, 0))
        return are_held(path)
    return False
