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


import re
import shlex

import ddt
from oslotest import base

from bench import options as options_module
from bench import reader
from bench import reader_report
from bench import shapes
from nova_snap import units
from tests.lab import place

# What help says in the place of a value, and one.
VALUES = {'S': 'mixed', 'V': 'backup', 'N': '2', 'FILE': 'file'}
# Where help begins to say what a call does.
HELP_COLUMN = 36
PAGE = 'doc/source/admin/performance.rst'

ALL = options_module.SHAPES


def read(path):
    return (place.CHECKOUT / path).read_text()


@ddt.ddt
class ShapeTestCase(base.BaseTestCase):

    @ddt.data(*ALL)
    def test_the_pieces_lie_apart_within_the_disk(self, name):
        shape = ALL[name]
        places = [offset for offset, _, _ in shape.pieces()]
        self.assertEqual(shape.data, len(places) * shape.piece)
        self.assertEqual([], [place for place in places
                              if place % shapes.CLUSTER])
        ends = [place + shape.piece for place in places]
        self.assertTrue(all(end <= after for end, after in zip(
            ends, places[1:], strict=False)))
        self.assertLessEqual(ends[-1], shape.virtual)

    @ddt.data(*ALL)
    def test_the_load_ends_before_the_data(self, name):
        self.assertLessEqual(shapes.LOAD_OFFSET + ALL[name].load.area,
                             shapes.DATA_OFFSET)

    def test_the_guest_has_changed_a_third(self):
        pieces = list(shapes.SHAPES['mixed'].pieces())
        changed = [piece for piece in pieces if piece[2]]
        self.assertEqual(len(pieces) / 3, len(changed))

    def test_a_quick_one_has_an_eighth_of_the_data(self):
        shape = shapes.SHAPES['mixed']
        self.assertEqual(
            (shape.data / 8, shape.virtual),
            (shape.quick().data, shape.quick().virtual))

    def test_the_load_is_what_the_guests_kernel_takes(self):
        self.assertEqual('256,256,64,4000', shapes.HEAVY.words)


class OptionsTestCase(base.BaseTestCase):

    def names(self, *words):
        found = options_module.parse(words)
        return [shape.name for shape in found.shapes]

    def test_by_default_it_is_all_but_the_scale(self):
        found = options_module.parse([])
        self.assertEqual(tuple(shapes.SHAPES.values()), found.shapes)
        self.assertEqual(options_module.ROUNDS, found.rounds)

    def test_quick_is_one_round_unless_another_number_is_given(self):
        self.assertEqual(1, options_module.parse(['--quick']).rounds)
        found = options_module.parse(['--quick', '--rounds=3'])
        self.assertEqual(3, found.rounds)
        self.assertEqual(['mixed/8'], self.names('--quick', '--shape=mixed'))

    def test_many_guests_are_of_one_shape(self):
        self.assertEqual(8, options_module.parse(['--many']).many)
        self.assertEqual(['mixed'], self.names('--many'))
        self.assertEqual(['busy'], self.names('--many=4', '--shape=busy'))

    def test_many_in_a_row_are_of_a_small_guest(self):
        self.assertEqual(['small'], self.names('--in-a-row=200'))

    def test_the_scale_has_ever_larger_disks(self):
        found = options_module.parse(['--scale'])
        sizes = [shape.virtual // units.GiB for shape in found.shapes]
        self.assertEqual([10, 100, 1024], sizes)

    def test_help_says_what_can_be_said(self):
        calls = [line[:HELP_COLUMN].partition('bench/run ')[2]
                 for line in read('bench/run').splitlines()
                 if line.startswith('#   bench/run ')]
        self.assert_parsed([call for call in calls if call.strip()])

    def test_so_does_the_page(self):
        self.assert_parsed(re.findall(
            r'^    bench/run (.*)', read(PAGE).replace('\\\n', ''),
            re.MULTILINE))

    def assert_parsed(self, calls):
        self.assertLess(3, len(calls))
        for words in calls:
            options_module.parse([
                VALUES.get(word, word)
                for word in shlex.split(re.sub(r'[][]', '', words))])

    def test_help_names_all_of_it(self):
        said = read('bench/run').replace('\n', ' ')
        for action in options_module._parser()._actions:
            if '--help' not in action.option_strings:
                self.assertIn(f' {action.option_strings[0]} ', said)


class ReaderTestCase(base.BaseTestCase):

    def test_extents_are_read_in_pieces(self):
        piece = reader_report.PIECE
        self.assertEqual(
            [(0, piece), (piece, 10), (5 * piece, 7)],
            reader_report.pieces([(0, piece + 10), (5 * piece, 7)]))

    def test_the_best_round_of_each_is_shown(self):
        rounds = [{'extents': 3, 'bytes': 100 * units.MiB, 'seconds': seconds,
                   'cpu_seconds': 0.5, 'memory_bytes': 20 * units.MiB}
                  for seconds in (2, 1)]
        self.assertEqual(
            [['nova_snap', '3', '100', '100', '0.50', '20']],
            reader.lines({'nova_snap': rounds})[1:])
