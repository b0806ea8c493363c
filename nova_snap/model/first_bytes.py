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

"""How a disk begins, and whether Glance would take a raw image of it.

Glance looks at what it is sent, and refuses (415) a raw image that seems to be
something that it does not let in. The guest may have written anything there.
Older releases of Glance look less closely: this is the strictest known one.

:source: glance/location.py ImageProxy.set_data; oslo_utils
    imageutils/format_inspector.py ALL_FORMATS and InspectWrapper.formats
"""

import collections.abc as cabc
import struct

from nova_snap import units

# The last that Glance looks for is that of an ISO 9660 image, which has 32 KiB
# free before its own.
LENGTH = 34 * units.KiB

SECTOR = 512
QCOW2 = b'QFI\xfb'
# Where the partition table of an MBR lies, and what the sector ends with.
TABLE = 446
ENTRY = struct.Struct('<B3sB3sII')
MBR_SIGNATURE = b'\x55\xaa'
BOOT_FLAGS = (0x00, 0x80)
# An entry that stands for the whole disk, whose real table is a GPT.
PROTECTIVE = 0xEE
PROTECTIVE_START = b'\x00\x02\x00'
# A boot sector of FAT's is like an MBR, but has these and no table.
NUMBER_OF_FATS, MEDIA = 0x10, 0x15
FIXED_DISK = 0xF8
ISO_SIGNATURE = slice(32 * units.KiB + 1, 32 * units.KiB + 6)
VDI_SIGNATURE = slice(0x40, 0x44)
# A header's backing file and its incompatible features, which version 3 has:
# one says that the data are in another file, and three more are known.
# :source: QEMU docs/interop/qcow2.txt
QCOW2_VERSION, QCOW2_BACKING = slice(4, 8), slice(8, 16)
QCOW2_FEATURES = slice(72, 80)
QCOW2_DATA_FILE, QCOW2_KNOWN = 0b0100, 0b1111
LUKS_VERSION = slice(6, 8)

Matches = cabc.Callable[[bytes], bool]

FORMATS: dict[str, Matches] = {
    'qcow2': lambda first: first.startswith(QCOW2),
    'QED': lambda first: first.startswith(b'QED\0'),
    'VHD': lambda first: first.startswith(b'conectix'),
    'VHDX': lambda first: first.startswith(b'vhdxfile'),
    'VMDK': lambda first: first.startswith(b'KDMV'),
    'VDI': lambda first: first[VDI_SIGNATURE] == b'\x7f\x10\xda\xbe',
    'LUKS': lambda first: first.startswith(b'LUKS\xba\xbe'),
    'ISO': lambda first: first[ISO_SIGNATURE] in (b'CD001', b'NSR02',
                                                  b'NSR03'),
}
# Taken whatever is in it. A sound VMDK is too, and it is not told from others.
HARMLESS = ('VHD', 'VHDX', 'VDI', 'ISO')


def is_qcow2(first: bytes) -> bool:
    """Tell whether a disk begins with the magic number of qcow2.

    The guest may have written it there: it says nothing of the format.

    :source: QEMU docs/interop/qcow2.txt
    """
    return first.startswith(QCOW2)


def why_refused(first: bytes) -> str | None:
    """Say why Glance would refuse a raw image that begins so.

    :param first: its first :data:`LENGTH` bytes, or all where it is shorter
    :returns: what it has, in words; None where Glance would take it
    """
    if len(first) < SECTOR:
        return None
    found = [name for name, matches in FORMATS.items() if matches(first)]
    if _is_mbr(first):
        found.append('MBR')
    if not found:
        return None
    if len(found) > 1:
        # An ISO that boots from a disk is one as the format iso alone.
        return f'it begins as {" and ".join(found)} at once'
    (name,) = found
    if name == 'MBR':
        return _why_not_mbr(first)
    if name in HARMLESS or (name == 'qcow2' and _is_whole_qcow2(first)) or (
            name == 'LUKS' and first[LUKS_VERSION] == b'\x00\x01'):
        return None
    return f'it begins as {name}'


def _is_mbr(first: bytes) -> bool:
    """Tell whether the first sector is a boot sector, and not FAT's."""
    is_fat = first[NUMBER_OF_FATS] == 2 and first[MEDIA] == FIXED_DISK
    return first[SECTOR - 2:SECTOR] == MBR_SIGNATURE and not is_fat


def _why_not_mbr(first: bytes) -> str | None:
    """Say what is odd in the partition table of a boot sector.

    :source: oslo_utils imageutils/format_inspector.py
        GPTInspector.check_mbr_partitions
    """
    used, protective = [], False
    for number in range(1, 5):
        flag, start, kind, _, sector, _ = ENTRY.unpack_from(
            first, TABLE + ENTRY.size * (number - 1))
        if flag not in BOOT_FLAGS:
            return ('its boot sector has no partition table, or entry '
                    f'{number} of it has the odd boot flag {flag:#04x}')
        if kind:
            used.append(number)
        if kind == PROTECTIVE:
            protective = True
            if start != PROTECTIVE_START or sector != 1:
                return f'entry {number} of its protective MBR starts oddly'
    if protective and used != [1]:
        return 'its protective MBR has more than one partition'
    if not used:
        return 'its boot sector has no partition in it'
    return None


def _is_whole_qcow2(first: bytes) -> bool:
    """Tell whether a qcow2 header names no other file, and nothing new."""
    version = int.from_bytes(first[QCOW2_VERSION], 'big')
    features = int.from_bytes(first[QCOW2_FEATURES], 'big')
    return (version in (2, 3) and not any(first[QCOW2_BACKING])
            and not features & QCOW2_DATA_FILE
            and (version == 2 or not features & ~QCOW2_KNOWN))
