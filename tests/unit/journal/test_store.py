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
import os
import pathlib
import shutil
import stat

import ddt
import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.journal import record as record_model
from nova_snap.journal import store as store_module
from tests.unit import data
from tests.unit.journal import disk as disk_fixture
from tests.unit.journal import records


class StoreTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        # Whatever the umask is: the modes are ours to set.
        self.addCleanup(os.umask, os.umask(0))
        self.state_path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.journal_dir = self.state_path / 'nova_snap'
        self.records = self.journal_dir / 'records'
        self.store = self.make()
        self.store.prepare()

    def make(self, owner=None):
        return store_module.Store(str(self.journal_dir), owner)

    def names(self):
        return sorted(os.listdir(self.records))

    def mode(self, *names):
        return stat.S_IMODE(self.records.joinpath(*names).stat().st_mode)


class MachineIdTestCase(StoreTestCase):
    """Whose journal it is."""

    def test_it_stays_as_long_as_the_journal(self):
        first = self.store.machine_id()
        self.assertRegex(first, '^[0-9a-f]{32}$')
        self.make().prepare()
        self.assertEqual(first, self.make().machine_id())

    def test_another_journal_has_another(self):
        other = store_module.Store(str(self.state_path / 'other'))
        other.prepare()
        self.assertNotEqual(self.store.machine_id(), other.machine_id())

    def test_a_journal_that_was_not_made_has_none_and_makes_none(self):
        other = store_module.Store(str(self.state_path / 'other'))
        self.assertEqual('', other.machine_id())
        self.assertFalse((self.state_path / 'other').exists())

    def test_one_that_another_process_made_at_the_moment_stays(self):
        path = self.journal_dir / store_module.MACHINE_ID
        path.unlink()
        link = os.link

        def be_late(*names, **options):
            path.write_text('theirs\n')
            link(*names, **options)

        self.useFixture(fixtures.MonkeyPatch('os.link', be_late))
        self.store.prepare()
        self.assertEqual('theirs', self.store.machine_id())
        self.assertEqual(['machine-id', 'records'],
                         sorted(os.listdir(self.journal_dir)))

    def test_it_is_private(self):
        self.assertEqual(0o600, self.mode('..', store_module.MACHINE_ID))

    def test_one_that_cannot_be_read_is_an_error(self):
        path = self.journal_dir / store_module.MACHINE_ID
        path.unlink()
        path.mkdir()
        error = self.assertRaises(errors.JournalError, self.store.machine_id)
        self.assertIn(str(path), str(error))


class PrepareTestCase(StoreTestCase):

    def test_no_other_user_may_look_in(self):
        self.assertEqual(0o700, self.mode())
        self.assertEqual(0o700, self.mode('..'))

    def test_a_journal_that_is_there_is_kept(self):
        self.store.write(records.record())
        self.make().prepare()
        self.assertEqual(['a-record'], self.make().ids())

    def test_a_state_path_that_is_missing_is_not_made(self):
        # It is a file system that is not mounted, most often.
        shutil.rmtree(self.state_path)
        error = self.assertRaises(errors.JournalError, self.store.prepare)
        self.assertIn('journal_dir', str(error))
        self.assertFalse(self.state_path.exists())
        self.state_path.mkdir()

    def test_what_others_make_at_the_same_moment_is_used(self):
        # Both looked and saw no directory.
        self.useFixture(fixtures.MockPatch(
            'pathlib.Path.is_dir', autospec=True,
            side_effect=itertools.cycle((False, True))))
        self.make().prepare()

    def test_a_file_in_its_place_is_an_error(self):
        shutil.rmtree(self.journal_dir)
        self.journal_dir.write_text('')
        self.assertRaises(errors.JournalError, self.store.prepare)


