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

from bench import figures
from bench import meter as meter_module
from bench import results
from bench import row
from bench import table

MIB = 1 << 20


def sample(variant='put', seconds=10.0, **facts):
    """Return a sample; each fact may be given."""
    return figures.Sample(**{
        'shape': 'mixed', 'variant': variant, 'round': 0, 'seconds': seconds,
        'load_seconds': 0.5, 'read_bytes': 3 * MIB, 'written_bytes': 2 * MIB,
        'sent_bytes': MIB, 'memory_bytes': 70 * MIB, 'stall_seconds': None,
        'frozen_seconds': None,
        'cpu_seconds': dict.fromkeys(figures.PROCESSES, 1.0), **facts})


@ddt.ddt
class RowsTestCase(base.BaseTestCase):

    def test_a_row_has_the_medians(self):
        (found,) = figures.rows([
            sample(seconds=seconds, sent_bytes=size, stall_seconds=stall)
            for seconds, size, stall in ((9, 5, 0.1), (30, 7, 0.9),
                                         (10, 6, 0.2))])
        self.assertEqual((3, 10, 9, 30, 6, 0.2),
                         (found.count, found.seconds, found.fastest,
                          found.slowest, found.sent_bytes,
                          found.stall_seconds))

    def test_the_ratio_is_to_the_bare_put_of_the_same_shape(self):
        found = figures.rows([
            sample(seconds=10), sample('upstream', 15),
            sample(shape='busy', seconds=20),
            sample('upstream', 25, shape='busy')])
        self.assertEqual([1, 1.5, 1, 1.25], [one.ratio for one in found])

    def test_without_a_bare_put_there_is_no_ratio(self):
        (found,) = figures.rows([sample('upstream')])
        self.assertIsNone(found.ratio)
        self.assertEqual('-', table.cells(found)[3])

    def test_rounds_without_a_freeze_do_not_count_for_it(self):
        (found,) = figures.rows([sample(frozen_seconds=frozen)
                                 for frozen in (None, 0.25)])
        self.assertEqual(0.25, found.frozen_seconds)

    def test_all_can_be_written_and_read_again(self):
        wanted = sample(stall_seconds=0.5)
        self.assertEqual(wanted, figures.sample_of(wanted.describe()))

    def test_a_sample_of_an_older_file_is_refused(self):
        described = sample().describe()
        del described['stall_seconds']
        self.assertRaises(KeyError, figures.sample_of, described)

    def test_eight_that_take_nine_times_as_long_have_eight_ninths(self):
        self.assertEqual(8 / 9, figures.share(8 * MIB, 9, MIB, 1))


class TableTestCase(base.BaseTestCase):

    def test_each_value_is_below_its_name(self):
        (found,) = figures.rows([sample(stall_seconds=0.25)])
        said = dict(zip(table.COLUMNS, table.cells(found), strict=True))
        self.assertEqual(
            ('put', '10.0', '1.00', '3', '2', '1', '70', '250', '-'),
            tuple(said[name] for name in (
                'variant', 'seconds', 'to PUT', 'MiB read', 'MiB written',
                'MiB sent', 'peak MiB', 'stall ms', 'frozen ms')))

    def test_columns_are_as_wide_as_their_longest_cell(self):
        self.assertEqual('a      10\nlong    5',
                         table.as_text([['a', '10'], ['long', '  5']]))

    def test_a_table_for_sphinx_has_a_head(self):
        self.assertEqual(
            '.. list-table:: Title\n   :header-rows: 1\n\n'
            '   * - a\n     - b\n   * - 1\n     - 2\n',
            table.as_rst('Title', [['a', 'b'], ['1', '2']]))

    def test_a_quick_shape_has_the_title_of_the_whole_one(self):
        found = results.Results({'cores': '2'}, [sample(shape='mixed/8')])
        self.assertIn('mixed/8: many bytes; medians of 1',
                      found.as_rst({'mixed': 'many bytes'}))


@ddt.ddt
class MeterTestCase(base.BaseTestCase):

    def test_the_stall_is_the_longest_write(self):
        self.assertEqual(0.9, meter_module.stall_seconds(
            b'LOAD 1000 20 400\r\nREC 7\r\nLOAD 1500 9 900000\nLOAD 2000 1 '))

    def test_a_guest_that_says_nothing_has_no_stall(self):
        self.assertIsNone(meter_module.stall_seconds(b'REC 7\nLOAD'))

    @ddt.data(([], None), ([('freeze', 1)], None),
              ([('freeze', 1), ('thaw', 1.25)], 0.25),
              # A thaw that is repeated, and one without a freeze.
              ([('thaw', 0), ('freeze', 1), ('thaw', 2), ('thaw', 9)], 1))
    @ddt.unpack
    def test_frozen_is_from_the_freeze_to_the_thaw(self, events, frozen):
        self.assertEqual(frozen, meter_module.frozen_seconds(events))


class RowTestCase(base.BaseTestCase):

    def test_it_looks_ten_times_the_last_time_at_the_end(self):
        found = row.when(200)
        self.assertEqual((10, 10, 200),
                         (len(found), min(found), max(found)))

    def test_few_snapshots_are_looked_at_as_well(self):
        self.assertEqual({3}, row.when(3))

    def test_what_is_flat_has_not_grown(self):
        looks = [(number, 80 * MIB + number, 9, 2) for number in range(10)]
        self.assertEqual([], row.grown(looks, {'domains': (1, 1)}))

    def test_what_comes_and_goes_has_not_grown(self):
        looks = [(number, 80 * MIB, 5 + number % 3, 2)
                 for number in range(3, 13)]
        self.assertEqual([], row.grown(looks, {}))

    def test_one_look_says_nothing(self):
        self.assertEqual([], row.grown([(1, 80 * MIB, 5, 2)], {}))

    def test_connections_that_are_kept_have_not_grown(self):
        looks = [(number, 80 * MIB, descriptors, 2) for number, descriptors
                 in ((10, 5), (100, 9), (150, 7), (200, 7))]
        self.assertEqual([], row.grown(looks, {}))

    def test_what_has_grown_is_named(self):
        looks = [(number, (80 + number * 2) * MIB, 9 + number, 2)
                 for number in range(10)]
        found = ' '.join(row.grown(looks, {'domains': (1, 2)}))
        for name in ('memory', 'descriptors', 'domains: 1, then 2'):
            self.assertIn(name, found)
        self.assertNotIn('threads', found)
