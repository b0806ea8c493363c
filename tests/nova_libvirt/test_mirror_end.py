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


"""The end of a mirror, as nova-compute hears it on Nova's connection."""

import os

from nova_snap.driver import natively
from tests.functional import mirror_end
from tests.nova_libvirt import scene


class DriverTestCase(mirror_end.EndCases, scene.DriverTest):

    def test_the_threads_are_this_releases_own(self):
        self.assertEqual(
            os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] == '0',
            natively._eventlet() is not None)
