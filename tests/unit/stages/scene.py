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

"""A lab's folder of the test's own, and commands that are only said."""

import pathlib
import threading

import fixtures
from oslotest import base


class Commands:
    """Stands in for Processes: keeps what would be run.

    :ivar fails: words; a command line with one of them ends with 1
    :ivar does: what a command does besides, by a word of its line
    """

    def __init__(self):
        self.lines = []
        self.limits = []
        self.fails = set()
        self.does = {}
        self._lock = threading.Lock()

    def run(self, argv, log, *, limit, cwd=None, env=None,
            to_its_end=False):
        with self._lock:
            self.lines.append(' '.join(argv))
            self.limits.append(limit)
        for word, do in self.does.items():
            if word in argv:
                log.write_text(do(argv) or '')
        return int(bool(self.fails & set(argv)))

    def with_word(self, word):
        return [line for line in self.lines if word in line.split()]


class StagesTest(base.BaseTestCase):
    """A test whose lab is empty and whose commands do nothing.

    :ivar lab: the lab's folder
    """

    def setUp(self):
        super().setUp()
        self.lab = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable('NOVA_SNAP_LAB',
                                                     str(self.lab)))
        self.commands = Commands()
        self.commands.does['venv'] = self._make_venv

    @staticmethod
    def _make_venv(argv):
        """Make what "python3 -m venv" makes, as far as we look at it."""
        folder = pathlib.Path(argv[-1])
        for name in ('bin', 'lib/python3.11/site-packages'):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / 'bin' / 'python').touch()
