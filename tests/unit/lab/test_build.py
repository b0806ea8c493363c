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

"""Which guests of the lab are kept."""

import os
import pathlib
import subprocess
import sys

import fixtures
from oslotest import base

from tests.lab.guest import build as guest_build
from tests.lab import place
from tests.lab import process

# Read before a test puts another in its place.
command_lines = process.command_lines

OLD = 'guest-0123456789abcdef'


class RemoveOldTestCase(base.BaseTestCase):
    """No other process runs but those that a test names.

    :ivar lab: the lab's folder
    """

    def setUp(self):
        super().setUp()
        self.lab = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable('NOVA_SNAP_LAB',
                                                     str(self.lab)))
        self.proc = self.lab / 'proc'
        self.useFixture(fixtures.MonkeyPatch(
            'tests.lab.process.command_lines',
            lambda: command_lines(self.proc)))
        self.make(OLD)
        self.make(guest_build.lab_folder().name)

    def make(self, name):
        (self.lab / name).mkdir()
        (self.lab / name / 'vmlinuz').write_text('')

    def run_process(self, *words):
        (self.proc / '17').mkdir(parents=True)
        (self.proc / '17' / 'cmdline').write_text('\0'.join(words))

    def left(self):
        removed = guest_build.remove_old()
        left = {path.name for path in self.lab.glob('guest-*')}
        self.assertFalse(left & {path.name for path in removed})
        return left - {guest_build.lab_folder().name}

    def test_that_of_these_sources_stays(self):
        self.assertEqual([self.lab / OLD], guest_build.remove_old())
        self.assertEqual([], guest_build.remove_old())
        self.assertTrue((guest_build.lab_folder() / 'vmlinuz').exists())

    def test_that_of_a_guest_that_runs_stays(self):
        self.run_process('qemu-system-x86_64', '-kernel',
                         str(self.lab / OLD / 'vmlinuz'))
        self.assertEqual({OLD}, self.left())

    def test_one_of_a_like_name_is_another(self):
        self.run_process('qemu-system-x86_64', '-kernel',
                         str(self.lab / f'{OLD}1' / 'vmlinuz'))
        self.assertEqual(set(), self.left())

    def test_all_stay_while_a_lab_runs(self):
        self.run_process('libvirtd', '--pid-file',
                         f'/srv/run/libvirt/{place.PID_FILE}')
        self.assertEqual({OLD}, self.left())

    def test_what_is_being_built_stays(self):
        self.make(f'{OLD}.{os.getpid()}')
        self.assertEqual({f'{OLD}.{os.getpid()}'}, self.left())

    def test_what_was_never_finished_goes(self):
        ended = subprocess.Popen([sys.executable, '-c', ''])
        ended.wait()
        self.make(f'{guest_build.lab_folder().name}.{ended.pid}')
        self.assertEqual(set(), self.left())

    def test_nothing_else_is_touched(self):
        for name in ('run', 'venv', 'guests'):
            self.make(name)
        guest_build.remove_old()
        self.assertEqual({'run', 'venv', 'guests'},
                         {path.name for path in self.lab.iterdir()}
                         - {guest_build.lab_folder().name})


class CommandLinesTestCase(base.BaseTestCase):

    def test_ours_is_among_them(self):
        self.assertIn(sys.executable.rpartition('/')[2],
                      process.command_lines()[os.getpid()])
