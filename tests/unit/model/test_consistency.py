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

"""An image's word on its file systems is of that image alone."""

from oslotest import base

from nova_snap.model import consistency as consistency_model


class SaidTestCase(base.BaseTestCase):

    def test_what_was_said_of_an_image_is_read(self):
        properties = consistency_model.say('an-image',
                                           consistency_model.FROZEN)
        self.assertEqual(
            consistency_model.FROZEN,
            consistency_model.said('an-image', properties))

    def test_what_was_handed_on_from_another_image_is_ignored(self):
        properties = consistency_model.say('its ancestor',
                                           consistency_model.FROZEN)
        self.assertIsNone(consistency_model.said('an-image', properties))

    def test_a_word_without_an_image_is_ignored(self):
        self.assertIsNone(consistency_model.said('an-image', {
            consistency_model.PROPERTY: consistency_model.FROZEN}))

    def test_an_image_that_says_nothing_has_said_nothing(self):
        self.assertIsNone(consistency_model.said('an-image', {}))
