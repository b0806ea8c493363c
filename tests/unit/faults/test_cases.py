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
import re

from oslotest import base

from tests.faults import calls as calls_module
from tests.faults import cases as cases_module
from tests.faults import flows as flows_module
from tests.faults import kinds
from tests.lab import errors

LINES = ('Locks Locks.instance 1', 'Files Files.exists 1',
         'Store Store.write 1 MakeScratch-intent',
         'Files Files.make_scratch 1', 'libvirt lookupByUUIDString 1',
         'libvirt lookupByUUIDString 2', 'libvirt lookupByUUIDString 3',
         'libvirt undefineFlags 1', 'transfer Export.read 1',
         'Images Images.upload 1',
         'service glance-PUT-images-ID-file 1')


def made(*more):
    return calls_module.read([*LINES, *more])


def names(*more):
    return [case.name for case in cases_module.of_flow('live', made(*more))]


class CallTestCase(base.BaseTestCase):

    def test_it_is_read_as_it_was_written(self):
        self.assertEqual(list(LINES), [call.line() for call in made()])

    def test_what_is_known_to_look_is_no_act(self):
        self.assertEqual(
            ['Locks.instance.1', 'Store.write.1', 'Files.make_scratch.1',
             'undefineFlags.1', 'Images.upload.1',
             'glance-PUT-images-ID-file.1'],
            [str(call) for call in made() if not call.is_look])

    def test_a_look_that_is_made_again_and_again_is_tried_twice(self):
        self.assertNotIn('lookupByUUIDString.3',
                         [str(call) for call in made() if call.is_tried])


class RequestTestCase(base.BaseTestCase):

    PATH = '/v2/images/79d8dbda-718c-4c51-bec7-e75a0c43e97a/file'

    def test_its_name_says_which_and_not_of_what(self):
        call = calls_module.request('glance', 'PUT', self.PATH, 2)
        self.assertEqual('glance-PUT-images-ID-file.2', str(call))
        self.assertFalse(call.is_look)

    def test_the_proxy_finds_it_by_its_name(self):
        call = calls_module.request('glance', 'PUT', self.PATH, 2)
        method, pattern = calls_module.path_pattern(call.name)
        self.assertEqual('PUT', method)
        self.assertTrue(re.search(pattern, self.PATH))
        self.assertFalse(re.search(pattern, '/v2/images'))
        self.assertFalse(re.search(pattern, self.PATH + '/more'))


class OfFlowTestCase(base.BaseTestCase):

    def test_a_name_says_what_is_done_when(self):
        self.assertIn('live/undefineFlags.1/before/sigkill', names())
        self.assertIn('live/undefineFlags.1/after/sigkill', names())

    def test_no_two_cases_have_one_name(self):
        counted = collections.Counter(names())
        self.assertEqual(set(), {name for name, count in counted.items()
                                 if count > 1})

    def test_a_call_that_is_added_is_tried(self):
        added = set(names('libvirt blockResize 1')) - set(names())
        self.assertIn('live/blockResize.1/before/sigkill', added)

    def test_a_method_that_the_world_gets_is_tried(self):
        added = set(names('Tapes Tapes.rewind 1')) - set(names())
        self.assertIn('live/Tapes.rewind.1/after/sigkill', added)

    def test_a_request_fails_on_its_way_and_has_no_before(self):
        self.assertEqual({'during'}, {
            case.when for case in cases_module.of_flow('live', made())
            if case.call.startswith('glance-')})

    def test_each_fault_has_a_case(self):
        everything = made(
            'libvirt fsFreeze 1', 'libvirt blockRebase 1',
            'libvirt checkpointCreateXML 1',
            'libvirt managedSave 1', 'QemuImg QemuImg.convert 1',
            'Ceph Ceph.flatten 1', 'service glance-GET-images-ID 1',
            *(f'whole snapshot 1 {flow}' for flow in flows_module.FLOWS))
        self.assertEqual(
            set(kinds.BY_NAME),
            {case.fault.name for case in
             cases_module.of_flow('live', everything)})


class SlowTestCase(base.BaseTestCase):

    def test_each_is_a_fault(self):
        self.assertEqual(set(), kinds.SLOW - set(kinds.BY_NAME))


class NamedTestCase(base.BaseTestCase):

    def test_each_name_leads_to_its_case(self):
        for case in cases_module.of_flow('live', made()):
            self.assertEqual(case, cases_module.named(
                case.name, flows_module.FLOWS))

    def test_what_is_no_name(self):
        for name in ('live', 'live/undefineFlags.1/before/rain',
                     'dead/undefineFlags.1/before/sigkill'):
            self.assertRaises(errors.LabError, cases_module.named, name,
                              flows_module.FLOWS)


class SampleTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.all = [case for flow in ('live', 'cold')
                    for case in cases_module.of_flow(flow, made())]

    def test_the_same_seed_chooses_the_same(self):
        self.assertEqual(cases_module.sample(self.all, 9, 3),
                         cases_module.sample(self.all, 9, 3))
        self.assertNotEqual(cases_module.sample(self.all, 9, 3),
                            cases_module.sample(self.all, 9, 4))

    def test_it_has_so_many_in_their_order(self):
        chosen = cases_module.sample(self.all, 9, 3)
        self.assertEqual(9, len(chosen))
        self.assertEqual(sorted(chosen, key=self.all.index), chosen)

    def test_each_flow_and_fault_comes_before_a_second_case_of_one(self):
        pairs = {(case.flow, case.fault.name) for case in self.all}
        chosen = cases_module.sample(self.all, len(pairs), 3)
        self.assertEqual(pairs, {(case.flow, case.fault.name)
                                 for case in chosen})

    def test_all_of_them(self):
        self.assertEqual(self.all, cases_module.sample(self.all, 10 ** 6, 3))
