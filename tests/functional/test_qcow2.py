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

"""What QEMU's own tools say of an image that was laid out beforehand."""

import json
import pathlib
import subprocess

import fixtures
import hypothesis
from oslotest import base

from nova_snap.model import pieces as pieces_model
from nova_snap.model import qcow2 as qcow2_model
from tests.fakes import disk_extents


class QemuImgTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.disk, self.image = folder / 'disk', folder / 'image'

    def write(self, disk):
        layout = qcow2_model.Qcow2(disk.size_bytes, disk.extents)
        with self.image.open('wb') as image:
            for piece in layout.pieces():
                image.write(piece.data
                            if isinstance(piece, pieces_model.Known)
                            else disk.at(piece.offset, piece.length))
        with self.disk.open('wb') as raw:
            for extent in disk.extents:
                if not extent.is_zero:
                    raw.seek(extent.offset)
                    raw.write(disk.at(extent.offset, extent.length))
            raw.truncate(disk.size_bytes)

    def qemu_img(self, *words):
        return subprocess.run(['qemu-img', *words], check=True, text=True,
                              capture_output=True).stdout

    @disk_extents.settings(max_examples=40)
    @hypothesis.given(disk_extents.extents())
    def test_it_is_well_formed_and_equal_to_the_disk(self, extents):
        self.write(disk_extents.Disk(extents))
        found = json.loads(self.qemu_img(
            'check', '--output=json', '-f', 'qcow2', str(self.image)))
        self.assertEqual(0, found['check-errors'])
        for fault in ('corruptions', 'leaks'):
            self.assertNotIn(fault, found)
        self.qemu_img('compare', '-f', 'qcow2', '-F', 'raw', str(self.image),
                      str(self.disk))
