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

from nova_snap import units


@ddt.ddt
class FormatBytesTestCase(base.BaseTestCase):

    @ddt.data(
        ('nothing', 0, '0 bytes'),
        ('the last that is shown in bytes', 1023, '1023 bytes'),
        ('one KiB', 1024, '1.0 KiB'),
        ('one byte less than a MiB', units.MiB - 1, '1024.0 KiB'),
        ('one and a half GiB', 3 * units.GiB // 2, '1.5 GiB'),
        ('more than a TiB stays in GiB', 2048 * units.GiB, '2048.0 GiB'),
        ('what is missing may be negative', -2 * units.MiB, '-2.0 MiB'),
    )
    @ddt.unpack
    def test_a_size_reads_as_an_operator_expects(self, _name, size, text):
        self.assertEqual(text, units.format_bytes(size))


@ddt.ddt
class CeilGibTestCase(base.BaseTestCase):

    @ddt.data(
        ('nothing needs no disk', 0, 0),
        ('one byte needs one GiB', 1, 1),
        ('a whole GiB is not rounded', units.GiB, 1),
        ('one byte more needs two', units.GiB + 1, 2),
    )
    @ddt.unpack
    def test_a_size_is_rounded_up(self, _name, size, gib):
        self.assertEqual(gib, units.ceil_gib(size))
