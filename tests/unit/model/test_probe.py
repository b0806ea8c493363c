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

import struct

import ddt
from oslotest import base

from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import probe

# Long enough for any magic number.
REST = b'\0' * probe.HEAD_BYTES


def qcow2(version=3, backing=0, encryption=0, features=0):
    return probe.QCOW2_HEADER.pack(
        first_bytes_model.QCOW2, version, backing, encryption, features) + REST


@ddt.ddt
class FormatTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['a boot sector', b'\xeb\x63\x90' + REST],
        ['zeros', REST],
        ['nothing', b''],
        ['a script of the guest', b'#!/bin/sh\necho hello\n' + REST],
        ['a magic number elsewhere', b'\0' + first_bytes_model.QCOW2 + REST],
        ['the number of VDI elsewhere', b'\x7f\x10\xda\xbe' + REST],
    )
    def test_raw_is(self, head):
        self.assertEqual('raw', probe.format_of(head))

    @ddt.named_data(
        ['version 3', qcow2()],
        ['version 2', qcow2(version=2)],
        # Where version 3 has its features version 2 has something else.
        ['version 2 and what follows', qcow2(version=2, features=4)],
        ['features that change nothing here', qcow2(features=1)],
    )
    def test_qcow2_is(self, head):
        self.assertEqual('qcow2', probe.format_of(head))

    @ddt.named_data(
        ['a qcow2 with a backing file', qcow2(backing=1 << 40)],
        ['a qcow2 with its data elsewhere', qcow2(features=4)],
        ['an encrypted qcow2', qcow2(encryption=2)],
        ['the first qcow', qcow2(version=1)],
        ['a qcow2 to come', qcow2(version=4)],
        ['half a header', first_bytes_model.QCOW2 + b'\0\0\0\3'],
        ['LUKS', b'LUKS\xba\xbe\0\1' + REST],
        ['QED', b'QED\0' + REST],
        ['VMDK', b'KDMV' + REST],
        ['VMDK in words',
         b'# Disk DescriptorFile\n# more\n\nversion=1\nRW 1 FLAT "/etc/x" 0'],
        ['VHD', b'conectix' + REST],
        ['VHDX', b'vhdxfile' + REST],
        ['VDI', b'<<< Oracle VM VirtualBox Disk Image >>>'.ljust(64, b'\0')
         + struct.pack('<I', 0xbeda107f) + REST],
        ['Parallels', b'WithouFreSpacExt' + REST],
    )
    def test_neither_is(self, head):
        self.assertEqual('', probe.format_of(head))
