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

from nova_snap.transfer import rate
from tests.unit import clock as unit_clock


@ddt.ddt
class LimitTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = unit_clock.Clock()

    def elapsed(self):
        return self.clock.now - 1000

    def test_a_burst_goes_at_once(self):
        limit = rate.Limit(100, self.clock)

        limit.take(50)

        self.assertEqual(0, self.elapsed())

    @ddt.named_data(
        ['in small pieces', 1],
        ['in pieces as large as a burst', 50],
        ['in pieces larger than a burst', 400],
    )
    def test_the_rate_holds(self, piece):
        limit = rate.Limit(100, self.clock)

        for _ in range(4000 // piece):
            limit.take(piece)

        self.assertAlmostEqual((4000 - 50) / 100, self.elapsed(), places=6)

    def test_time_that_passed_unused_is_not_saved_beyond_a_burst(self):
        limit = rate.Limit(100, self.clock)
        self.clock.now += 3600
        before = self.clock.now

        limit.take(150)

        self.assertAlmostEqual(1, self.clock.now - before)

    def test_readers_that_share_a_limit_stay_below_it_together(self):
        limit = rate.Limit(100, self.clock)

        for _ in range(10):
            limit.take(25)
            limit.take(25)

        self.assertAlmostEqual((500 - 50) / 100, self.elapsed())

    def test_a_rate_too_low_for_a_burst_still_flows(self):
        limit = rate.Limit(1, self.clock)

        limit.take(limit.burst_bytes)
        limit.take(limit.burst_bytes)

        self.assertAlmostEqual(1, self.elapsed())
