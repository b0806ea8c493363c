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

from tests.lab import errors
from tests.lab.guest import copy as guest_copy

CONSOLE = """\
GUEST boot 01404b71-fece-45ef-bb76-b2c08a26e844\r
GUEST ext4 mounted\r
GUEST ext4 recovered no\r
GUEST ext4 errors no\r
GUEST data ok\r
GUEST records 21 ok stray -1\r
GUEST ready\r
"""

GOOD = guest_copy.Found(
    mounted=True,
    recovered=False,
    errors=False,
    data_ok=True,
    records=21,
    records_ok=True,
)


@ddt.ddt
class ParseTest(base.BaseTestCase):

    def test_good_copy(self):
        self.assertEqual(GOOD, guest_copy.parse(CONSOLE))

    @ddt.data(
        ('does_not_mount', 'ext4 mounted', 'ext4 failed', 'mounted', False),
        ('was_replayed', 'recovered no', 'recovered yes', 'recovered', True),
        ('has_errors', 'errors no', 'errors yes', 'errors', True),
        ('lost_a_file', 'data ok', 'data bad', 'data_ok', False),
        ('has_a_gap', 'records 21 ok stray -1', 'records 21 bad stray 48',
         'records_ok', False))
    @ddt.unpack
    def test_copy_that(self, _sentence, line, instead, name, value):
        found = guest_copy.parse(CONSOLE.replace(line, instead))
        self.assertEqual(value, getattr(found, name))

    def test_guest_that_says_nothing_is_no_proof(self):
        self.assertRaises(errors.LabError, guest_copy.parse,
                          CONSOLE.replace('GUEST data ok', ''))
