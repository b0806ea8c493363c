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

"""The command line of tools/test."""

import contextlib
import io

import ddt
from oslotest import base

from tests.stages import options as options_module

ALL = ['lint', 'codespell', 'doc8', 'mypy', 'imports', 'unit', 'flow',
       'packaging', 'docs', 'functional', 'nova-libvirt', 'faults', 'kills',
       'nova', 'nova-own', 'volumes']
LONG = ['functional', 'nova-libvirt', 'faults', 'kills', 'volumes']


def wanted(*arguments):
    return [stage.name for stage in options_module.parse(arguments).wanted]


def left_out(*arguments):
    return [stage.name for stage in options_module.parse(arguments).left_out]


@ddt.ddt
class ParseTestCase(base.BaseTestCase):

    def refused(self, *arguments):
        """Return what is said of a command line that is wrong."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            left = self.assertRaises(SystemExit, options_module.parse,
                                     arguments)
        self.assertEqual(2, left.code)
        return said.getvalue()

    def test_nothing_named_is_everything_but_what_is_on_request(self):
        self.assertEqual(ALL, wanted())

    def test_stages_that_are_named(self):
        self.assertEqual(['unit', 'lint'], wanted('unit', 'lint'))

    def test_a_stage_named_twice_is_performed_once(self):
        self.assertEqual(['unit'], wanted('unit', 'unit'))

    def test_a_stage_on_request(self):
        self.assertEqual(['nova-functional'], wanted('nova-functional'))

    def test_fast_leaves_out_what_takes_long(self):
        self.assertEqual(['functional', 'nova-libvirt', 'faults', 'kills',
                          'volumes'], left_out('--fast'))
        self.assertEqual([name for name in ALL if name not in LONG],
                         wanted('--fast'))

    def test_fast_leaves_out_what_was_named_too(self):
        self.assertEqual(['functional'], left_out('--fast', 'functional'))
        self.assertEqual([], wanted('--fast', 'functional'))

    def test_names_of_tests(self):
        told = options_module.parse(['unit', '--', 'test_a', '--fast'])
        self.assertEqual(('test_a', '--fast'), told.names)

    def test_no_names_are_all(self):
        self.assertEqual((), options_module.parse(['unit', '--']).names)

    def test_each_named_release_is_wanted(self):
        told = options_module.parse(['nova', '--release', '34.0.0',
                                     '--release', '35.0.0', '--', 'test_a'])
        self.assertEqual(('34.0.0', '35.0.0'), told.releases)

    def test_an_unknown_stage(self):
        said = self.refused('units')
        for words in ('units is no stage', 'nova-functional', '"--"'):
            self.assertIn(words, said)

    @ddt.data('--quick', '--fas', '--release')
    def test_an_unknown_option(self, option):
        self.assertIn(option, self.refused(option))

    def test_names_need_a_stage(self):
        self.assertIn('which stage has these tests? '
                      '"tools/test unit -- test_a"',
                      self.refused('--', 'test_a'))

    @ddt.data('lint', 'packaging', 'docs')
    def test_not_every_stage_has_names(self, stage):
        self.assertIn(f'{stage} is not made of tests',
                      self.refused('unit', stage, '--', 'test_a'))
