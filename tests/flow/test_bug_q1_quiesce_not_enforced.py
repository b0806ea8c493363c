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

"""os_require_quiesce is enforced by upstream where there is no agent at all.

Where the freeze itself fails, it logs "Skipping quiescing" and uploads.

:source: nova/virt/libvirt/driver.py _live_snapshot;
    bugs.launchpad.net/nova/+bug/1980720
"""

import ddt

from nova_snap import errors
from nova_snap.model import consistency as consistency_model
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


@ddt.ddt
class RequiredTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(nova=True, properties={
        'hw_qemu_guest_agent': 'True', 'os_require_quiesce': 'True'})

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    @ddt.data('fsFreeze', 'getTime')
    def test_nothing_is_uploaded(self, call):
        process = self.fake.process()
        process.calls.fail_named(call)

        self.assertRaises(errors.QuiesceFailed, self.take, process)

        self.assertNotIn('upload', process.calls.names())
        self.assert_nothing_left(self.before)

    def test_the_image_says_that_it_was_frozen(self):
        image = self.take().images[0]
        self.assertEqual(
            'frozen', image.properties[consistency_model.PROPERTY])
        self.assert_all_or_nothing()

    def test_the_image_says_that_it_was_not(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            nova=True, properties={'hw_qemu_guest_agent': 'True'}))
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.fail_named('fsFreeze')
        image = self.take(process).images[0]
        self.assertEqual(
            'none', image.properties[consistency_model.PROPERTY])
