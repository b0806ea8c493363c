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

"""How disks begin that Glance was seen to take as raw, and to refuse."""

import struct

from nova_snap.model import first_bytes as first_bytes_model

BOOT, ISO = b'\x55\xaa', b'CD001'
ISO_AT = 32 * 1024 + 1
LINUX = (0x80, b'\x20\x21\x00', 0x83, 2048)
PROTECTIVE = (0x00, b'\x00\x02\x00', 0xEE, 1)


def beginning(*pieces: tuple[int, bytes]) -> bytes:
    """Return the first bytes of a disk, zeros but for the pieces."""
    first = bytearray(first_bytes_model.LENGTH)
    for offset, piece in pieces:
        first[offset:offset + len(piece)] = piece
    return bytes(first)


def boot_sector(*entries: tuple[int, bytes, int, int],
                more: tuple[tuple[int, bytes], ...] = ()) -> bytes:
    """Return a disk with a boot sector.

    :param entries: flag, first cylinder and head and sector, type and first
        block of each partition
    """
    return beginning((510, BOOT), *(
        (446 + 16 * number, struct.pack('<B3sB3sII', flag, start, kind,
                                        b'\xfe\xff\xff', block, 4096))
        for number, (flag, start, kind, block) in enumerate(entries)), *more)


def qcow2(version: int, backing: int = 0, features: int = 0) -> bytes:
    """Return a disk into which its guest has written a qcow2 header."""
    return beginning((0, struct.pack('>4sIQ', b'QFI\xfb', version, backing)),
                     (72, struct.pack('>Q', features)))


TAKEN: dict[str, bytes] = {
    'of zeros': beginning(),
    'with an MBR and a partition': boot_sector(LINUX),
    'with a GPT': boot_sector(PROTECTIVE),
    'with a FAT file system and no table':
        boot_sector((0x41, b'', 0, 0),
                    more=((0x10, b'\x02'), (0x15, b'\xf8'))),
    'of an ISO': beginning((ISO_AT, ISO)),
    'with a qcow2 file in it': qcow2(3),
    'with an old qcow2 file in it': qcow2(2),
    'with a VHD file in it': beginning((0, b'conectix')),
    'with LUKS 1': beginning((0, b'LUKS\xba\xbe\x00\x01')),
}

REFUSED: dict[str, bytes] = {
    'with a boot sector and no partition': boot_sector(),
    'with a boot sector and code where the table is':
        boot_sector((0x41, b'abc', 0x83, 7)),
    'with an odd flag in the fourth entry':
        boot_sector(LINUX, (0, b'', 0, 0), (0, b'', 0, 0), (1, b'', 0, 0)),
    'with a hybrid MBR': boot_sector(PROTECTIVE, LINUX),
    'with a protective MBR that starts at another block':
        boot_sector((0x00, b'\x00\x02\x00', 0xEE, 2)),
    'with a protective MBR that starts at another head':
        boot_sector((0x00, b'\x00\x01\x00', 0xEE, 1)),
    'with a qcow2 file in it that has a backing file': qcow2(3, 104),
    'with a qcow2 file in it that has a data file': qcow2(3, features=4),
    'with a qcow2 file in it of no known version': qcow2(4),
    'with a qcow2 file in it and unknown features': qcow2(3, features=32),
    'with a QED file in it': beginning((0, b'QED\x00')),
    'with a part of a VMDK file in it': beginning((0, b'KDMV')),
    'with LUKS 2': beginning((0, b'LUKS\xba\xbe\x00\x02')),
    'of an ISO that boots from a disk': boot_sector(
        LINUX, more=((ISO_AT, ISO),)),
    'of an ISO with a VHD file in it':
        beginning((0, b'conectix'), (ISO_AT, ISO)),
}
