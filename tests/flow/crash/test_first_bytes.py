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

"""The guest writes a beginning that Glance refuses, and we die at any call.

It is on its disk after the plan alone: the record of the image is changed.
"""

from tests.contract import first_bytes
from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene

IN_QCOW2 = 'glance set_properties disk_format=qcow2'


class LiveTestCase(points.CrashTests, flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(driver_format='raw', layers=1)

    def prepare(self, fake):
        super().prepare(fake)
        fake.guest.begin(first_bytes.boot_sector())

    def calls(self):
        calls = super().calls()
        self.assertIn(IN_QCOW2, [str(call) for call in calls])
        return calls
