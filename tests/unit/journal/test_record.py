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

import dataclasses
import json
import re

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.journal import record as record_model
from tests.unit import data
from tests.unit.journal import records

PATH = '/srv/state/nova_snap/records/a-record.json'

Phase = record_model.Phase
Role = record_model.Role


def _written(record):
    """Return what another process reads of a record."""
    return json.loads(json.dumps(record.to_dict()))


def _parse(written):
    return record_model.Record.from_dict(written, PATH)


@ddt.ddt
class RecordTestCase(base.BaseTestCase):

    def full(self):
        return records.record(committed=True, entries=[
            records.entry('CreateImage', Role.ARTIFACT, Phase.DONE,
                          spec={'properties': {'a': 'b'}}),
            records.entry(phase=Phase.UNDONE)],
            reservations=[record_model.Reservation('/srv/scratch', 7)])

    @ddt.named_data(
        ['with its entries', True],
        ['before its first step', False],
    )
    def test_what_was_written_is_read(self, full):
        record = self.full() if full else records.record()
        self.assertEqual(record, _parse(_written(record)))

    def test_it_says_its_format(self):
        self.assertEqual(2, _written(records.record())['version'])

    @ddt.named_data(
        ['a role', Role.HOLD, 'hold'],
        ['the other role', Role.ARTIFACT, 'artifact'],
        ['an intent', Phase.INTENT, 'intent'],
        ['an act', Phase.DONE, 'done'],
        ['an end', Phase.UNDONE, 'undone'],
    )
    def test_a_word_on_the_disk_stays(self, value, word):
        self.assertEqual(f'"{word}"', json.dumps(value))

    @ddt.named_data(
        ['of a release to come', {'version': 3}],
        ['of none', {}],
        ['that is no number', {'version': 'one'}],
    )
    def test_an_unknown_format_is_told_from_a_broken_one(self, version):
        written = {**_written(self.full()), 'version': None, **version}
        error = self.assertRaises(errors.JournalUnknownVersion, _parse,
                                  written)
        self.assertEqual((PATH, version.get('version')),
                         (error.path, error.version))

    def test_a_release_to_come_may_write_what_it_likes(self):
        self.assertRaises(errors.JournalUnknownVersion, _parse,
                          {'version': 3, 'entries': 'gone'})

    @ddt.named_data(
        ['a list', []],
        ['nothing', None],
        ['a word', 'record'],
    )
    def test_what_is_no_record_is_an_error(self, written):
        error = self.assertRaises(errors.JournalError, _parse, written)
        self.assertIn(PATH, str(error))

    @ddt.named_data(
        ['no entries', 'entries', None],
        ['entries that are none', 'entries', [1]],
        ['entries that are a word', 'entries', 'none'],
        ['an instance that is a number', 'instance_uuid', 7],
        # The word is true, and what must be undone would remain.
        ['a commit that is a word', 'committed', 'false'],
        ['an unknown field', 'mood', 'good'],
        ['room that is a word', 'reservations',
         [{'path': '/srv', 'size': 'much'}]],
    )
    def test_a_strange_field_is_an_error(self, name, value):
        error = self.assertRaises(
            errors.JournalError, _parse,
            {**_written(self.full()), name: value})
        self.assertIn(PATH, str(error))

    @ddt.named_data(
        ['a kind that is a number', 'kind', 3],
        ['an unknown role', 'role', 'villain'],
        ['an unknown phase', 'phase', 'waning'],
        ['facts that are a list', 'facts', []],
    )
    def test_a_strange_entry_is_an_error(self, name, value):
        written = _written(self.full())
        written['entries'][0][name] = value
        self.assertRaises(errors.JournalError, _parse, written)

    @ddt.data('id', 'instance_uuid', 'host', 'machine_id', 'committed',
              'entries')
    def test_a_missing_field_is_an_error(self, name):
        written = _written(self.full())
        del written[name]
        self.assertRaises(errors.JournalError, _parse, written)

    def test_an_older_one_has_reserved_nothing(self):
        written = _written(self.full())
        del written['reservations']
        self.assertEqual([], _parse(written).reservations)

    @ddt.data('kind', 'role', 'phase', 'facts')
    def test_a_missing_field_of_an_entry_is_an_error(self, name):
        written = _written(self.full())
        del written['entries'][1][name]
        self.assertRaises(errors.JournalError, _parse, written)

    def test_no_error_tells_a_secret(self):
        written = _written(self.full())
        written['entries'][1]['facts'] = [records.SECRET]
        error = self.assertRaises(errors.JournalError, _parse, written)
        self.assertNotIn(records.SECRET, str(error))

    def test_a_record_in_a_log_tells_no_secret(self):
        self.assertNotIn(records.SECRET, repr(self.full()))


class Version1TestCase(base.BaseTestCase):
    """What earlier releases wrote stays readable."""

    def test_a_live_snapshot_that_was_killed_in_the_freeze(self):
        record = _parse(json.loads(
            data.text('journal', 'version-1-live.json')))
        self.assertEqual(
            (
                '9b1c4f62-6f0e-4a35-8a53-0d6f4b1f2a77',
                'live',
                '0a608a7f-a14f-42bf-bf80-ca5745ad69d0',
                'instance-00000009',
                '3427ce57-c126-400e-8a83-3da400216938',
                'nightly',
                'node-1',
                '5f0c3d0c7c5e4d7a9b7d1d1f6a3b2c4e',
                '7d2b6c1e-4a53-4a0e-9a6f-3f1d0e5c8b21',
                '2026-11-22T23:49:09+00:00',
                False,
            ),
            (
                record.id,
                record.operation,
                record.instance_uuid,
                record.instance_name,
                record.images[0].id,
                record.images[0].name,
                record.host,
                record.machine_id,
                record.boot_id,
                record.started_at,
                record.committed,
            ),
        )
        self.assertEqual(
            [('CreateImage', Role.ARTIFACT, Phase.DONE),
             ('MakeScratch', Role.HOLD, Phase.DONE),
             ('StartMirror', Role.HOLD, Phase.DONE),
             ('UndefineDomain', Role.HOLD, Phase.UNDONE),
             ('BoundAgentWaits', Role.HOLD, Phase.DONE),
             ('FreezeFilesystems', Role.HOLD, Phase.INTENT)],
            [(e.kind, e.role, e.phase) for e in record.entries])
        self.assertEqual('vda', record.entries[2].facts['target_dev'])

    def test_a_cold_snapshot_that_was_killed_after_the_commit(self):
        record = _parse(json.loads(
            data.text('journal', 'version-1-cold-committed.json')))
        self.assertTrue(record.committed)
        self.assertEqual('Sonntag früh', record.images[0].name)
        self.assertEqual(
            {'uuid': '5f1c1f70-7f0a-4b0e-9d62-0c5d3a8f1e11', 'qemu_id': 3,
             'paused': True, 'timeout': 1800}, record.entries[2].facts)


class DocumentTestCase(base.BaseTestCase):
    """The page about the journal is true."""

    def setUp(self):
        super().setUp()
        self.page = data.document('reference/journal')

    def test_its_example_is_a_record(self):
        found = re.search(r'code-block:: json\n\n((?: {3}.*\n)+)',
                          self.page)
        record = _parse(json.loads(found[1]))
        self.assertEqual('StartMirror', record.entries[2].kind)

    def test_it_names_each_field(self):
        fields = [*_written(records.record()), *(
            field.name for field
            in dataclasses.fields(record_model.Entry))]
        self.assertEqual([], [name for name in fields
                              if f'``{name}``' not in self.page])
