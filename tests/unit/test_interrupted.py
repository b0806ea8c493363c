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

"""What holds descriptors, ended by a signal at any point."""

import contextlib
import os
import pathlib
import sys

import ddt
import fixtures
from oslotest import base

from nova_snap import folder as folder_module
from nova_snap import lookup


class Interrupted(Exception):
    """As a signal handler raises it, anywhere."""


@contextlib.contextmanager
def interrupted_at(number, file):
    """Raise in the block at a line of a file, counted from 0."""
    count = iter(range(number, -1, -1))

    def trace(frame, event, argument):
        if frame.f_code.co_filename != file:
            return None
        if event == 'line' and not next(count, 1):
            raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@ddt.ddt
class InterruptedTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        pathlib.Path(self.folder, 'disk').write_text('data')
        pathlib.Path(self.folder, 'link').symlink_to('disk')

    def _find(self):
        for name in ('disk', 'link'):
            with lookup.found(os.path.join(self.folder, name)):
                pass

    def _open(self):
        with lookup.opened(os.path.join(self.folder, 'disk')):
            pass

    def _lend(self):
        with lookup.for_another_program(os.path.join(self.folder, 'disk')):
            pass

    def _keep(self):
        with folder_module.opened(self.folder) as opened:
            os.close(opened.open('disk', os.O_RDONLY))
            opened.chown('disk', os.geteuid())

    @ddt.data(('_find', lookup), ('_open', lookup), ('_lend', lookup),
              ('_keep', folder_module))
    @ddt.unpack
    def test_no_descriptor_is_closed_twice(self, act, module):
        """The signal is what is heard, and not that of a closed file."""
        ends = []
        while not ends or ends[-1] is Interrupted:
            try:
                with interrupted_at(len(ends), module.__file__):
                    getattr(self, act)()
                # There was no such line.
                ends.append(None)
            except Exception as exc:
                ends.append(type(exc))
        self.assertIsNone(ends[-1], ends[-1])
        self.assertGreater(len(ends), 5)
