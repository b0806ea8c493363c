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

"""Our driver in a real Nova, of each release that we support.

tools/test runs these in its stage nova. The first thing of all is which kind
of threads Nova uses: nova-compute's own in each release, so that both are
tried. Nova must hear it before anything else of it is imported.
"""

import contextlib
import importlib
import importlib.metadata
import os

# The first release whose nova-compute uses native threads by itself.
# :source: nova/cmd/compute.py
NATIVE_SINCE = 33

# Without Nova these tests are skipped.
with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    RELEASE = int(importlib.metadata.version('nova').split('.')[0])
    os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING',
                          '1' if RELEASE >= NATIVE_SINCE else '0')
    importlib.import_module('nova.tests.unit')
    importlib.import_module('nova.test')
