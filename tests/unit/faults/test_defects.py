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

from oslotest import base

from tests.faults import cases as cases_module
from tests.faults import defects
from tests.faults import flows as flows_module
from tests.unit import data


class DefectsTestCase(base.BaseTestCase):

    def at(self, name):
        return defects.at(cases_module.named(name, flows_module.FLOWS))

    def test_those_of_a_case(self):
        self.assertEqual(['D1'], self.at('live/blockRebase.1/after/sigkill'))
        self.assertEqual(
            ['D1', 'D2'],
            self.at('live/blockJobAbort.1/before/libvirt-no-memory'))
        self.assertEqual([], self.at('stopped/Images.create.1/after/sigint'))

    def test_the_guide_says_what_each_is(self):
        said = set(re.findall(r'^   \* - ([A-Z]\d+)$',
                              data.document('contributor/faults'), re.M))
        self.assertEqual({known.name for known in defects.DEFECTS},
                         said & {known.name for known in defects.DEFECTS})
