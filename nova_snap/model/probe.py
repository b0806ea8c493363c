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

"""The format of a file that no guest can write to, by how it begins.

QEMU and libvirt find out in this way what a header does not name. Nothing is
opened that the bytes name.
"""

import re
import struct

from nova_snap.model import first_bytes as first_bytes_model

# As much as QEMU looks at.
# :source: QEMU include/block/block_int-common.h BLOCK_PROBE_BUF_SIZE
HEAD_BYTES = 512

QCOW2_VERSIONS = (2, 3)
# The magic number, the version, the offset of the name of a backing file; and
# at 32 the kind of encryption, at 72 the features that a reader must know.
# :source: QEMU docs/interop/qcow2.txt, "Header"
QCOW2_HEADER = struct.Struct('>4sIQ16xI36xQ')
HAS_DATA_FILE = 1 << 2

# How those begin that QEMU or libvirt would recognise, and Glance would not.
# An ISO is raw to QEMU.
# :source: bdrv_probe in QEMU block/bochs.c, cloop.c, parallels.c, and vmdk.c;
#     libvirt src/storage_file/storage_file_probe.c
OTHERS = re.compile(
    rb'QFI\xfb|COWD|OOOM|Bochs Virtual HD Image|#!/bin/sh\n#V2\.0 Format'
    rb'|WithoutFreeSpace|WithouFreSpacExt'
    rb'|(?:#[^\n]*\n|[ \r]*\n)*version=')
NOT_RAW = [matches for name, matches in first_bytes_model.FORMATS.items()
           if name != 'ISO']


def format_of(head: bytes) -> str:
    """Return the format of a file that is whole in itself.

    :param head: its first bytes, HEAD_BYTES or all there are
    :returns: 'raw' or 'qcow2'; '' for another format, for an encrypted file,
        and for one that refers to another file
    """
    if _is_whole_qcow2(head):
        return 'qcow2'
    is_other = OTHERS.match(head) or any(matches(head) for matches in NOT_RAW)
    return '' if is_other else 'raw'


def _is_whole_qcow2(head: bytes) -> bool:
    if not first_bytes_model.is_qcow2(head) or len(head) < QCOW2_HEADER.size:
        return False
    _, version, backing, encryption, features = QCOW2_HEADER.unpack_from(head)
    if version == min(QCOW2_VERSIONS):
        # What follows its header is something else.
        features = 0
    return (version in QCOW2_VERSIONS and not backing and not encryption
            and not features & HAS_DATA_FILE)
