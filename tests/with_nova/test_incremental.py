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

"""Images that begin as the last one of their server, through Nova's manager.
"""

import json

import ddt

from nova_snap.model import checkpoint as checkpoint_model
from tests.fakes.ceph import disks as fake_disks
from tests.with_nova import scene
from tests.with_nova import test_into_ceph

FIRST = scene.IMAGE
SECOND = '22222222-2222-4222-8222-222222222222'


@ddt.ddt
class IncrementalTestCase(test_into_ceph.IntoCephTest):

    def setUp(self):
        super().setUp()
        self.glance.add(SECOND)

    def take(self, image_id):
        self.image_create(self.manager, image_id)
        self.assert_done(image_id)
        self.assertFalse(self.is_sent())
        # Nova could not undefine the guest.
        self.assertEqual([], self.guest.checkpoints)
        self.assertEqual({checkpoint_model.name(image_id)},
                         self.guest.bitmaps)
        self.assertEqual(self.fake.libvirtd.moments[-1].content,
                         self.content(image_id)['clusters'])

    def content(self, image_id):
        (location,) = self.glance.images[image_id]['locations']
        data, _ = self.fake.ceph.content(location['url'])
        return json.loads(data)

    def begin(self, mode):
        self.flags(incremental=mode, group='nova_snap')
        self.manager = self.start_manager()
        self.take(FIRST)
        self.guest.begin(b'changed')

    def parent(self, image_id):
        return self.fake.ceph.pools[fake_disks.IMAGES][image_id].parent

    def clones(self):
        return [words for words in self.calls.of('ceph')
                if words.startswith('clone')]

    @ddt.data('flat', 'clone')
    def test_the_second_begins_as_the_first(self, mode):
        self.begin(mode)
        self.take(SECOND)
        self.assertEqual([f'clone images/{FIRST}@snap'], self.clones())
        self.assertEqual(mode == 'clone', self.parent(SECOND) is not None)

    def test_the_first_goes_while_the_second_lives(self):
        self.begin('flat')
        self.take(SECOND)
        before = self.content(SECOND)
        self.glance.delete(FIRST)
        self.assertEqual(before, self.content(SECOND))

    def test_of_a_guest_that_nova_has_started_anew(self):
        self.begin('flat')
        self.guest.destroy()
        self.guest.create()
        self.take(SECOND)
        self.assertEqual([f'clone images/{FIRST}@snap'], self.clones())

    def test_after_a_resize_it_is_written_whole(self):
        self.begin('flat')
        # What the driver removes from the file before Nova resizes that.
        self.guest.bitmaps.clear()
        self.take(SECOND)
        self.assertEqual([], self.clones())

    def test_by_default_each_is_written_whole(self):
        manager = self.start_manager()
        for image_id in (FIRST, SECOND):
            self.image_create(manager, image_id)
            self.assert_done(image_id)
        self.assertEqual(set(), self.guest.bitmaps)
        self.assertEqual([], self.clones())
