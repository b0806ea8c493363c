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

"""A guest with encrypted memory cannot be saved, and upstream tries.

:source: nova/compute/api.py reject_sev_instances, which guards the API's
    suspend and not the driver's
"""

import ddt

from nova_snap import errors
from nova_snap.model.plan import plan as plan_model
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


@ddt.ddt
class SevTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(
        launch_security="<launchSecurity type='sev'/>")

    def test_cold_it_is_refused(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        error = self.assertRaises(errors.Unsupported, self.take, process,
                                  cold=True)
        self.assertIn('SEV', str(error))
        self.assertEqual([], process.calls.changes())
        self.assert_nothing_left(before)

    def test_live_and_off_it_is_taken(self):
        self.assertEqual(plan_model.Method.STOPPED, self.take().plan.method)
        self.fake.glance.stored.clear()
        self.fake.guest.create()
        self.assertEqual(plan_model.Method.LIVE, self.take().plan.method)


class NoImageLeftTestCase(flow_scene.FlowTestCase):

    def test_no_managed_save_image_is_left(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('createWithFlags')
        self.assertRaises(errors.UndoFailed, self.take, process, cold=True)
        self.assertIsNone(self.fake.guest.saved)
        self.assert_nothing_left(before)
