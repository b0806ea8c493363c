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

"""A set of images, as an operator of the command makes and deletes it."""

import dataclasses

from nova_snap.cmd import main as main_module
from nova_snap.model import image_set
from tests.fakes import node as fake_node
from tests.unit.cmd import scene

ExitCode = main_module.ExitCode


class SetTestCase(scene.CommandTestCase):

    spec = fake_node.GuestSpec(second=True)

    def setUp(self):
        super().setUp()
        self.stored = self.fake.glance.stored

    def create(self, *words):
        return self.run_command('image-create', '--all-disks',
                                fake_node.NAME, 'nightly', *words)

    def delete(self, image_id):
        return self.run_command('image-delete', '--yes', image_id)


class CreateTestCase(SetTestCase):

    def test_the_operator_reads_of_each_image(self):
        said = self.create()
        self.assertEqual(ExitCode.DONE, said.code, said.err)
        first, _, second, _ = said.out.splitlines()
        self.assertIn('(nightly) is active', first)
        self.assertIn('(nightly-vdb) is active', second)

    def test_a_program_reads_of_the_set(self):
        images = self.create('--json').json()['images']
        self.assertEqual(
            ['vda', 'vdb'],
            [image['properties'][image_set.DISK_PROPERTY]
             for image in images])
        self.assertEqual(1, len({
            image['properties'][image_set.SET_PROPERTY]
            for image in images}))

    def test_each_snapshot_is_a_set_of_its_own(self):
        self.create()
        self.create()
        self.assertEqual(4, len(self.stored))
        self.assertEqual(2, len({
            stored.properties[image_set.SET_PROPERTY]
            for stored in self.stored.values()}))

    def test_what_would_be_done(self):
        said = self.create('--dry-run')
        self.assertEqual(ExitCode.DONE, said.code, said.err)
        for word in ('image nightly of vda', 'image nightly-vdb of vdb'):
            self.assertIn(word, said.out)
        self.assertEqual({}, self.stored)

    def test_one_disk_and_all_disks_exclude_each_other(self):
        said = self.create('--disk', 'vdb')
        self.assertEqual(ExitCode.USAGE, said.code)
        self.assertIn('not allowed with', said.err)

    def test_without_it_there_is_no_set(self):
        said = self.run_command('image-create', fake_node.NAME, 'nightly')
        self.assertEqual(ExitCode.DONE, said.code)
        (stored,) = self.stored.values()
        self.assertEqual(set(), image_set.PROPERTIES & stored.keys())


class DeleteTestCase(SetTestCase):

    def setUp(self):
        super().setUp()
        self.ids = [image['image_id']
                    for image in self.create('--json').json()['images']]

    def test_one_of_them_takes_all_with_it(self):
        said = self.delete(self.ids[1])
        self.assertEqual(ExitCode.DONE, said.code, said.err)
        for word in (*self.ids, 'of disk vda', 'of disk vdb'):
            self.assertIn(word, said.out)
        self.assertEqual({}, self.stored)

    def test_a_program_reads_which(self):
        found = self.run_command('image-delete', '--yes', '--json',
                                 self.ids[0]).json()
        self.assertEqual(
            {'image': self.ids[0], 'images': [self.ids[1], self.ids[0]],
             'volume_snapshots': [], 'gone_before': []}, found)

    def test_another_set_stays(self):
        other = self.create('--json').json()['images']
        self.delete(self.ids[0])
        self.assertEqual({image['image_id'] for image in other},
                         set(self.stored))

    def test_one_that_is_gone_is_told(self):
        del self.stored[self.ids[0]]
        said = self.delete(self.ids[1])
        self.assertEqual(ExitCode.DONE, said.code)
        self.assertIn('the image of disk vda is not there any more',
                      said.out)
        self.assertEqual({}, self.stored)

    def test_one_that_is_protected_keeps_them_all(self):
        self.stored[self.ids[1]]['protected'] = True
        said = self.delete(self.ids[0])
        self.assertEqual(ExitCode.REFUSED, said.code)
        self.assertIn(f'image set --unprotected {self.ids[1]}', said.err)
        self.assertEqual(set(self.ids), set(self.stored))

    def hand_on(self, **about):
        """Have an image that was made of a server made from the first one."""
        return self.fake.glance.add('a-descendant', **{
            **self.stored[self.ids[0]].properties, **about})

    def test_what_only_inherited_the_set_stays(self):
        self.hand_on(owner=self.stored[self.ids[0]].get('owner'))
        self.delete(self.ids[0])
        self.assertEqual({'a-descendant'}, set(self.stored))

    def test_what_only_inherited_the_set_takes_nothing_with_it(self):
        self.hand_on()
        said = self.delete('a-descendant')
        self.assertEqual(ExitCode.REFUSED, said.code)
        self.assertEqual({'a-descendant', *self.ids}, set(self.stored))

    def test_an_image_of_another_project_stays(self):
        self.hand_on(owner='theirs', **{
            image_set.OF_PROPERTY: 'a-descendant'})
        self.delete(self.ids[0])
        self.assertEqual({'a-descendant'}, set(self.stored))

    def test_one_that_glance_keeps_leaves_the_named_one_to_run_it_again(self):
        process = self.fake.process()
        process.calls.fail_named('delete')
        self.use_node(lambda observer: dataclasses.replace(process.node))
        said = self.delete(self.ids[0])
        self.assertEqual(ExitCode.FAILED, said.code)
        self.assertEqual(set(self.ids), set(self.stored))
        self.assertEqual(ExitCode.DONE, self.delete(self.ids[0]).code)
        self.assertEqual({}, self.stored)
