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

import fcntl
import itertools
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading

import fixtures
from oslo_concurrency import lockutils
from oslotest import base

from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.host import locks as locks_module
from tests.unit import clock as unit_clock

# Another process: it holds a lock until it is asked to end, or is killed.
HOLD = """\
import sys
from nova_snap.host import locks
with locks.Locks(sys.argv[1]).instance(sys.argv[2]):
    print('held', flush=True)
    sys.stdin.readline()
"""
# The same without this package, which takes half a second to start.
HOLD_BARE = """\
import fcntl
import sys
file = open(f'{sys.argv[1]}/locks/{sys.argv[2]}', 'a')
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit('refused')
print('held', flush=True)
sys.stdin.readline()
"""


class Other(fixtures.Fixture):
    """Another process that holds an instance."""

    def __init__(self, program, journal_dir, uuid):
        super().__init__()
        bare = ('-I', '-S') if program == HOLD_BARE else ()
        self._command = (sys.executable, *bare, '-c', program, journal_dir,
                         uuid)

    def _setUp(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.addCleanup(self.kill)
        self.says = self._process.stdout.readline().decode().strip()

    def end(self):
        self._process.communicate(b'\n')

    def kill(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


class LocksTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(os.umask, os.umask(0))
        state_path = self.useFixture(fixtures.TempDir()).path
        self.journal_dir = os.path.join(state_path, 'nova_snap')
        self.folder = pathlib.Path(self.journal_dir, 'locks')
        self.clock = unit_clock.Clock()
        self.locks = self.make()

    def make(self, **options):
        return locks_module.Locks(self.journal_dir, clock=self.clock,
                                  **options)

    def other(self, program=HOLD_BARE):
        """Hold the instance as another process, if that is possible."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.useFixture(
            Other(program, self.journal_dir, 'an-instance'))

    def assert_free(self, uuid='an-instance'):
        with self.locks.instance(uuid):
            pass

    def assert_busy(self, uuid='an-instance'):
        error = self.assertRaises(errors.InstanceLocked, self.assert_free,
                                  uuid)
        self.assertIn(uuid, str(error))
        self.assertIn('its lock is not free', str(error))


class TwoProcessesTestCase(LocksTestCase):

    def test_the_second_one_is_refused_until_the_first_was_killed(self):
        other = self.other(HOLD)
        self.assertEqual('held', other.says)
        self.assert_busy()
        self.assertTrue(self.locks.is_held('an-instance'))

        other.kill()
        self.assertFalse(self.locks.is_held('an-instance'))
        self.assert_free()

    def test_another_instance_is_free(self):
        self.other()
        self.assert_free('another')

    def test_it_is_free_when_the_first_one_is_done(self):
        other = self.other()
        other.end()
        self.assertFalse(self.locks.is_held('an-instance'))
        self.assert_free()

    def test_to_look_does_not_let_it_go(self):
        # fcntl locks go when any descriptor of the file is closed: no code
        # who holds one may open it again.
        with self.locks.instance('an-instance'):
            self.assertTrue(self.locks.is_held('an-instance'))
            self.assertTrue(self.make().is_held('an-instance'))
            self.assert_busy()
            self.assertEqual('', self.other().says)

    def test_it_is_tried_until_the_time_is_over(self):
        self.other()
        started = self.clock.now
        self.locks = self.make(timeout=5)
        self.assert_busy()
        self.assertAlmostEqual(5, self.clock.now - started, delta=0.2)

    def test_a_look_does_not_stand_in_the_way(self):
        # "nova-snap status" holds it for the moment of its look.
        other = self.other()

        class Ends(unit_clock.Clock):
            def sleep(self, seconds):
                other.end()
                super().sleep(seconds)

        self.clock = Ends()
        self.locks = self.make(timeout=5)
        self.assert_free()
        self.assertEqual(1, len(self.clock.slept))


class RoomTestCase(LocksTestCase):

    def test_it_is_counted_by_one_at_a_time(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.locks.ROOM_SECONDS', 0))
        with self.locks.room():
            error = self.assertRaises(errors.JournalError,
                                      self.locks.room().__enter__)
        self.assertIn('room', str(error))
        with self.locks.room():
            pass


class TwoThreadsTestCase(LocksTestCase):

    def test_the_second_one_is_refused(self):
        refused = []

        def try_it():
            try:
                self.assert_free()
            except errors.InstanceLocked as exc:
                refused.append(exc)

        with self.locks.instance('an-instance'):
            thread = threading.Thread(target=try_it)
            thread.start()
            thread.join()
        self.assertEqual(1, len(refused))
        self.assert_free()

    def test_it_is_no_lock_of_novas_that_has_the_name(self):
        # Nova shelves an instance with this one held, and asks for it before
        # it deletes the instance, which must not wait for a snapshot.
        with lockutils.lock('an-instance'):
            self.assert_free()
        with self.locks.instance('an-instance'), \
                lockutils.lock('an-instance', blocking=False):
            pass

    def test_it_is_free_after_an_error(self):
        def fail():
            with self.locks.instance('an-instance'):
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assertFalse(self.locks.is_held('an-instance'))


class FilesTestCase(LocksTestCase):

    def mode(self, path):
        return stat.S_IMODE(path.stat().st_mode)

    def names(self):
        return os.listdir(self.folder)

    def test_no_other_user_may_lock_an_instance(self):
        with self.locks.instance('an-instance'):
            self.assertEqual(0o700, self.mode(self.folder.parent))
            self.assertEqual(0o700, self.mode(self.folder))
            self.assertEqual(0o600, self.mode(self.folder / 'an-instance'))

    def test_they_belong_to_the_owner_of_state_path(self):
        if os.geteuid() != 0:
            self.skipTest('only root can give files away')
        self.locks = self.make(owner=(4242, 4343))
        with self.locks.instance('an-instance'):
            for path in (self.folder.parent, self.folder,
                         self.folder / 'an-instance'):
                figures = path.stat()
                self.assertEqual((4242, 4343),
                                 (figures.st_uid, figures.st_gid), path)

    def test_one_has_its_owner_before_it_has_its_name(self):
        # A nova-compute that finds it must be able to open it.
        self.assert_free()
        link = os.link
        linked = []

        def see(old, new, **options):
            linked.append(os.stat(old, dir_fd=options['src_dir_fd']).st_uid)
            link(old, new, **options)

        self.useFixture(fixtures.MonkeyPatch('os.link', see))
        if os.geteuid() == 0:
            os.chown(self.folder, 4242, 4343)
        self.assert_free()
        self.assertEqual([self.folder.stat().st_uid], linked)

    def test_no_file_is_left_of_a_lock_that_is_free(self):
        self.assert_free()
        self.assertEqual([], self.names())
        self.assertFalse(self.locks.is_held('an-instance'))
        self.assertEqual([], self.names())

    def test_one_that_is_held_keeps_its_file(self):
        self.other()
        self.assertTrue(self.locks.is_held('an-instance'))
        self.locks.remove_unused()
        self.assertEqual(['an-instance'], self.names())
        self.assert_busy()

    def test_what_killed_processes_left_is_removed(self):
        self.other().kill()
        # It was killed just before it would have had its name.
        (self.folder / 'another.0123').touch()
        self.assertEqual(2, len(self.names()))
        self.locks.remove_unused()
        self.assertEqual([], self.names())

    def test_a_second_name_of_a_lock_that_we_hold_is_not_opened(self):
        # One of a process that was killed in the middle.
        self.assert_free()
        (self.folder / 'an-instance').touch()
        os.link(self.folder / 'an-instance', self.folder / 'an-instance.01')
        with self.locks.instance('an-instance'):
            self.locks.remove_unused()
            self.assertEqual(['an-instance'], self.names())
            self.assertEqual('', self.other().says)

    def test_where_no_lock_ever_was_there_is_nothing_to_remove(self):
        self.locks.remove_unused()

    def test_what_is_no_lock_file_is_left_alone(self):
        (self.folder / 'directory').mkdir(parents=True)
        self.locks.remove_unused()
        self.assertEqual(['directory'], self.names())

    def test_a_state_path_that_is_missing_is_not_made(self):
        self.locks = locks_module.Locks('/nonexistent/state/nova_snap')
        error = self.assertRaises(errors.JournalError, self.assert_free)
        self.assertIn('/nonexistent/state', str(error))
        self.assertIn('journal_dir', str(error))

    def test_a_file_that_cannot_be_opened_is_an_error(self):
        (self.folder / 'an-instance').mkdir(parents=True)
        error = self.assertRaises(errors.JournalError, self.assert_free)
        self.assertIn(str(self.folder), str(error))
        self.assertRaises(errors.JournalError, self.locks.is_held,
                          'an-instance')

    def test_what_others_make_at_the_same_moment_is_used(self):
        # Both looked and saw no directory.
        self.assert_free()
        self.useFixture(fixtures.MockPatch(
            'pathlib.Path.is_dir', autospec=True,
            side_effect=itertools.cycle((False, True))))
        self.assert_free()


class OpenedAndRemovedTestCase(LocksTestCase):
    """The holder lets go between the two calls of another process."""

    def setUp(self):
        super().setUp()
        self.assert_free()
        self.file = self.folder / 'an-instance'
        self.file.touch()

    def between(self, act):
        """Let something happen after the first look at the file."""
        lock = fcntl.lockf
        acts = [act]

        def late(file, command):
            if acts:
                acts.pop()()
            lock(file, command)

        self.useFixture(fixtures.MonkeyPatch('fcntl.lockf', late))

    def test_a_file_that_has_lost_its_name_is_no_lock(self):
        self.between(self.file.unlink)
        with self.locks.instance('an-instance'):
            # As another process sees it, by its name.
            self.assertEqual('', self.other().says)

    def test_one_that_has_its_name_now_is_held_by_another(self):
        def replace():
            self.file.unlink()
            self.other()

        self.between(replace)
        self.assert_busy()

    def test_one_that_goes_each_time_is_not_tried_for_ever(self):
        self.useFixture(fixtures.MockPatchObject(
            folder_module.Folder, 'holds', autospec=True,
            return_value=False))
        self.assert_busy()

    def test_one_that_goes_before_it_has_its_name_is_made_again(self):
        self.file.unlink()
        link = os.link
        names = []

        def late(old, new, **options):
            if not names:
                os.unlink(old, dir_fd=options['src_dir_fd'])
            names.append(new)
            link(old, new, **options)

        self.useFixture(fixtures.MonkeyPatch('os.link', late))
        self.assert_free()
        self.assertEqual(2, len(names))
