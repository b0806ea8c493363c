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

"""A volume-backed instance, as an operator of the command sees it."""

from nova_snap.cmd import main as main_module
from nova_snap import errors
from nova_snap.services import signed_out
from tests.fakes import node as fake_node
from tests.unit.cmd import scene

NO_CREDENTIALS = errors.ConfigError(option='auth_type', reason='is not set')


class VolumesTestCase(scene.CommandTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def create(self, *words):
        return self.run_command('image-create', fake_node.NAME, 'nightly',
                                *words)

    def test_the_operator_reads_what_was_made(self):
        said = self.create('--quiesce', 'require')
        self.assertEqual(main_module.ExitCode.DONE, said.code, said.err)
        first, second = said.out.splitlines()
        for word in ('nightly', 'is active', 'raw', '0 bytes', 'volumes in',
                     'file systems frozen'):
            self.assertIn(word, first)
        for one in self.fake.cinder.snapshots:
            self.assertIn(one, second)
        self.assertIn('Snapshotting the volumes', said.err)

    def test_a_program_reads_it(self):
        found = self.create('--json').json()
        self.assertEqual(('volumes', 'none',
                          list(self.fake.cinder.snapshots)),
                         (found['method'], found['consistency'],
                          found['volume_snapshots']))

    def test_what_would_be_done(self):
        said = self.create('--dry-run')
        for number in range(2):
            self.assertIn(fake_node.volume_id(number), said.out)
        self.assertEqual({}, self.fake.cinder.snapshots)

    def test_what_would_be_done_for_a_program(self):
        found = self.create('--dry-run', '--json').json()
        self.assertEqual(
            ['vda', 'vdb'],
            [one['disk']['target_dev'] for one in found['volumes']])

    def test_a_volume_backed_guest_is_listed_with_its_method(self):
        [found] = self.run_command('list', '--json').json()
        self.assertEqual('volumes, vda as raw', found['snapshot'])

    def test_without_credentials_the_list_says_why(self):
        self.use_node(lambda observer: self.fake_node(
            observer, volumes=signed_out.SignedOutOfCinder(NO_CREDENTIALS)))
        [found] = self.run_command('list', '--json').json()
        self.assertIn('auth_type', found['snapshot'])

    def test_a_snapshot_over_the_quota_is_refused(self):
        self.fake.cinder.maximum = 0
        said = self.create()
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('quota', said.err)

    def test_what_cinder_does_not_let_go_is_left(self):
        self.fake.cinder.create_seconds = None
        said = self.create()
        self.assertEqual(main_module.ExitCode.LEFT, said.code)
        self.assertIn('nova-snap recover', said.err)
        [record] = self.run_command('status', '--json').json()
        self.assertEqual(('left', 'volumes'),
                         (record['outcome'], record['operation']))
