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

"""One checkout at a time."""

import os
import pathlib

import fixtures
from oslotest import base

from tests.lab import errors
from tests.lab import process
from tests.stages import lock

OURS = pathlib.Path('/home/us/nova_snap')
THEIRS = pathlib.Path('/home/them/nova_snap')


class TakeTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.lock.TAKE_TIMEOUT', 0))

    def take(self, checkout, tool='tools/test', **facts):
        """Take the folder as another process would; return how to end."""
        descriptor = lock.take(self.folder, checkout, tool, **facts)
        self.addCleanup(self._close, descriptor)
        return descriptor

    @staticmethod
    def _close(descriptor):
        try:
            os.close(descriptor)
        except OSError:
            pass

    def leave_a_daemon(self, run_dir, pid=None):
        """Leave the pid file of this process or another one."""
        folder = self.folder / run_dir / 'libvirt'
        folder.mkdir(parents=True)
        pid = pid or os.getpid()
        (folder / 'libvirtd.pid').write_text(
            f'{pid} {process.start_ticks(pid) or 1}\n')

    def test_two_tools_of_one_checkout(self):
        self.take(OURS)
        self.take(OURS, 'tools/demo')

    def test_a_tool_of_another_checkout_is_refused(self):
        self.take(OURS)
        self.take(OURS, 'tools/demo')
        refused = self.assertRaises(errors.LabError, self.take, THEIRS)
        for words in (f'{self.folder} is in use by', str(OURS),
                      f'tools/test (process {os.getpid()})',
                      f'tools/demo (process {os.getpid()})',
                      'NOVA_SNAP_LAB'):
            self.assertIn(words, str(refused))

    def test_one_that_was_refused_changed_nothing(self):
        self.take(OURS)
        self.assertRaises(errors.LabError, self.take, THEIRS)
        self.take(OURS)

    def test_the_folder_is_free_when_the_last_has_ended(self):
        first, second = self.take(OURS), self.take(OURS)
        os.close(first)
        self.assertRaises(errors.LabError, self.take, THEIRS)
        os.close(second)
        self.take(THEIRS)
        self.assertRaises(errors.LabError, self.take, OURS)

    def test_who_has_ended_is_not_named(self):
        with open(self.folder / lock.USERS, 'w') as file:
            file.write(f'{OURS}\n0 1 tools/e2e\n')
        self.take(OURS)
        refused = self.assertRaises(errors.LabError, self.take, THEIRS)
        self.assertNotIn('tools/e2e', str(refused))

    def test_what_another_checkout_left_running_is_not_disturbed(self):
        for run_dir, tool in (('run', 'tools/demo'), ('e2e', 'tools/e2e'),
                              ('vfio', 'tools/vfio'), ('bench', 'bench/run')):
            os.close(self.take(OURS))
            self.leave_a_daemon(run_dir)
            refused = self.assertRaises(errors.LabError, self.take, THEIRS)
            self.assertIn(f'"{tool} --down"', str(refused))
            self.assertIn(f'libvirtd (process {os.getpid()})', str(refused))
            os.unlink(self.folder / run_dir / 'libvirt' / 'libvirtd.pid')

    def test_it_is_found_again_by_its_own_checkout(self):
        os.close(self.take(OURS))
        self.leave_a_daemon('run')
        self.take(OURS)

    def test_the_tool_that_ends_it_is_not_refused(self):
        os.close(self.take(OURS))
        self.leave_a_daemon('run')
        self.take(THEIRS, ends=True)

    def test_nor_is_one_where_it_has_died(self):
        os.close(self.take(OURS))
        self.leave_a_daemon('run', pid=2 ** 22 + 1)
        self.take(THEIRS)

    def test_a_child_does_not_hold_it(self):
        descriptor = self.take(OURS)
        self.assertEqual('no', process.run(
            ['python3', '-c', 'import os, sys\n'
             'try:\n    os.fstat(int(sys.argv[1]))\n    print("yes", end="")'
             '\nexcept OSError:\n    print("no", end="")', str(descriptor)]))

    def test_what_is_executed_in_our_place_holds_it(self):
        self.assertTrue(os.get_inheritable(self.take(OURS)))


class AloneTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.file = pathlib.Path(folder, 'e2e.lock')

    def test_a_second_one_is_refused(self):
        self.addCleanup(os.close, lock.take_alone(self.file, 'tools/e2e'))
        refused = self.assertRaises(errors.LabError, lock.take_alone,
                                    self.file, 'tools/e2e')
        self.assertIn('another tools/e2e runs', str(refused))

    def test_held_is_held_as_long_as_the_block(self):
        with lock.held(self.file):
            self.assertRaises(errors.LabError,
                              lock.held(self.file).__enter__)
        with lock.held(self.file):
            pass
