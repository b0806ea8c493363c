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

import random

import ddt
from oslotest import base

from nova_snap.model import extents as extents_model


def make(*lengths, first_is_zero=False):
    """Return extents of these lengths, data and zeros by turns."""
    found = []
    offset = 0
    for number, length in enumerate(lengths):
        found.append(extents_model.Extent(
            offset, length, bool(number % 2) != first_is_zero))
        offset += length
    return found


def merge(*arguments, **limit):
    return list(extents_model.merge(*arguments, **limit))


@ddt.ddt
class MergeTestCase(base.BaseTestCase):

    def test_neighbours_of_one_kind_become_one(self):
        extent = extents_model.Extent

        self.assertEqual(
            [extent(0, 3, False), extent(3, 7, True), extent(10, 1, False)],
            merge(
                [extent(0, 1, False), extent(1, 2, False), extent(3, 5, True),
                 extent(8, 2, True), extent(10, 1, False)], 11))

    def test_a_disk_of_no_bytes_has_none(self):
        self.assertEqual([], merge([], 0))

    @ddt.data(
        [],
        [(0, 9, True)],
        [(0, 11, True)],
        [(1, 9, True)],
        [(0, 5, True), (4, 6, False)],
        [(0, 5, True), (6, 4, False)],
        [(0, 5, True), (5, 0, False), (5, 5, True)],
        [(0, 11, True), (11, -1, False)],
    )
    def test_what_is_not_the_whole_disk_is_refused(self, found):
        self.assertRaises(
            ValueError, merge,
            [extents_model.Extent(*extent) for extent in found], 10)

    def test_too_many_become_fewer_by_reading_the_shortest_zeros(self):
        found = make(10, 5, 10, 1, 10, 7, 10, 2, 10)

        self.assertEqual(make(10, 5, 21, 7, 22),
                         merge(found, 65, most=5))

    def test_no_more_than_needed_are_read(self):
        found = make(*200 * [4], first_is_zero=True)

        coarse = merge(found, 800, most=150)

        # The first one leaves its neighbour, the other 25 take one with them.
        self.assertEqual(149, len(coarse))
        self.assertEqual(74, sum(extent.is_zero for extent in coarse))

    @ddt.data(1, 2, 3, 10, 1000)
    def test_data_stay_data_whatever_the_limit(self, most):
        rng = random.Random(most)
        for first_is_zero in (False, True):
            found = make(*(rng.randint(1, 9) for _ in range(500)),
                         first_is_zero=first_is_zero)

            coarse = merge(found, found[-1].end, most=most)

            self.assertLessEqual(len(coarse), most)
            self.assertEqual(coarse, merge(
                coarse, found[-1].end))
            zeros = {at for extent in coarse if extent.is_zero
                     for at in range(extent.offset, extent.end)}
            self.assertEqual(
                set(), zeros & {at for extent in found if not extent.is_zero
                                for at in range(extent.offset, extent.end)})

    def test_each_is_found_by_its_place(self):
        found = make(1, 2, 3, first_is_zero=True)

        merged = extents_model.merge(found, 6)

        self.assertEqual(found, [merged[place] for place in range(3)])
        self.assertEqual(found[-1], merged[-1])
        self.assertEqual(found[1:], merged[1:])
        self.assertRaises(IndexError, lambda: merged[3])
