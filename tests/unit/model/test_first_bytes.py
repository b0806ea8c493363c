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

import ddt
from oslotest import base

from nova_snap.model import first_bytes as first_bytes_model
from tests.contract import first_bytes


@ddt.ddt
class WhyRefusedTestCase(base.BaseTestCase):
    """The same beginnings are sent to Glance in the contract's tests."""

    @ddt.named_data(*first_bytes.TAKEN.items())
    def test_glance_takes_a_raw_disk(self, first):
        self.assertIsNone(first_bytes_model.why_refused(first))

    @ddt.named_data(*first_bytes.REFUSED.items())
    def test_glance_refuses_a_raw_disk(self, first):
        self.assertIsNotNone(first_bytes_model.why_refused(first))

    @ddt.data(
        (first_bytes.boot_sector(), 'its boot sector has no partition in it'),
        (first_bytes.boot_sector((0x41, b'abc', 0x83, 7)),
         'its boot sector has no partition table, or entry 1 of it has the '
         'odd boot flag 0x41'),
        (first_bytes.boot_sector(first_bytes.PROTECTIVE, first_bytes.LINUX),
         'its protective MBR has more than one partition'),
        (first_bytes.qcow2(3, 104), 'it begins as qcow2'),
        (first_bytes.boot_sector(more=((0, b'conectix'),)),
         'it begins as VHD and MBR at once'))
    @ddt.unpack
    def test_it_says_why(self, first, why):
        self.assertEqual(why, first_bytes_model.why_refused(first))

    def test_of_a_disk_without_a_whole_sector_nothing_is_said(self):
        first = first_bytes.boot_sector()[:511]
        self.assertIsNone(first_bytes_model.why_refused(first))


@ddt.ddt
class IsQcow2TestCase(base.BaseTestCase):

    @ddt.data((b'QFI\xfb', True), (b'QFI\xfb\0\0\0\3', True),
              (b'QFI', False), (b'', False), (b'\0QFI\xfb', False))
    @ddt.unpack
    def test_it_begins_as_a_qcow2_file_does(self, first, begins):
        self.assertIs(begins, first_bytes_model.is_qcow2(first))
