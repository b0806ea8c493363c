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

"""Records of format 1, which one image and one path were enough for."""

import json

import ddt
from oslotest import base

from nova_snap.journal import format_1
from nova_snap.journal import record as record_model
from tests.unit import data


def _read(name):
    return json.loads(data.text('journal', f'version-1-{name}.json'))


@ddt.ddt
class UpgradeTestCase(base.BaseTestCase):

    @ddt.data('live', 'cold-committed', 'volumes')
    def test_the_image_becomes_the_first_of_a_list(self, name):
        written = _read(name)
        record = record_model.Record.from_dict(written, name)
        self.assertEqual(
            [record_model.Image(written['image_id'], written['image_name'])],
            record.images)

    def test_an_operation_without_an_image_has_none(self):
        written = {**_read('live'), 'image_id': '', 'image_name': ''}
        self.assertEqual([], format_1.upgrade(written)['images'])

    def test_the_root_disk_becomes_a_layer(self):
        written = _read('live')
        [before] = [entry['facts'] for entry in written['entries']
                    if entry['kind'] == 'UndefineDomain']
        [after] = [entry['facts']
                   for entry in format_1.upgrade(written)['entries']
                   if entry['kind'] == 'UndefineDomain']
        self.assertEqual(
            {'path': before.pop('root_path'), 'format': '',
             'storage': 'file'}, after.pop('root'))
        self.assertEqual(before, after)

    @ddt.data('live', 'cold-committed', 'volumes')
    def test_it_is_written_in_the_format_of_today(self, name):
        record = record_model.Record.from_dict(_read(name), name)
        again = record.to_dict()
        self.assertEqual(record_model.FORMAT_VERSION, again['version'])
        self.assertEqual(record, record_model.Record.from_dict(again, name))

    def test_what_was_read_is_not_changed(self):
        written = _read('live')
        format_1.upgrade(written)
        self.assertEqual(_read('live'), written)
