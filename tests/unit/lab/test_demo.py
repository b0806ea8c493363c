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

"""What the demo shows, and what its witness notes for it."""

import contextlib
import io
import json
import pathlib

import fixtures
from oslotest import base

from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model
from tests.lab import demo
from tests.lab import errors
from tests.lab import witness

LIVE = {'reported_before': 7, 'reported_after': 9}
COLD = {'reported_before': 7, 'reported_after': 7, 'disk': '/copy.raw'}
SAID = """\
Image 37ac25c9-f6a2-422b-9470-b2338c7ca8f0 (demo-live) is active: qcow2
sha512 b7ee
"""


class ShownTestCase(base.BaseTestCase):

    def run_command(self, code, *words):
        """Run this code in the place of the command."""
        shown = demo.Demo.__new__(demo.Demo)
        shown.config = pathlib.Path('/nova.conf')
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            said = shown._command(*words, run_by=['-c', code])
        return said, out.getvalue()

    def test_what_was_typed_and_what_was_printed(self):
        said, shown = self.run_command(
            f'import sys\nprint({SAID!r}, end="")\nprint(*sys.argv[1:])',
            'image-create', 'a guest', 'n')
        line = 'nova-snap --config-file /nova.conf image-create'
        self.assertIn(f"/{line} 'a guest' n\n{SAID}", shown)
        self.assertEqual(
            f'{SAID}--config-file /nova.conf image-create a guest n\n', said)

    def test_a_command_that_fails_ends_it(self):
        self.assertRaises(errors.LabError, self.run_command,
                          'raise SystemExit(3)')

    def test_the_image_is_found_in_what_was_printed(self):
        self.assertEqual('37ac25c9-f6a2-422b-9470-b2338c7ca8f0',
                         demo.find_image(SAID))
        self.assertRaises(errors.LabError, demo.find_image, 'no\n')

    def test_both_moments_are_named_by_records(self):
        self.assertEqual(
            'it ends with record 8; the guest had reported 7 before the '
            'abort, 9 after it', demo.describe_moment(8, LIVE))
        self.assertEqual(
            'it ends with record 8; the guest had reported 7 when it was '
            'saved', demo.describe_moment(8, COLD))


class WitnessTestCase(base.BaseTestCase):
    """qemu-img is about to read a disk.

    :ivar events: in their order
    """

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.console = self.folder / 'console'
        self.console.write_text('REC 0\nREC 1\nREC 2\nREC 3')
        self.events = []
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.qemu_img.QemuImg.convert',
            lambda *args: self.events.append('convert')))
        self.useFixture(fixtures.MonkeyPatch(
            'tests.lab.witness.subprocess.run', self.run_program))

    def run_program(self, argv, check):
        self.assertTrue(check)
        self.events.append(argv)

    def convert(self, **notes):
        witness.watch_convert(self.console, self.folder / 'copy', notes)
        qemu_img_module.QemuImg(1, 1).convert(
            [layer_model.Layer('/srv/root', 'raw')], '/flat', None)
        return notes

    def test_a_saved_guest(self):
        notes = self.convert()
        self.assertEqual({'reported_before': 2, 'reported_after': 2,
                          'disk': str(self.folder / 'copy')}, notes)
        copy, convert = self.events
        self.assertEqual('convert', convert)
        self.assertIn('/srv/root', json.dumps(copy))

    def test_a_live_one_was_watched_at_the_abort(self):
        self.assertEqual(LIVE, self.convert(**LIVE))
        self.assertEqual(['convert'], self.events)
