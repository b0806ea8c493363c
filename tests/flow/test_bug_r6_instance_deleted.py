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

"""The instance is deleted while its snapshot is taken.

:source: bugs.launchpad.net/nova/+bug/1722571, 1737024, 1296590, 1648574
"""

import ddt

from nova_snap import errors
from tests.flow import scene as flow_scene


@ddt.ddt
class DeletedTestCase(flow_scene.FlowTestCase):

    @ddt.data(('make_scratch', {}), ('undefineFlags', {}),
              ('blockRebase', {}), ('defineXML', {}),
              ('fsFreeze', {'quiesce': 'want'}),
              ('make_scratch', {'cold': True}),
              ('managedSave', {'cold': True}))
    @ddt.unpack
    def test_it_is_not_brought_back(self, call, asked):
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.then(call, self.fake.delete_guest)

        self.assertRaises(errors.SnapError, self.take, process, **asked)

        self.assertEqual({}, self.fake.libvirtd.domains)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())
        self.assertEqual([], list(self.fake.snapshots.iterdir()))

    def test_after_the_point_in_time_the_image_is_whole(self):
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.then('own', self.fake.delete_guest)
        self.take(process)
        self.assertEqual({}, self.fake.libvirtd.domains)
        self.assert_all_or_nothing()
        self.assertEqual(1, len(self.fake.glance.stored))
