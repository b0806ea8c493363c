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

"""An image that is written into Ceph, hit at every call."""

from tests.flow.crash import points
from tests.flow import scene as flow_scene
from tests.flow import test_into_ceph


class IntoCephTest(points.CrashTests, flow_scene.FlowTestCase):

    def prepare(self, fake):
        super().prepare(fake)
        test_into_ceph.into_ceph(fake)


class BackupTestCase(IntoCephTest):
    """A guest that runs."""


class OldApiTestCase(IntoCephTest):
    """A Glance that takes locations as it takes other changes."""

    def prepare(self, fake):
        super().prepare(fake)
        fake.glance.has_location_api = False


del IntoCephTest
