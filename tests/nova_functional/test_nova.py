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

"""Nova's functional tests of its libvirt driver, with our class in its place.

Nova ships them in its package: whole services on a fake libvirt. They take
long, so tools/test runs them only when its stage nova-functional is named.
"""

import importlib
import pkgutil
import unittest

# First: it settles how Nova's threads work before anything else is imported.
import nova.tests.functional

from tests.nova_own import known
from tests.nova_own import substitute

NOVAS = f'{nova.tests.functional.__name__}.libvirt'


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite,
               pattern: str | None) -> unittest.TestSuite:
    """Load Nova's tests; those that are known to fail have to fail."""
    substitute.install()
    substitute.expect_failures(known.FUNCTIONAL_TESTS)
    package = importlib.import_module(NOVAS)
    return unittest.TestSuite(
        loader.loadTestsFromName(f'{NOVAS}.{module.name}')
        for module in pkgutil.iter_modules(package.__path__)
        if module.name.startswith('test_'))
