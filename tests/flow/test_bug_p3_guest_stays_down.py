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

"""Where the extraction fails, upstream's guest stays saved (P3).

And where it succeeds, it is down for as long as the copy takes; here it is
back before the upload (P7), and in the state it was in.

:source: nova/virt/libvirt/driver.py snapshot
"""

import ddt

from nova_snap import errors
from tests.fakes import agent as fake_agent
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


@ddt.ddt
class StaysDownTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(agent=fake_agent.Channel.ABSENT)

    @ddt.data(('convert', False), ('convert', True), ('info', False),
              ('info', True), ('upload', False), ('upload', True))
    @ddt.unpack
    def test_it_is_back_whatever_fails(self, call, paused):
        self.fake.guest.create()
        if paused:
            self.fake.guest.suspend()
        before = self.state()
        process = self.fake.process()
        # Not the look at the disk for the plan, but the one at the image.
        process.calls.then('managedSave',
                           lambda: process.calls.fail_named(call))

        self.assertRaises(errors.SnapError, self.take, process, cold=True)

        self.assertIn('managedSave', process.calls.names())
        self.assert_nothing_left(before)

    @ddt.data(True, False)
    def test_it_is_back_when_the_upload_begins(self, paused):
        self.fake.guest.create()
        if paused:
            self.fake.guest.suspend()
        before = self.state()
        seen = []
        process = self.fake.process()
        process.calls.then('upload', lambda: seen.append(self.state()),
                           flow_scene.When.BEFORE)

        self.take(process, cold=True)

        self.assertEqual((before.now, before.saved),
                         (seen[0].now, seen[0].saved))

    def test_it_is_started_once(self):
        # Upstream starts it twice where it falls back (P6).
        self.fake.guest.create()
        process = self.fake.process()
        self.take(process, cold=True)
        self.assertEqual(1, process.calls.of('libvirt').count(
            'createWithFlags'))
