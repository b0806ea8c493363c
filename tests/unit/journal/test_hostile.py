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

"""Records that a person, or a broken disk, has changed."""

import json
import pathlib

import fixtures
import hypothesis
from hypothesis import strategies
from oslotest import base

from nova_snap import errors
from nova_snap.journal import record as record_model
from nova_snap.journal import store as store_module
from tests.fakes import examples
from tests.unit.journal import records

ANY_JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats(allow_nan=False) | strategies.text(),
    lambda inner: strategies.lists(inner)
    | strategies.dictionaries(strategies.text(), inner), max_leaves=10)
FACTS = strategies.dictionaries(strategies.text(), ANY_JSON)
ENTRIES = strategies.lists(strategies.builds(
    record_model.Entry, kind=strategies.text(),
    role=strategies.sampled_from(record_model.Role),
    phase=strategies.sampled_from(record_model.Phase), facts=FACTS))
IMAGES = strategies.lists(strategies.builds(
    record_model.Image, id=strategies.text(), name=strategies.text()))
RECORDS = strategies.builds(
    record_model.Record, id=strategies.text(), operation=strategies.text(),
    instance_uuid=strategies.text(), instance_name=strategies.text(),
    images=IMAGES, host=strategies.text(), machine_id=strategies.text(),
    boot_id=strategies.text(), started_at=strategies.text(),
    committed=strategies.booleans(), entries=ENTRIES)
# Deeper than Python's JSON goes.
DEEP = 100_000


def good():
    """Return a record with all there is, as it is written."""
    return records.record(
        entries=[records.entry()], reservations=[
            record_model.Reservation('/srv/snapshots', 5)]).to_dict()


class FormatTestCase(base.BaseTestCase):

    @examples.settings()
    @hypothesis.given(RECORDS)
    def test_what_was_written_is_read(self, record):
        data = json.loads(json.dumps(record.to_dict()))
        self.assertEqual(record, record_model.Record.from_dict(data, 'path'))

    @examples.settings()
    @hypothesis.given(ANY_JSON)
    def test_anything_else_is_an_error_of_the_journal(self, data):
        self.assertRaises(errors.JournalError,
                          record_model.Record.from_dict, data, 'path')

    @examples.settings()
    @hypothesis.given(strategies.data())
    def test_one_field_that_is_another_is_read_or_an_error(self, data):
        fields = good()
        version = data.draw(strategies.sampled_from(
            [1, fields['version'], None]))
        name = data.draw(strategies.sampled_from(sorted(fields)))
        fields[name] = data.draw(ANY_JSON)
        fields['version'] = version
        try:
            record_model.Record.from_dict(fields, 'path')
        except errors.JournalError as exc:
            self.assertNotIn(records.SECRET, str(exc))

    @examples.settings()
    @hypothesis.given(strategies.data())
    def test_one_field_of_an_entry_likewise(self, data):
        fields = good()
        (entry,) = fields['entries']
        entry[data.draw(strategies.sampled_from(sorted(entry)))] = (
            data.draw(ANY_JSON))
        try:
            record_model.Record.from_dict(fields, 'path')
        except errors.JournalError as exc:
            self.assertNotIn(records.SECRET, str(exc))


class FileTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.store = store_module.Store(
            self.useFixture(fixtures.TempDir()).path)
        self.store.prepare()
        self.store.write(records.record(entries=[records.entry()]))
        self.path = pathlib.Path(self.store.path, 'a-record.json')
        self.whole = self.path.read_bytes()

    def read(self, data):
        """Return what reading says of these bytes."""
        self.path.write_bytes(data)
        (found,) = self.store.read_all()
        return found

    @examples.settings()
    @hypothesis.given(strategies.integers(0), strategies.binary(max_size=4))
    def test_bytes_that_were_overwritten(self, place, other):
        place %= len(self.whole)
        found = self.read(self.whole[:place] + other
                          + self.whole[place + len(other):])
        self.assertIsInstance(found, record_model.Record
                              | errors.JournalError)

    def test_cut_anywhere_it_is_no_record(self):
        for size in range(len(self.whole)):
            self.assertIsInstance(self.read(self.whole[:size]),
                                  errors.JournalError)

    def test_deeper_than_any_record(self):
        for bracket in (b'[', b'{"a":'):
            self.assertIsInstance(self.read(bracket * DEEP),
                                  errors.JournalError)
