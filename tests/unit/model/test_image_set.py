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

"""What an image says of its set is of that image alone."""

from oslotest import base

from nova_snap.model import image_set

PLACE = image_set.Place('a-set', 'vdb', ('vda', 'vdb'))


class SaidTestCase(base.BaseTestCase):

    def test_what_was_said_of_an_image_is_read(self):
        self.assertEqual(PLACE, image_set.said(
            'an-image', image_set.say('an-image', PLACE)))

    def test_what_was_handed_on_from_another_image_is_ignored(self):
        self.assertIsNone(image_set.said(
            'an-image', image_set.say('its ancestor', PLACE)))

    def test_a_set_without_an_image_is_ignored(self):
        self.assertIsNone(image_set.said('an-image', {
            image_set.SET_PROPERTY: 'a-set'}))

    def test_an_image_alone_says_nothing(self):
        self.assertEqual({}, image_set.say('an-image', None))
        self.assertIsNone(image_set.said('an-image', {}))

    def test_all_that_is_said_is_known_as_ours(self):
        self.assertEqual(image_set.PROPERTIES,
                         image_set.say('an-image', PLACE).keys())