class WriteTestCase(StoreTestCase):

    def test_what_was_written_is_read(self):
        record = records.record(entries=[records.entry()])
        self.store.write(record)
        self.assertEqual(record, self.make().read('a-record'))

    def test_the_new_one_replaces_the_old_one(self):
        record = records.record()
        self.store.write(record)
        record.committed = True
        self.store.write(record)
        self.assertTrue(self.store.read('a-record').committed)
        self.assertEqual(['a-record.json'], self.names())

    def test_no_other_user_may_read_it(self):
        self.store.write(records.record())
        self.assertEqual(0o600, self.mode('a-record.json'))

    def test_a_disk_that_is_full_leaves_the_old_one(self):
        self.store.write(records.record())
        with disk_fixture.FullDisk():
            error = self.assertRaises(errors.JournalError, self.store.write,
                                      records.record(committed=True))
        self.assertIn('a-record.json', str(error))
        self.assertFalse(self.store.read('a-record').committed)
        # What there is room for again is not half a record.
        self.assertEqual(['a-record.json'], self.names())

    def test_a_first_one_that_is_not_written_leaves_nothing(self):
        with disk_fixture.FullDisk():
            self.assertRaises(errors.JournalError, self.store.write,
                              records.record())
        self.assertEqual([], self.names())

    def test_facts_that_no_file_can_hold_are_an_error_of_the_journal(self):
        # Any other would stop the undoing of all that is under way.
        bad = records.entry(handle=object())
        self.assertRaises(errors.JournalError, self.store.write,
                          records.record(entries=[bad]))
        self.assertEqual([], self.names())

    def test_a_journal_that_was_removed_is_an_error(self):
        shutil.rmtree(self.records)
        self.assertRaises(errors.JournalError, self.store.write,
                          records.record())


class DurableTestCase(StoreTestCase):
    """The order in which a power cut may come between."""

    def setUp(self):
        super().setUp()
        self.calls = []
        self.spy('fsync', lambda fd: os.path.realpath(f'/proc/self/fd/{fd}'))
        self.spy('replace', lambda old, new: (str(old), str(new)))

    def spy(self, name, describe):
        call = getattr(os, name)

        def called(*args, **options):
            self.calls.append((name, describe(*args)))
            return call(*args, **options)

        self.useFixture(fixtures.MonkeyPatch(f'os.{name}', called))

    def test_the_bytes_are_on_the_disk_before_they_have_their_name(self):
        self.store.write(records.record())
        partial = 'an-instance.a-record.partial'
        self.assertEqual(
            [('fsync', str(self.records / partial)),
             ('replace', (partial, 'a-record.json')),
             ('fsync', str(self.records))], self.calls)

    def test_a_record_that_is_gone_stays_gone(self):
        self.store.write(records.record())
        del self.calls[:]
        self.store.remove('a-record')
        self.assertEqual([('fsync', str(self.records))], self.calls)

    def test_the_names_of_the_directories_are_on_the_disk(self):
        shutil.rmtree(self.journal_dir)
        self.store.prepare()
        self.assertEqual([('fsync', str(self.state_path)),
                          ('fsync', str(self.journal_dir))], self.calls[:2])

    def test_the_id_of_the_machine_is_on_the_disk(self):
        (self.journal_dir / store_module.MACHINE_ID).unlink()
        self.store.prepare()
        (file_call, path), directory = self.calls
        self.assertEqual(('fsync', ('fsync', str(self.journal_dir))),
                         (file_call, directory))
        self.assertRegex(path, r'/machine-id\.[0-9a-f]{32}\.partial$')


class RemoveTestCase(StoreTestCase):

    def test_a_record_that_is_removed_is_gone(self):
        self.store.write(records.record('one'))
        self.store.write(records.record('two'))
        self.store.remove('one')
        self.assertEqual(['two'], self.store.ids())

    def test_one_that_is_gone_is_fine(self):
        self.store.remove('a-record')

    def test_what_a_killed_process_had_half_written_goes_too(self):
        self.store.write(records.record())
        (self.records / 'an-instance.a-record.partial').write_text(
            records.SECRET)
        self.store.remove('a-record')
        self.assertEqual([], self.names())

    def test_half_a_record_of_a_dead_owner_goes(self):
        for name in ('one.a-record', 'two.b-record'):
            (self.records / f'{name}.partial').write_text('{"version": 1')
        self.store.remove_partials(lambda instance: instance == 'one')
        self.assertEqual(['one.a-record.partial'], self.names())

    def test_half_a_record_that_stays_is_an_error(self):
        (self.records / 'one.a-record.partial').mkdir()
        self.assertRaises(errors.JournalError, self.store.remove_partials,
                          lambda instance: False)

    def test_a_directory_that_is_gone_is_an_error(self):
        shutil.rmtree(self.records)
        self.assertRaises(errors.JournalError, self.store.remove,
                          'a-record')


