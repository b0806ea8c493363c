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

from tests.fakes import agent as fake_agent
from tests.fakes import devices
from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene


class RunningTestCase(points.CrashTests, flow_scene.FlowTestCase):

    asked = {'cold': True}


class ClonedTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Where the guest is back before its disk is read."""

    asked = {'cold': True}

    def prepare(self, fake):
        super().prepare(fake)
        fake.has_clones = True
        fake.set(upload='stream')


class HeldTestCase(points.CrashTests, flow_scene.FlowTestCase):
    """Where a backup job holds its disk, and it is back at once."""

    spec = fake_node.GuestSpec(agent=fake_agent.Channel.ABSENT,
                               hostdev=devices.PORT)
    asked = {'cold': True}

    def prepare(self, fake):
        super().prepare(fake)
        fake.set(upload='stream')


class HeldPausedTestCase(HeldTestCase):

    spec = fake_node.GuestSpec(agent=fake_agent.Channel.ABSENT)

    def prepare(self, fake):
        super().prepare(fake)
        fake.guest.suspend()


class PausedTestCase(points.CrashTests, flow_scene.FlowTestCase):

    asked = {'cold': True}

    def prepare(self, fake):
        super().prepare(fake)
        fake.guest.suspend()


class HostdevTestCase(points.CrashTests, flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(
        hostdev=devices.PCI + devices.MDEV + devices.PORT)
    asked = {'cold': True}


class StoppedTestCase(points.CrashTests, flow_scene.FlowTestCase):

    def prepare(self, fake):
        pass
