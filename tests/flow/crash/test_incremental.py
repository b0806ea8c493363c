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

"""An image that begins as the last one, hit at every call."""

from nova_snap.steps import checkpoint as checkpoint_step
from tests.fakes import node as fake_node
from tests.flow.crash import points
from tests.flow import scene as flow_scene
from tests.flow import test_into_ceph


class IncrementalRun(points.Run):

    may_begin_anew = False

    def wrong(self) -> list[str]:
        """Say also which bitmaps must not be there, and which must."""
        kept = checkpoint_step.kept(self.fake.process().world,
                                    fake_node.UUID)
        assert kept is not None
        known, bitmaps = set(kept.stale), self.fake.guest.bitmaps
        if kept.base is not None:
            known.add(kept.base.checkpoint)
        wrong = super().wrong()
        if bitmaps - known:
            wrong.append(f'bitmaps that no one knows: {bitmaps - known}')
        if not self.may_begin_anew and (
                kept.base is None or kept.base.checkpoint not in bitmaps):
            wrong.append(f'the next image begins anew: {kept}')
        return wrong


class SilentRun(IncrementalRun):
    """It cannot be written that the image before is the last one again."""

    may_begin_anew = True


class IncrementalTestCase(points.Crashes, flow_scene.FlowTestCase):
    """The second image of a guest; the first is not counted.

    What is not tried here are the steps of any image in Ceph.
    """

    run_type = IncrementalRun
    test_killed = points.KillTests.test_killed_anywhere_it_is_recovered
    test_any_call_fails = points.FailTests.test_any_call_fails

    def test_all_of_a_kind_fails(self):
        self.run_type = SilentRun
        points.FailTests.test_all_of_a_kind_fails_from_any_call_on(self)

    def prepare(self, fake):
        super().prepare(fake)
        test_into_ceph.into_ceph(fake)
        fake.set(incremental='clone')
        flow_scene.snapshot.take(fake.process().node, flow_scene.request(
            image_id='0e000000-0000-4000-8000-000000000000'))
        fake.glance.stored.clear()
        assert len(fake.guest.bitmaps) == 1
