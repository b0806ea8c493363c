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

"""After a restart upstream clears the task state, and nothing else (R1, R2).

The domain stays transient, its job running, its file systems frozen, its
memory saved; a directory and an image that is queued for ever stay behind.

:source: nova/compute/manager.py _init_instance
"""

import ddt

from tests.flow import scene as flow_scene


@ddt.ddt
class InterruptedTestCase(flow_scene.FlowTestCase):

    @ddt.data(('blockRebase', {}), ('fsFreeze', {'quiesce': 'require'}),
              ('managedSave', {'cold': True}), ('convert', {}),
              ('create', {}), ('set_properties', {'quiesce': 'require'}))
    @ddt.unpack
    def test_nothing_is_left(self, call, asked):
        self.fake.guest.create()
        before = self.state()
        self.die(call, **asked)
        self.assertEqual(['settled'], self.outcomes())
        self.assert_nothing_left(before)

    def test_upload_that_was_cut_off(self):
        self.fake.guest.create()
        before = self.state()
        self.die('upload', flow_scene.When.DURING)
        (stored,) = self.fake.glance.stored.values()
        self.assertEqual('saving', stored.status)
        self.assertEqual(['settled'], self.outcomes())
        self.assert_nothing_left(before)
