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

import pathlib

import ddt
import fixtures
from oslotest import base

from tests.faults import world

WORDS = ('cnry0123', 'a longer word of another kind')


@ddt.ddt
class HoldsAnyTestCase(base.BaseTestCase):

    def holds(self, content):
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'file')
        path.write_bytes(content)
        return world.holds_any(path, WORDS)

    @ddt.data(*WORDS)
    def test_a_word_is_found_wherever_it_stands(self, word):
        for before in (0, 1, world.PIECE - len(word), world.PIECE - 3,
                       world.PIECE, 2 * world.PIECE - 1):
            self.assertTrue(self.holds(
                bytes(before) + word.encode() + bytes(7)), before)

    def test_what_is_like_one_is_none(self):
        self.assertFalse(self.holds(b''))
        self.assertFalse(self.holds(bytes(world.PIECE) + b'cnry012'))
        self.assertFalse(self.holds(
            b'cnry' + bytes(world.PIECE) + b'0123'))


class SecretTestCase(base.BaseTestCase):

    class Scene:
        secrets = ['cnry0123']
        said = ['Image 1 is active', '']
        records = {'1': {'name': 'x'}, '2': {'name': 'cnry0123'}}

        def image(self, image_id):
            return self.records[image_id]

    def test_there_is_none(self):
        self.assertEqual([], world.secret_problems(self.Scene(),
                                                   [{'id': '1'}]))

    def test_it_is_in_a_record(self):
        (said,) = world.secret_problems(self.Scene(), [{'id': '1'},
                                                       {'id': '2'}])
        self.assertIn('image 2', said)

    def test_it_is_in_what_was_said(self):
        scene = self.Scene()
        scene.said = ['so', 'the password is cnry0123']
        (said,) = world.secret_problems(scene, [])
        self.assertIn('the command said', said)
