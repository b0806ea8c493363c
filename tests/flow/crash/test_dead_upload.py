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

"""A worker of Glance dies in the upload, and so do we at any call."""

from tests.fakes.glance import store as glance_store
from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene


class StuckCrashes(points.CrashTests):
    """The first upload leaves its image in the hands of a dead worker."""

    def prepare(self, fake):
        super().prepare(fake)
        fake.glance.troubles = [glance_store.Trouble(leaves='saving')]


class LiveTestCase(StuckCrashes, flow_scene.FlowTestCase):
    """Frozen, so that the second image has to say it."""

    asked = {'quiesce': 'require'}


class VolumesTestCase(StuckCrashes, flow_scene.FlowTestCase):
    """The snapshots of volumes outlive the first image."""

    spec = fake_node.GuestSpec(nova=True, volumes=2)
