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

"""What a guest can write into its own disk, and a user into a name.

A header is bytes for the beginning of a raw disk, and for other places on it.
"""

import collections.abc as cabc
import pathlib
import struct

from tests.functional import test_formats_security as traps

SECTOR = 512
# Where the partition table begins, which the guest boots by.
ROOM = 446

Bytes = dict[int, bytes]


def _trap(kind: str) -> cabc.Callable[[pathlib.Path], Bytes]:
    def make(secret: pathlib.Path) -> Bytes:
        header, tables = traps.make_trap(kind, secret)
        del tables
        return {0: header}

    return make


def _qcow2(**changes: int) -> cabc.Callable[[pathlib.Path], Bytes]:
    """Make a qcow2 header with absurd fields.

    :source: QEMU docs/interop/qcow2.txt
    """
    def make(secret: pathlib.Path) -> Bytes:
        fields = {'version': 3, 'backing': 0, 'length': 0, 'bits': 16,
                  'size': 1 << 30, 'crypt': 0, 'l1_size': 1, 'l1': 1 << 16,
                  'table': 1 << 16, 'clusters': 1, 'snapshots': 0, 'at': 0,
                  'incompatible': 0, 'compatible': 0, 'autoclear': 0,
                  'order': 4, 'header': 104, **changes}
        return {0: traps.HEADER.pack(traps.MAGIC, *fields.values())}

    return make


def _vmdk(secret: pathlib.Path) -> Bytes:
    """Name a file of the host as an extent.

    :source: QEMU block/vmdk.c vmdk_open_desc_file
    """
    return {0: ('# Disk DescriptorFile\nversion=1\nCID=1\n'
                'createType="monolithicFlat"\n'
                f'RW 2048 FLAT "{secret}" 0\n').encode()[:ROOM]}


HEADERS: dict[str, cabc.Callable[[pathlib.Path], Bytes]] = {
    'qcow2-backing': _trap('backing'),
    'qcow2-data-file': _trap('data'),
    'qcow2-huge': _qcow2(size=1 << 62, l1_size=1 << 25),
    'qcow2-tables-nowhere': _qcow2(l1=1 << 60, table=1 << 60),
    'qcow2-tiny-clusters': _qcow2(bits=0),
    'qcow2-unknown-features': _qcow2(incompatible=1 << 63),
    'qcow2-of-a-bomb': _qcow2(incompatible=1 << 3, bits=21, size=1 << 40),
    'qcow2-encrypted': _qcow2(crypt=1),
    'vmdk-extent': _vmdk,
    'vmdk-sparse': lambda secret: {0: b'KDMV' + struct.pack('<II', 3, 3)},
    'vdi': lambda secret: {0: b'<<< Oracle VM VirtualBox Disk Image >>>\n',
                           64: b'\x7f\x10\xda\xbe'},
    'vhd': lambda secret: {0: b'conectix'},
    'vhdx': lambda secret: {0: b'vhdxfile'},
    'qed': lambda secret: {0: b'QED\0'},
    'luks': lambda secret: {0: b'LUKS\xba\xbe\0\1'},
    'iso': lambda secret: {(32 << 10) + 1: b'CD001'},
    'gpt': lambda secret: {ROOM + 4: b'\xee', SECTOR: b'EFI PART'},
}

NAMES = {
    'quotes': '\'"`$(reboot)',
    'newline': 'a\nb',
    'path': '../../../etc/shadow',
    'unicode': '\u202e\U0001f4be\u0661',
    'entities': '&lt;!ENTITY a SYSTEM "file:///etc/shadow"&gt;',
    'long': 'x' * 4096,
    'format': '%s %(a)s {0}',
}
