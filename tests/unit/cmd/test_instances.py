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

import collections
import dataclasses

import ddt

from nova_snap.cmd import main as main_module
from tests.fakes import node as fake_node
from tests.unit.cmd import scene

ANOTHER = '5b0f6f0e-4d2e-4b8e-9a53-1f7e6d0b8c34'

# For one guest. A call of libvirt's takes a fraction of a millisecond, and
# qemu-img ten: for a hundred guests that is less than the two seconds that an
# operator has patience for.
CALLS_OF_LIBVIRT = 11


@ddt.ddt
class ListTestCase(scene.CommandTestCase):

    def test_what_a_snapshot_would_do_is_told_in_words(self):
        said = self.run_command('list')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        heading, row = said.out.splitlines()
        self.assertEqual(['UUID', 'NAME', 'STATE', 'SNAPSHOT'],
                         heading.split())
        self.assertEqual([fake_node.UUID, fake_node.NAME, 'running',
                          'live,', 'vda', 'as', 'qcow2'], row.split())

    def test_a_program_reads_it(self):
        [found] = self.run_command('list', '--json').json()
        self.assertEqual({'uuid': fake_node.UUID,
                          'name': fake_node.NAME, 'state': 'running',
                          'snapshot': 'live, vda as qcow2'}, found)

    def test_of_one_that_is_off(self):
        self.fake.power_off_guest()
        [found] = self.run_command('list', '--json').json()
        self.assertEqual(('shut off', 'stopped, vda as qcow2'),
                         (found['state'], found['snapshot']))

    def test_one_that_cannot_be_taken_says_why(self):
        self.fake.free = 0
        [found] = self.run_command('list', '--json').json()
        self.assertTrue(found['snapshot'].startswith('no: '))
        self.assertIn('missing', found['snapshot'])

    def test_one_that_went_in_between_is_left_out(self):
        process = self.fake.process()
        process.calls.then('name', self.fake.delete_guest)
        self.use_node(lambda observer: self.fake_node(observer, process))
        said = self.run_command('list', '--json')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual([], said.json())

    def test_one_whose_name_is_no_utf_8_does_not_stop_the_list(self):
        def fail():
            raise UnicodeDecodeError('utf-8', b'vm-\xbe', 3, 4, 'no')

        process = self.fake.process()
        self.fake.guest.name = fail
        self.use_node(lambda observer: self.fake_node(observer, process))
        [found] = self.run_command('list', '--json').json()
        self.assertEqual(fake_node.UUID, found['uuid'])
        self.assertIn(r'vm-\xbe', found['snapshot'])

    def test_no_layer_of_a_disk_at_rest_is_looked_at_twice(self):
        self.fake.power_off_guest()
        process = self.fake.process()
        self.use_node(lambda observer: self.fake_node(observer, process))
        self.run_command('list')
        self.assertEqual(['info'], [call.name for call in process.calls.made
                                  if call.name == 'info'])

    def test_the_processes_of_the_host_are_looked_at_once(self):
        self.fake.libvirtd.define(
            self.fake.xml.replace(fake_node.UUID, ANOTHER).replace(
                fake_node.NAME, 'another'))
        looks = []
        process = self.fake.process()
        self.use_node(lambda observer: dataclasses.replace(
            self.fake_node(observer, process),
            nova_compute_runs=lambda: bool(looks.append('a look'))))
        self.assertEqual(2, len(self.run_command('list', '--json').json()))
        self.assertEqual(['a look'], looks)

    @ddt.named_data(['running', True], ['shut_off', False])
    def test_each_of_many_costs_a_few_calls(self, runs):
        # With a hundred this is what the operator waits for.
        if not runs:
            self.fake.power_off_guest()
        process = self.fake.process()
        self.use_node(lambda observer: self.fake_node(observer, process))
        self.run_command('list')
        made = collections.Counter(call.outside for call
                                   in process.calls.made)
        self.assertLessEqual(made['libvirt'], CALLS_OF_LIBVIRT)
        self.assertEqual(0 if runs else 1, made['qemu-img'])

    def test_of_one_of_which_a_record_is_left(self):
        record = self.leave(self.undefined())
        [found] = self.run_command('list', '--json').json()
        self.assertEqual(
            f'live, vda as qcow2; record {record.id} of a snapshot of it '
            '(live) is left: its owner is dead; "nova-snap recover" settles '
            'it', found['snapshot'])

    def test_of_one_that_is_under_way(self):
        record = self.leave(self.undefined())
        with self.fake.process().node.locks.instance(fake_node.UUID):
            [found] = self.run_command('list', '--json').json()
        self.assertTrue(found['snapshot'].startswith('no: '))
        self.assertIn(f'record {record.id} of a snapshot of it (live) is '
                      'under way', found['snapshot'])

    def test_the_record_of_another_guest_is_not_shown(self):
        self.leave(self.undefined(), instance_uuid=fake_node.UUID[::-1])
        [found] = self.run_command('list', '--json').json()
        self.assertEqual('live, vda as qcow2', found['snapshot'])

    def test_an_empty_node(self):
        self.fake.delete_guest()
        said = self.run_command('list')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual(1, len(said.out.splitlines()))
