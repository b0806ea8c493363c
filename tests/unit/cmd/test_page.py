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

"""The page of the command has its commands and options, and no others."""

import argparse
import re

import ddt
from oslotest import base

from nova_snap.cmd import main as main_module
from tests.unit import data

EVERY = 'Options for every command'
CODES = 'Exit codes'

# These stand once, for every command.
SHARED = {'--json', '-h', '--help'}

TITLE = re.compile(r'^(\S.*)\n(?:=+|-+)$', re.MULTILINE)
OPTION = re.compile(r'(?<![\w-])--?[a-z][\w-]*')
# A line that begins with options says what they do.
TERM = re.compile(r'^``-.*$', re.MULTILINE)
SYNOPSIS = re.compile(r'^::\n\n((?: +.*\n)+)', re.MULTILINE)


def sections():
    """Return the text below each title of the page."""
    parts = TITLE.split(data.document('cli/nova-snap'))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options(parser):
    """Return all spellings of the options of a parser."""
    return {spelling for action in parser._actions
            for spelling in action.option_strings}


def arguments(parser):
    """Return the names of what is given without an option."""
    return [action.metavar for action in parser._actions
            if not action.option_strings]


def parser_of(name):
    """Return the parser of one command."""
    (action,) = [action for action in main_module.make_parser()._actions
                 if isinstance(action, argparse._SubParsersAction)]
    return action.choices[name]


def described(text):
    """Return the options that a section describes."""
    return {spelling for term in TERM.findall(text)
            for spelling in OPTION.findall(term)}


@ddt.ddt
class PageTestCase(base.BaseTestCase):

    def test_each_command_has_a_section_and_no_other_has_one(self):
        self.assertEqual(
            list(main_module.SUBCOMMANDS),
            [title for title, text in sections().items()
             if re.search(r'^    nova-snap [a-z-]+ \[', text, re.MULTILINE)])

    def test_the_options_of_every_command_are_described(self):
        self.assertEqual(
            options(main_module.make_parser()) | SHARED,
            described(sections()[EVERY]))

    @ddt.data(*main_module.SUBCOMMANDS)
    def test_its_options_are_described(self, name):
        self.assertEqual(options(parser_of(name)) - SHARED,
                         described(sections()[name]))

    @ddt.data(*main_module.SUBCOMMANDS)
    def test_its_synopsis_has_all_that_it_takes(self, name):
        parser = parser_of(name)
        synopsis = SYNOPSIS.search(sections()[name])[1]
        words = synopsis.split()
        self.assertEqual(['nova-snap', name], words[:2])
        self.assertEqual(options(parser) - {'-h', '--help'},
                         set(OPTION.findall(synopsis)))
        names = arguments(parser)
        self.assertEqual(names, words[len(words) - len(names):])

    def test_each_exit_code_is_in_the_table(self):
        self.assertEqual(
            [str(code.value) for code in main_module.ExitCode],
            re.findall(r'^(\d+) ', sections()[CODES], re.MULTILINE))
