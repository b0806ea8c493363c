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

import itertools
import json
import pathlib

import ddt
import fixtures

from nova_snap.cmd import main as main_module
from nova_snap.journal import record as record_model
from tests.fakes import node as fake_node
from tests.unit.cmd import scene


@ddt.ddt
class StatusTestCase(scene.CommandTestCase):

    def test_nothing_left_is_said_in_words(self):
        said = self.run_command('status')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual('Nothing is under way and nothing was left\n',
                         said.out)
        self.assertEqual([], self.run_command('status', '--json').json())

    def test_what_was_left_is_told_in_words(self):
        record = self.leave(self.undefined())
        said = self.run_command('status')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        heading, row = said.out.splitlines()
        for word in (record.id, fake_node.NAME, 'live "nightly"',
                     '2026-11-22T23:49:09+00:00', 'left',
                     'nova-snap recover'):
            self.assertIn(word, row)
        self.assertTrue(heading.startswith('RECORD'))

    def test_a_program_reads_all_but_the_facts(self):
        record = self.leave(self.undefined())
        [found] = self.run_command('status', '--json').json()
        reason = found.pop('reason')
        self.assertIn('nova-snap recover', reason)
        self.assertEqual(
            {'outcome': 'left', 'record': record.id, 'operation': 'live',
             'instance_uuid': fake_node.UUID,
             'instance_name': fake_node.NAME,
             'images': [{'id': 'an-image', 'name': 'nightly'}],
             'host': fake_node.HOST,
             'started_at': '2026-11-22T23:49:09+00:00', 'committed': False,
             'steps': [{'step': 'UndefineDomain', 'role': 'hold',
                        'phase': 'done'}]}, found)

    def test_one_that_is_under_way_is_told_from_one_that_is_left(self):
        self.leave(self.undefined())
        locks = self.fake.process().node.locks
        with locks.instance(fake_node.UUID):
            [found] = self.run_command('status', '--json').json()
        self.assertEqual('under way', found['outcome'])

    @ddt.named_data(
        ['of another host', {'host': 'node-2'}, 'node-2'],
        ['of another machine', {'machine_id': 'other'}, 'other'],
    )
    def test_a_record_is_foreign(self, changes, word):
        self.leave(self.undefined(), **changes)
        [found] = self.run_command('status', '--json').json()
        self.assertEqual('foreign', found['outcome'])
        self.assertIn(word, found['reason'])

    @ddt.named_data(
        ['of another release', {'version': 99}, '99'],
        ['that is broken', {'version': 2}, 'entries'],
        ['of format 1 that is broken', {'version': 1}, 'image_id'],
    )
    def test_one_record(self, text, word):
        path = self.fake.process().store.path / 'x.json'
        path.write_text(json.dumps({**text, 'xml': fake_node.PASSWORD}))
        said = self.run_command('status')
        self.assertIn('foreign', said.out)
        self.assertIn(word, said.out)
        [found] = self.run_command('status', '--json').json()
        self.assertEqual({'outcome', 'reason'}, set(found))
        self.assertIn(str(path), found['reason'])

    def test_to_look_changes_nothing(self):
        self.leave(self.undefined())
        self.fake.guest.undefineFlags(0)
        self.run_command('status')
        self.assertFalse(self.fake.guest.isPersistent())


class RecoverTestCase(scene.CommandTestCase):

    def test_nothing_left_is_said_in_words(self):
        said = self.run_command('recover')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual('Nothing was left\n', said.out)
        self.assertEqual([], self.run_command('recover', '--json').json())

    def test_what_was_left_is_put_back(self):
        self.leave(self.undefined())
        self.fake.guest.undefineFlags(0)
        said = self.run_command('recover')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertIn('settled', said.out)
        self.assertTrue(self.fake.guest.isPersistent())
        self.assertIn('Nothing is under way',
                      self.run_command('status').out)

    def test_what_cannot_be_put_back_is_told(self):
        record = self.leave(self.undefined())
        self.fake.guest.undefineFlags(0)
        process = self.fake.process()
        process.calls.fail_named('defineXML', times=None)
        self.use_node(lambda observer: self.fake_node(observer, process))
        said = self.run_command('recover')
        self.assertEqual(main_module.ExitCode.LEFT, said.code)
        self.assertIn('failed', said.out)
        self.assertIn(record.id, said.err)
        self.assertIn('1 of 1', said.err)

        said = self.run_command('recover', '--json')
        self.assertEqual(main_module.ExitCode.LEFT, said.code)
        self.assertEqual(['failed'],
                         [found['outcome'] for found in said.json()])

    def test_a_saved_guest_of_nova_s_needs_a_word_of_the_operator(self):
        fake = fake_node.FakeNode(
            pathlib.Path(self.useFixture(fixtures.TempDir()).path),
            fake_node.GuestSpec(nova=True))
        fake.guest.create()
        self.fake = fake
        qemu_id = fake.guest.ID()
        fake.guest.managedSave(0)
        fake.nova_compute_runs = True
        self.leave(record_model.Entry(
            'SaveMemory', scene.Role.HOLD, scene.Phase.DONE,
            {'uuid': fake_node.UUID, 'qemu_id': qemu_id, 'paused': False,
             'timeout': 60}), operation='cold')
        said = self.run_command('recover')
        self.assertEqual(main_module.ExitCode.LEFT, said.code)
        self.assertIn('--nova-is-stopped', said.out)
        self.assertFalse(fake.guest.isActive())

        said = self.run_command('recover', '--nova-is-stopped')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertTrue(fake.guest.isActive())


@ddt.ddt
class SecretsTestCase(scene.CommandTestCase):
    """The facts of a record carry the password of a guest's screen."""

    def setUp(self):
        super().setUp()
        self.assertIn(fake_node.PASSWORD, self.fake.xml)
        self.log = self.useFixture(fixtures.FakeLogger(level=0))

    @ddt.data(*itertools.product(
        (['status'], ['recover'], ['check'], ['list']),
        ([], ['--json'])))
    @ddt.unpack
    def test_no_command_tells_them(self, words, options):
        self.leave(self.undefined())
        self.fake.guest.undefineFlags(0)
        said = self.run_command('--debug', *words, *options)
        for text in (said.out, said.err, self.log.output):
            self.assertNotIn(fake_node.PASSWORD, text)
        self.assertNotEqual('', said.out)

    @ddt.data('status', 'recover')
    def test_nor_when_the_record_cannot_be_used(self, word):
        entry = self.undefined()
        entry.facts['mood'] = fake_node.PASSWORD
        self.leave(entry)
        for options in ([], ['--json']):
            said = self.run_command('--debug', word, *options)
            self.assertNotIn(fake_node.PASSWORD, said.out + said.err)
        self.assertNotIn(fake_node.PASSWORD, self.log.output)
