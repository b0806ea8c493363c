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

"""A freeze that Nova asks for, and the thaw after it, hit everywhere."""

from nova_snap.flows import frozen_by_nova
from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene

# Seconds, as [nova_snap]quiesce_limit.
LIMIT = 30.0


class FrozenRun(points.Run):
    """A run that leaves no image, and a guest as it was."""

    def has_succeeded(self):
        """Tell whether the guest was frozen until it was asked for."""
        return self.ended is True

    def may_keep(self):
        """Tell that no image stays: there is none."""
        return False


class FrozenByNovaTestCase(points.KillTests, points.FailTests,
                           flow_scene.FlowTestCase):
    """The two requests one after the other, as nova-api sends them."""

    run_type = FrozenRun
    makes = 0

    def flow(self, process: fake_node.Process) -> bool:
        """Freeze and thaw."""
        held = frozen_by_nova.Quiesced(LIMIT)
        held.freeze(process.node, fake_node.UUID)
        self.assertTrue(process.fake.guest.agent.frozen)
        return held.thaw(fake_node.UUID)

    def test_its_time_is_over_anywhere(self) -> None:
        problems = []
        for call in self.calls():
            run = self.hit(lambda process, at=call.number:
                           process.calls.then(
                               at, lambda: process.fake.clock.sleep(LIMIT)))
            problems += [f'after {call.number} ({call}): {what}'
                         for what in run.wrong()]
        self.judge(problems)
