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
from oslo_utils.imageutils import format_inspector
from oslotest import base

from nova_snap.model import extents as extents_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import qcow2 as qcow2_model
from nova_snap import units
from tests.fakes import disk_extents

TIB = 1024 * units.GiB
# Where the data of the largest disk lie: at both ends, and across the border
# of what two L2 tables describe. It ends within a cluster.
LARGEST = 16 * TIB - 512
DATA_AT = ((0, 3 * qcow2_model.CLUSTER),
           (7 * TIB - units.MiB, 2 * units.MiB),
           (LARGEST - 1000, 1000))


class QemuImgTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.disk, self.image = folder / 'disk', folder / 'image'

    def write_image(self, disk):
        layout = qcow2_model.Qcow2(disk.size_bytes, disk.extents)
        with self.image.open('wb') as image:
            for piece in layout.pieces():
                image.write(piece.data
                            if isinstance(piece, pieces_model.Known)
                            else disk.at(piece.offset, piece.length))

    def write_disk(self, disk):
        with self.disk.open('wb') as raw:
            for extent in disk.extents:
                if not extent.is_zero:
                    raw.seek(extent.offset)
                    raw.write(disk.at(extent.offset, extent.length))
            raw.truncate(disk.size_bytes)

    def qemu_img(self, *words):
        return subprocess.run(['qemu-img', *words], check=True, text=True,
                              capture_output=True).stdout

    def assert_good(self, disk_format):
        """Have the tools look at the image, and compare it with the disk."""
        found = json.loads(self.qemu_img(
            'check', '--output=json', '-f', 'qcow2', str(self.image)))
        self.assertEqual(0, found['check-errors'])
        for fault in ('corruptions', 'leaks'):
            self.assertNotIn(fault, found)
        self.qemu_img('compare', '-f', 'qcow2', '-F', disk_format,
                      str(self.image), str(self.disk))
        # What Glance and Nova judge an image by.
        inspector = format_inspector.detect_file_format(str(self.image))
        self.assertEqual('qcow2', str(inspector))
        inspector.safety_check()

    @disk_extents.settings(max_examples=40)
    @hypothesis.given(disk_extents.extents())
    def test_it_is_well_formed_and_equal_to_the_disk(self, extents):
        disk = disk_extents.Disk(extents)
        self.write_image(disk)
        self.write_disk(disk)
        self.assert_good('raw')

    def test_so_is_that_of_the_largest_disk(self):
        """16 TiB, which not each file system has room for, in qcow2."""
        found = extents_model.Extents()
        for offset, length in DATA_AT:
            if offset:
                found.append(offset, is_zero=True)
            found.append(offset + length, is_zero=False)
        disk = disk_extents.Disk(list(found))
        self.write_image(disk)
        self.qemu_img('create', '-q', '-f', 'qcow2', str(self.disk),
                      str(LARGEST))
        part = self.disk.with_name('part')
        for offset, length in DATA_AT:
            part.write_bytes(disk.at(offset, length))
            subprocess.run(['qemu-io', '-f', 'qcow2', '-c',
                            f'write -s {part} {offset} {length}',
                            str(self.disk)], check=True, capture_output=True)
        self.assert_good('qcow2')
