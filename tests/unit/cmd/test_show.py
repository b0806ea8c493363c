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

import contextlib
import enum
import io
import json
import os
import socket

import ddt
import fixtures
from oslotest import base

from nova_snap.cmd import show
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model import phase as phase_model
from nova_snap.model.plan import plan as plan_model
from nova_snap import units

Phase = phase_model.Phase


class Mood(enum.Enum):
    GOOD = 'good'


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ProgressTestCase(base.BaseTestCase):
    """What is shown, moment by moment.

    :ivar now: seconds on the clock
    """

    def setUp(self):
        super().setUp()
        self.now = 1000.0
        self.useFixture(fixtures.MonkeyPatch('time.monotonic',
                                             lambda: self.now))

    def show(self, stream, *steps, quiet=False):
        """Show phases, with half a second between any two looks."""
        progress = show.Progress(quiet=quiet, stream=stream)
        begun = []
        for phase, done, total in steps:
            if phase not in begun:
                progress.begins(phase)
                begun.append(phase)
            progress.advances(done, total)
            self.now += 0.5
        progress.end()
        return stream.getvalue()


UPLOAD = [('upload', done * units.MiB, 4 * units.MiB) for done in range(5)]


@ddt.ddt
class NarrowTestCase(ProgressTestCase):
    """A terminal whose lines are short."""

    @ddt.data(10, 40, 60, 80, 200)
    def test_no_look_is_longer_than_a_line(self, columns):
        self.useFixture(fixtures.MonkeyPatch(
            'os.get_terminal_size',
            lambda number: os.terminal_size((columns, 24))))
        stream = Terminal()
        stream.fileno = lambda: 2
        shown = self.show(stream, *UPLOAD)
        looks = shown.rstrip('\n').split('\r')[1:]
        self.assertEqual(len(UPLOAD) + 1, len(looks))
        for look in looks:
            self.assertLess(len(look), columns)
            self.assertTrue('Uploading to Glance'.startswith(look[:19]))

    def test_of_40_columns_it_says_how_far_it_is(self):
        self.useFixture(fixtures.MonkeyPatch(
            'os.get_terminal_size',
            lambda number: os.terminal_size((40, 24))))
        stream = Terminal()
        stream.fileno = lambda: 2
        self.assertIn('\rUploading to Glance  25% of 4.0 MiB',
                      self.show(stream, *UPLOAD))


class TerminalTestCase(ProgressTestCase):

    def lines(self, text):
        *lines, rest = text.split('\n')
        self.assertEqual('', rest)
        return [line.split('\r')[1:] for line in lines]

    def test_a_bar_grows(self):
        [line] = self.lines(self.show(Terminal(), *UPLOAD))
        self.assertEqual([f'{share}%' for share in (0, 25, 50, 75, 100)],
                         [shown.split(']')[1].split()[0]
                          for shown in line[:5]])
        bars = [shown.count('#') for shown in line]
        self.assertEqual(sorted(bars), bars)
        self.assertEqual((0, show.BAR_WIDTH), (bars[0], bars[-1]))
        for shown in line:
            self.assertTrue(shown.startswith('Uploading to Glance'))
            self.assertIn('of 4.0 MiB', shown)

    def test_each_phase_has_a_line_that_ends_where_it_ended(self):
        # The last look is shown, though it came at once after another.
        stream = Terminal()
        progress = show.Progress(quiet=False, stream=stream)
        progress.begins(Phase.MIRROR)
        progress.advances(10, 100)
        progress.advances(100, 100)
        progress.begins(Phase.CONVERT)
        progress.advances(1, 100)
        progress.end()
        mirror, convert = self.lines(stream.getvalue())
        self.assertIn('100%', mirror[-1])
        self.assertTrue(mirror[-1].startswith('Copying the active layer'))
        self.assertTrue(convert[-1].startswith('Writing the flat image'))

    def test_it_is_not_redrawn_all_the_time(self):
        stream = Terminal()
        progress = show.Progress(quiet=False, stream=stream)
        progress.begins(Phase.UPLOAD)
        for done in range(1000):
            progress.advances(done, 1000)
        self.assertEqual(1, stream.getvalue().count('\r'))

    def test_a_bar_does_not_pass_its_end(self):
        text = self.show(Terminal(), ('convert', 300, 100))
        self.assertIn('100%', text)
        self.assertNotIn('300%', text)

    def test_of_nothing_all_is_done(self):
        self.assertIn('100% of 0 bytes',
                      self.show(Terminal(), ('upload', 0, 0)))

    def test_without_a_phase_nothing_is_shown(self):
        self.assertEqual('', self.show(Terminal()))

    def test_nothing_is_shown_to_who_does_not_ask(self):
        self.assertEqual('', self.show(Terminal(), *UPLOAD, quiet=True))


class FileTestCase(ProgressTestCase):

    def test_each_phase_is_a_line(self):
        text = self.show(io.StringIO(), ('mirror', 0, 10),
                         ('mirror', 10, 10), *UPLOAD)
        self.assertEqual('Copying the active layer ...\n'
                         'Uploading to Glance ...\n', text)

    def test_each_phase_has_words_of_its_own(self):
        self.assertEqual(set(Phase), set(show.PHASES))
        self.assertEqual(len(Phase), len(set(show.PHASES.values())))

    def test_nothing_is_shown_to_who_does_not_ask(self):
        self.assertEqual('', self.show(io.StringIO(), *UPLOAD, quiet=True))


@ddt.ddt
class OutputTestCase(base.BaseTestCase):

    def printed(self, call, *values):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            call(*values)
        return out.getvalue()

    @ddt.named_data(
        ['words and numbers', {'a': [1, 'b', None, True]},
         {'a': [1, 'b', None, True]}],
        ['a word of ours', [plan_model.Method.LIVE,
                            domain_model.State.SHUTOFF],
         ['live', 'shut off']],
        ['a word of others', [socket.AF_UNIX], [int(socket.AF_UNIX)]],
        ['a word that is neither', [Mood.GOOD], ['good']],
        ['a value of ours',
         layer_model.Layer('/srv/x', 'raw', layer_model.Storage.BLOCK),
         {'path': '/srv/x', 'format': 'raw', 'storage': 'block',
          'ceph': None}],
        ['something else', {'where': Terminal}, {'where': str(Terminal)}],
    )
    def test_a_program_reads(self, value, expected):
        self.assertEqual(expected,
                         json.loads(self.printed(show.as_json, value)))

    def test_columns_are_under_their_headings(self):
        text = self.printed(
            show.table, ('NAME', 'STATE'),
            [('a', 'running'), ('longer name', 'off')])
        self.assertEqual('NAME         STATE\n'
                         'a            running\n'
                         'longer name  off\n', text)
