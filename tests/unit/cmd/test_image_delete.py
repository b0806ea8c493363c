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

import io

import ddt
import fixtures

from nova_snap.cmd import image_delete
from nova_snap.cmd import main as main_module
from nova_snap import errors
from nova_snap.flows import image_delete as image_delete_flow
from nova_snap.flows import snapshot
from tests.fakes.cinder import store as cinder_store
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.unit.cmd import scene

FIRST, SECOND = map(fake_node.volume_id, range(2))


class Terminal(io.StringIO):
    """Where an operator types."""

    def isatty(self):
        return True


class DeleteTestCase(scene.CommandTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def setUp(self):
        super().setUp()
        self.image_id = snapshot.take(
            self.fake.process().node, flow_scene.request()).images[0].image_id
        self.stored = self.fake.glance.stored
        self.snapshots = self.fake.cinder.snapshots
        self.ids = {one.volume_id: one.snapshot_id
                    for one in self.snapshots.values()}

    def delete(self, *words, typed=None):
        stdin = io.StringIO() if typed is None else Terminal(typed)
        self.useFixture(fixtures.MonkeyPatch('sys.stdin', stdin))
        return self.run_command('image-delete', *words, self.image_id)

    def refused(self, *words):
        said = self.delete('--yes')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code, said.err)
        for word in words:
            self.assertIn(word, said.err)
        self.assertIn(self.image_id, self.stored)
        return said


@ddt.ddt
class AskedTestCase(DeleteTestCase):

    def assert_gone(self):
        self.assertEqual(({}, {}), (self.stored, self.snapshots))

    def test_it_goes_with_its_snapshots(self):
        said = self.delete('--yes')
        self.assertEqual(main_module.ExitCode.DONE, said.code, said.err)
        self.assert_gone()

    @ddt.data('y', 'yes\n', 'Y\n')
    def test_one_who_says_yes_has_it_deleted(self, typed):
        said = self.delete(typed=typed)
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertIn(image_delete.QUESTION, said.err)
        self.assert_gone()

    @ddt.data('', 'n\n', '\n', 'no\n', 'yeah\n')
    def test_one_who_does_not_say_yes_keeps_it(self, typed):
        said = self.delete(typed=typed)
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('Nothing is deleted', said.err)
        self.assertEqual((1, 2), (len(self.stored), len(self.snapshots)))

    def test_without_a_terminal_no_question_is_asked(self):
        said = self.delete()
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('--yes', said.err)
        self.assertEqual((1, 2), (len(self.stored), len(self.snapshots)))

    def test_it_is_shown_before(self):
        said = self.delete()
        for word in (self.image_id, 'nightly', *self.ids, *self.ids.values(),
                     '1 GiB', '2 GiB', 'available'):
            self.assertIn(word, said.out)

    def test_a_program_reads_it(self):
        found = self.delete('--yes', '--json').json()
        self.assertEqual(
            {'image': self.image_id, 'images': [self.image_id],
             'gone_before': [],
             'volume_snapshots': list(self.ids.values())}, found)

    def test_nothing_else_goes(self):
        other = snapshot.take(
            self.fake.process().node, flow_scene.request(
                image_id=self.image_id.replace('1', '2'))).volume_snapshots
        self.delete('--yes')
        self.assertEqual(set(other), set(self.snapshots))
        self.assertEqual(1, len(self.stored))


@ddt.ddt
class CannotTestCase(DeleteTestCase):

    def test_one_that_is_not_there(self):
        self.stored[self.image_id + 'x'] = self.stored.pop(self.image_id)
        said = self.delete('--yes')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('no image', said.err)

    def test_one_that_is_not_volume_backed(self):
        del self.stored[self.image_id]['block_device_mapping']
        self.refused('not volume-backed',
                     f'"openstack image delete {self.image_id}"')

    def test_one_that_is_protected(self):
        self.stored[self.image_id]['protected'] = True
        self.refused('protected', '"openstack image set --unprotected '
                                  f'{self.image_id}"')
        self.assertEqual(2, len(self.snapshots))

    def test_a_snapshot_of_another_project_is_not_its_own(self):
        self.change(FIRST, **{cinder_store.PROJECT: 'theirs'})
        self.refused('belongs to project theirs')
        self.assertEqual(2, len(self.snapshots))

    def change(self, volume_id, **changes):
        key = self.ids[volume_id]
        self.snapshots[key] = cinder_store.Snapshot(
            self.snapshots[key], **changes)

    @ddt.data(cinder_store.Status.CREATING, cinder_store.Status.ERROR_DELETING)
    def test_a_snapshot_that_cinder_would_not_delete(self, status):
        self.change(SECOND, status=status)
        self.refused(status)
        self.assertEqual(2, len(self.snapshots))

    def test_credentials_that_cannot_act_there(self):
        self.fake.cinder.foreign_projects.add(fake_node.PROJECT)
        self.refused('role member')

    def test_a_snapshot_that_is_gone_is_told(self):
        del self.snapshots[self.ids[FIRST]]
        said = self.delete('--yes')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertIn('is not there any more', said.out)
        self.assertEqual(({}, {}), (self.stored, self.snapshots))

    def test_a_snapshot_in_use_stops_it_and_the_image_says_what_is_left(self):
        self.fake.cinder.keeps[SECOND] = cinder_store.Status.AVAILABLE
        said = self.delete('--yes')
        self.assertEqual(main_module.ExitCode.FAILED, said.code)
        self.assertIn('available again', said.err)
        self.assertEqual([SECOND], [one.volume_id for one
                                    in self.snapshots.values()])
        properties = self.stored[self.image_id].properties
        self.assertIn(image_delete_flow.DELETING_PROPERTY, properties)
        self.assertIn(self.ids[SECOND], properties['block_device_mapping'])
        # Run again, when nothing is made of it any more.
        self.fake.cinder.keeps.clear()
        self.assertEqual(main_module.ExitCode.DONE, self.delete('--yes').code)
        self.assertEqual(({}, {}), (self.stored, self.snapshots))

    def test_who_may_not_write_the_image_deletes_nothing(self):
        node = self.fake.process().node
        deletion = image_delete_flow.plan(node.world, self.image_id)
        self.fake.glance.refuses = True
        self.assertRaises(
            errors.ImageServiceRefused,
            image_delete_flow.run,
            node.world,
            deletion,
        )
        self.assertEqual(2, len(self.snapshots))
