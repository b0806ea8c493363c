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

import http
import urllib.error

from oslotest import base

from tests.faults import scene as scene_module


class FakeGlance:
    """Keeps an image that has a clone, as Glance does."""

    def __init__(self, **parents):
        self.parents = parents

    def delete_image(self, image_id):
        if image_id in self.parents.values():
            raise urllib.error.HTTPError(
                'http://x/', http.HTTPStatus.CONFLICT, 'in use', None, None)
        self.parents.pop(image_id)


class FakeStore:

    def __init__(self, glance):
        self.glance = glance


def images(**times):
    return [{'id': name, 'created_at': time} for name, time in times.items()]


class DeleteAllTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        # What it is made of is no matter here.
        self.scene = object.__new__(scene_module.Scene)

    def delete(self, glance, **times):
        self.scene.store = FakeStore(glance)
        self.scene.delete_all(images(**times))
        self.assertEqual({}, glance.parents)

    def test_clones_go_before_what_they_are_clones_of(self):
        self.delete(FakeGlance(a='b', b='c', c=None), c='1', b='2', a='3')

    def test_of_one_second_the_order_is_not_known(self):
        for order in ('abc', 'bca', 'cab', 'cba'):
            self.delete(FakeGlance(a='b', b='c', c=None),
                        **dict.fromkeys(order, '1'))

    def test_there_is_a_clone_that_is_not_to_go(self):
        glance = FakeGlance(a='b', other='a', b=None)
        self.assertRaises(urllib.error.HTTPError, self.delete, glance,
                          b='1', a='2')
