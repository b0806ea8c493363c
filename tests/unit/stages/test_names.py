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

"""Which tests a name stands for."""

import re

import ddt
from oslotest import base

from tests.stages import names

FROZEN = 'tests.flow.test_live.OrderTestCase.test_frozen_guest'
# What a regular expression of the same text would also find: it runs in
# another stage, and its table has names of tests in it.
STRANGER = ('tests.unit.test_nova_own.KnownTestCase.test_ours_is_there_02___'
            'LibvirtDriver____tests_flow_test_live_OrderTestCase_test_frozen_'
            'guest__')
TABLE = 'tests.unit.cmd.test_help.UsageTestCase.test_help_01___image_create__'
TABLE_OF_CLASSES = 'tests.unit.cmd.test_help.UsageTestCase.test_help_2'
SCENARIO = 'nova.tests.unit.test_driver.LibvirtTestCase.test_x(scenario, 1.5)'


def found(name, test_id):
    return bool(re.search(names.pattern(name), test_id))


@ddt.ddt
class PatternTestCase(base.BaseTestCase):

    @ddt.data(FROZEN, 'tests.flow.test_live', 'tests.flow', 'test_live',
              'flow.test_live', 'OrderTestCase', 'test_frozen_guest',
              'OrderTestCase.test_frozen_guest', 'test_frozen*',
              '*_guest', 'test_live.*.test_frozen_guest',
              'tests/flow/test_live.py', './tests/flow/test_live.py',
              'tests/flow', 'tests/flow/')
    def test_it_finds(self, name):
        self.assertTrue(found(name, FROZEN))

    @ddt.data('test_liv', 'est_live', 'tests.flow.test_live_', 'frozen',
              'tests_flow_test_live', 'tests.unit', 'tests.test_live',
              'flow.OrderTestCase', 'test_f*.OrderTestCase', 'te*Case',
              '.', '', 'test_frozen_guest.test', 'TEST_LIVE', 'tests.f.ow')
    def test_it_does_not_find(self, name):
        self.assertFalse(found(name, FROZEN))

    @ddt.data(FROZEN, 'tests.flow.test_live', 'test_live',
              'OrderTestCase.test_frozen_guest', 'tests/flow/test_live.py')
    def test_no_stranger_is_found(self, name):
        self.assertFalse(found(name, STRANGER))

    @ddt.data('test_help', 'UsageTestCase.test_help', 'test_help_01*',
              'test_help_01___image_create__')
    def test_one_name_finds_all_lines_of_a_table(self, name):
        self.assertTrue(found(name, TABLE))

    def test_a_line_of_a_table_may_have_no_words(self):
        self.assertTrue(found('test_help', TABLE_OF_CLASSES))

    @ddt.data('test_x', 'LibvirtTestCase', 'LibvirtTestCase.test_x')
    def test_a_name_finds_all_scenarios(self, name):
        self.assertTrue(found(name, SCENARIO))

    @ddt.data('scenario', '5)', 'test_x(scenario')
    def test_what_is_in_parentheses_is_no_name(self, name):
        self.assertFalse(found(name, SCENARIO))

    @ddt.data('(', '[', '\\', '+', '?', '^tests', 'a|test_live')
    def test_a_name_is_no_regular_expression(self, name):
        self.assertFalse(found(name, FROZEN))
