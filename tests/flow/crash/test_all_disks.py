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

"""Two disks at one moment, and something happens at any call."""

from tests.fakes.glance import store as glance_store
from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene

SET = '5e7a0000-0000-4000-8000-000000000000'


class AllDisksCrashes(points.CrashTests):

    spec = fake_node.GuestSpec(second=True)
    asked = {'set_id': SET}
    makes = 2


class BackedUpTestCase(AllDisksCrashes, flow_scene.FlowTestCase):
    """Held by a backup job, and frozen for its start."""

    asked = {'set_id': SET, 'quiesce': 'require'}


class OffTestCase(AllDisksCrashes, flow_scene.FlowTestCase):

    def prepare(self, fake):
        """Leave the guest off."""


class ColdTestCase(AllDisksCrashes, flow_scene.FlowTestCase):

    asked = {'set_id': SET, 'cold': True}


class DeadWorkerTestCase(AllDisksCrashes, flow_scene.FlowTestCase):
    """The second image takes the place of one in a dead worker's hands."""

    def prepare(self, fake):
        super().prepare(fake)
        fake.glance.troubles = [
            None, glance_store.Trouble(leaves='saving')]
