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

"""Each test of Nova's that ours makes fail names the one that is in its place.
"""

import importlib

import ddt
from oslotest import base

from tests.nova_own import known


@ddt.ddt
class KnownTestCase(base.BaseTestCase):

    @ddt.data(*known.TESTS.values(), *known.FUNCTIONAL_TESTS.values())
    @ddt.unpack
    def test_each_known_test_has_one_of_ours(self, patched, ours):
        self.assertTrue(patched)
        module, test_class, name = ours.rsplit('.', 2)
        self.assertTrue(callable(getattr(getattr(
            importlib.import_module(module), test_class), name)))
