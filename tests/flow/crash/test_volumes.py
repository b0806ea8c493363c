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

from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene


class FrozenTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Two volumes, frozen."""

    spec = fake_node.GuestSpec(nova=True, volumes=2)
    asked = {'quiesce': 'require'}


class ThreeTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Three volumes, frozen if that can be done."""

    spec = fake_node.GuestSpec(nova=True, volumes=3)
    asked = {'quiesce': 'want'}


class OffTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Two volumes of a guest that is off."""

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def prepare(self, fake):
        pass
