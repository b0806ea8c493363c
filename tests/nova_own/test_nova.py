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

"""Nova's own tests of its libvirt driver, with our class in its place.

Nova ships them in its package. tools/test runs them in its stage nova-own,
where a wheel of ours is installed with Nova.
"""

import unittest

from tests.nova_own import known
from tests.nova_own import substitute

NOVAS = 'nova.tests.unit.virt.libvirt.test_driver'


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite,
               pattern: str | None) -> unittest.TestSuite:
    """Load Nova's tests; those that are known to fail have to fail."""
    substitute.install()
    substitute.expect_failures(known.TESTS)
    return unittest.TestLoader().loadTestsFromName(NOVAS)
