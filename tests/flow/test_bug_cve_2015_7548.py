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

"""A guest writes a qcow2 header into its raw disk, to read the host's files.

The header names a backing file, or a data file; upstream once believed it.
It gets its own bytes back.

:source: CVE-2015-7548, CVE-2024-32498
"""

import ddt

from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


@ddt.ddt
class HeaderTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(driver_format='raw', layers=1)

    def setUp(self):
        super().setUp()
        secret = str(self.fake.folder / 'secret')
        fake_disk.DiskFile('raw', fake_node.DISK_BYTES,
                      clusters={'secret': "the host's"}).save(secret)
        self.secret = secret

    def write_header(self, **header):
        file = fake_disk.DiskFile.load(self.fake.disks[0])
        file.format = 'qcow2'
        for name, value in header.items():
            setattr(file, name, value)
        file.save(self.fake.disks[0])

    @ddt.data('live', 'cold', 'stopped')
    def test_of_a_backing_file(self, method):
        self.write_header(backing=self.secret, backing_format='raw')
        self.take_and_look(method)

    @ddt.data('live', 'cold', 'stopped')
    def test_of_a_data_file(self, method):
        self.write_header(data_file=self.secret)
        self.take_and_look(method)

    def take_and_look(self, method):
        if method != 'stopped':
            self.fake.guest.create()
        process = self.fake.process()

        self.take(process, cold=method == 'cold', image_format='qcow2')

        self.assertNotIn('secret', self.image().clusters)
        self.assertIn('layer 0', self.image().clusters)
        for call in process.calls.made:
            self.assertNotIn('disk:qcow2', str(call))
            self.assertNotIn('secret', str(call))
