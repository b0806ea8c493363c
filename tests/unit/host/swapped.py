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

"""A user whose directories root works in, and who swaps names in them."""

import os
import pathlib

import fixtures
from oslotest import base

NOVA = (4242, 4343)
ROOT = (0, 0)
WORDS = 'of root'


class SwappedTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest('only root can give files away')
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.state_path = self.folder / 'nova'
        self.state_path.mkdir()
        os.chown(self.state_path, *NOVA)
        # What belongs to root: a directory with a file.
        self.roots = self.folder / 'root'
        self.roots.mkdir(0o750)
        self.file = self.roots / 'secret'
        self.file.write_text(WORDS)
        self.file.chmod(0o640)
        self.addCleanup(self.check)

    def check(self):
        """Compare what is outside with what it was."""
        for path, mode in ((self.roots, 0o40750), (self.file, 0o100640)):
            figures = path.lstat()
            self.assertEqual(ROOT, (figures.st_uid, figures.st_gid), path)
            self.assertEqual(mode, figures.st_mode, path)
        self.assertEqual(WORDS, self.file.read_text())

    def after(self, call, act, *, of=''):
        """Let Nova's user act after our first call of a function of os.

        :param of: what the last part of the path that it gets contains
        """
        real = getattr(os, call)
        acts = [act]

        def called(first, *args, **options):
            result = real(first, *args, **options)
            if acts and of in os.path.basename(str(first)):
                acts.pop()()
            return result

        self.useFixture(fixtures.MonkeyPatch(f'os.{call}', called))
        self.addCleanup(lambda: self.assertEqual([], acts, 'was not called'))

    def swap(self, path, by=None):
        """Put a link in the place of what is there.

        :param by: what it leads to
        """
        aside = path.with_name(f'{path.name}-aside')
        path.rename(aside)
        path.symlink_to(by or self.roots)