@ddt.ddt
class ReadTestCase(StoreTestCase):

    def put(self, text, name='a-record.json'):
        (self.records / name).write_text(text)

    @ddt.named_data(
        ['half of it', '{"version": 1, "id":'],
        ['nothing', ''],
        ['a list', '[]'],
        ['no fields', '{"version": 1}'],
    )
    def test_what_cannot_be_read_is_an_error(self, text):
        self.put(text)
        error = self.assertRaises(errors.JournalError, self.store.read,
                                  'a-record')
        self.assertIn('a-record.json', str(error))

    def test_bytes_that_are_no_text_are_an_error(self):
        (self.records / 'a-record.json').write_bytes(b'\xff\xfe')
        self.assertRaises(errors.JournalError, self.store.read, 'a-record')

    def test_one_that_is_not_there_is_an_error(self):
        self.assertRaises(errors.JournalError, self.store.read, 'a-record')

    def test_a_copy_is_not_taken_for_the_record(self):
        self.store.write(records.record())
        shutil.copy(self.records / 'a-record.json',
                    self.records / 'a-copy.json')
        error = self.assertRaises(errors.JournalError, self.store.read,
                                  'a-copy')
        self.assertIn('a-copy.json', str(error))
        self.assertIn('copy of record a-record', str(error))

    @ddt.data('version-1-live', 'version-1-cold-committed',
              'version-1-volumes')
    def test_what_an_earlier_release_wrote_is_read(self, name):
        text = data.text('journal', f'{name}.json')
        for record_id in ('9b1c4f62-6f0e-4a35-8a53-0d6f4b1f2a77',
                          '1f6a1d7b-5f1d-4d27-9a3f-6a4c0d9d5b3e',
                          '6f0a9d7e-52c1-4c2b-9a53-1f7e6d0b8c34'):
            if record_id in text:
                self.put(text, f'{record_id}.json')
        [record] = self.store.read_all()
        self.assertIsInstance(record, record_model.Record)

        self.store.write(record)
        self.assertEqual([record], list(self.store.read_all()))


class ReadAllTestCase(StoreTestCase):

    def test_a_bad_one_does_not_hide_the_good_ones(self):
        good = records.record('c')
        self.store.write(good)
        (self.records / 'a.json').write_text('{"version": 99}')
        (self.records / 'b.json').write_text('{"version": 1')
        unknown, broken, read = self.store.read_all()
        self.assertIsInstance(unknown, errors.JournalUnknownVersion)
        self.assertIn('99', str(unknown))
        self.assertIsInstance(broken, errors.JournalError)
        self.assertEqual(good, read)

    def test_what_is_unknown_is_left_alone(self):
        text = '{"version": 99, "what": "ever"}'
        (self.records / 'a.json').write_text(text)
        list(self.store.read_all())
        self.assertEqual(text, (self.records / 'a.json').read_text())

    def test_what_never_got_its_name_is_no_record(self):
        (self.records / 'a.partial').write_text('{"version": 1')
        self.assertEqual([], self.store.ids())
        self.assertEqual([], list(self.store.read_all()))

    def test_one_that_was_settled_in_between_is_no_error(self):
        self.store.write(records.record('a'))
        self.store.write(records.record('b'))
        reading = self.store.read_all()
        self.assertEqual('a', next(reading).id)
        self.make().remove('b')
        self.assertEqual([], list(reading))

    def test_before_the_first_snapshot_there_is_none(self):
        shutil.rmtree(self.journal_dir)
        self.assertEqual([], self.store.ids())

    def test_a_journal_that_cannot_be_read_is_not_an_empty_one(self):
        shutil.rmtree(self.records)
        self.records.write_text('')
        error = self.assertRaises(errors.JournalError, self.store.ids)
        self.assertIn(str(self.records), str(error))


class OwnerTestCase(StoreTestCase):
    """What root writes belongs to the owner of state_path."""

    OWNER = (4242, 4343)

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('only root can give files away')
        shutil.rmtree(self.journal_dir)
        self.store = self.make(self.OWNER)
        self.store.prepare()
        self.store.write(records.record())

    def owner(self, path):
        figures = path.stat()
        return figures.st_uid, figures.st_gid

    def test_all_that_root_writes_belongs_to_the_owner(self):
        for path in (self.journal_dir, self.records,
                     self.records / 'a-record.json'):
            self.assertEqual(self.OWNER, self.owner(path), path)

    def test_it_stays_theirs_when_it_is_written_again(self):
        self.store.write(records.record(committed=True))
        self.assertEqual(self.OWNER,
                         self.owner(self.records / 'a-record.json'))
        self.assertEqual(0o600, self.mode('a-record.json'))

    def test_what_is_there_is_not_given_away_again(self):
        # The operator made it, and knows why.
        os.chown(self.journal_dir, 0, 0)
        self.store.prepare()
        self.assertEqual((0, 0), self.owner(self.journal_dir))
