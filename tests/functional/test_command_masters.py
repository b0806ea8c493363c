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

"""More than one master: another user, and Nova itself."""

import contextlib
import json
import os
import pwd
import subprocess
import sys

from tests.functional import base
from tests.functional import kills
from tests.lab.guest import domain as guest_domain
from tests.lab import place
from tests.lab import process

DONE, FAILED, USAGE, REFUSED, LEFT = range(5)

# Everybody's: no account has to be made for the test.
USER = 'nobody'

SAVED = 'libvirt managedSave'
MIRROR = 'write UndefineDomain undone'

PATIENCE = 60


class OtherUserTestCase(kills.KillTest):
    """root and another user, in turn; state_path is the other's.

    As on a node where nova-compute runs as nova.
    """

    def setUp(self):
        super().setUp()
        self.user = pwd.getpwnam(USER)
        self.running = self.guest(shared=True)
        self.before = base.look(self.running)
        for path in (self.folder / 'state', self.snapshots):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
        self.copy = self._readable_copy()
        self._open_socket()
        self.arguments = ('image-create', self.running.spec.name, 'image')

    def _open_socket(self):
        """Let everybody speak to libvirt, as the group libvirt may."""
        socket = self.lab.libvirtd.folder / 'run' / 'libvirt-sock'
        mode = socket.stat().st_mode
        socket.chmod(0o777)
        self.addCleanup(socket.chmod, mode)

    def _readable_copy(self):
        """Copy the product to where the other user can read it.

        The checkout may lie in the home of its owner.
        """
        process.run(['cp', '--recursive', '--no-preserve=mode',
                     str(place.CHECKOUT / 'nova_snap'), str(self.folder)])
        return self.folder

    def user_command(self, *arguments):
        """Return the real command, as the other user gives it."""
        return ['setpriv', f'--reuid={self.user.pw_uid}',
                f'--regid={self.user.pw_gid}', '--clear-groups',
                'env', f'PYTHONPATH={self.copy}',
                *self.nova_snap_line(), *arguments]

    def as_user(self, *arguments):
        """Run the real command as the other user."""
        return subprocess.run(
            self.user_command(*arguments), text=True, capture_output=True,
            timeout=base.COMMAND_TIMEOUT, cwd='/')

    def assert_all_is_theirs(self):
        for path in (self.journal, *self.journal.rglob('*')):
            figures = path.stat()
            self.assertEqual(
                (self.user.pw_uid, self.user.pw_gid),
                (figures.st_uid, figures.st_gid), path)
            self.assertEqual(0, figures.st_mode & 0o077, path)

    def assert_done(self, ended):
        self.assertEqual(DONE, ended.returncode, ended.stdout + ended.stderr)
        return ended.stdout

    def test_root_then_the_user_then_root(self):
        self.assertEqual(DONE, self.child(*self.arguments).code)
        self.assert_all_is_theirs()
        self.assertIn('nothing was left',
                      self.assert_done(self.as_user('status')))
        self.assert_done(self.as_user('check'))
        self.assert_done(self.as_user(*self.arguments))
        self.assert_all_is_theirs()
        self.assertEqual(DONE, self.child(*self.arguments).code)
        self.assert_guest_untouched(self.running, self.before)

    def test_the_user_settles_what_root_left(self):
        events = self.dry_pass(*self.arguments)
        for after in (MIRROR, 'QemuImg.convert', 'write committed'):
            with self.saying(after):
                self.kill(*self.arguments, before=events.index(after) + 1)
                self.assert_all_is_theirs()
                self.assertIn('settled',
                              self.assert_done(self.as_user('recover')))
                self.assert_whole(self.running, self.before,
                                  committed=after == 'write committed')

    def test_root_settles_what_the_user_left(self):
        self.limit(base.CHUNK)
        with subprocess.Popen(
                self.user_command(*self.arguments), text=True, cwd='/',
                stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
            self.assertIn('Copying', command.stderr.readline())
            self.assertEqual(['under way'],
                             [left['outcome'] for left in self.left()])
            self.assertEqual(REFUSED, self.child(*self.arguments).code)
            command.kill()
        self.recover('settled')
        self.assert_whole(self.running, self.before, committed=False)

    def test_a_user_who_may_not(self):
        """Nothing is empty that cannot be read."""
        self.assertEqual(DONE, self.child(*self.arguments).code)
        os.chown(self.journal, 0, 0)
        for command in ('status', 'recover'):
            ended = self.as_user(command)
            self.assertEqual(FAILED, ended.returncode, ended.stdout)
            self.assertIn('Permission denied', ended.stderr)
            self.assertNotIn('Traceback', ended.stderr)

    def test_a_disk_that_the_user_may_not_read(self):
        disk = self.running.spec.disk.path
        mode = disk.stat().st_mode
        disk.chmod(0o600)
        self.addCleanup(disk.chmod, mode)
        ended = self.as_user(*self.arguments)
        self.assertEqual(REFUSED, ended.returncode, ended.stderr)
        for words in (f'The disk {disk} cannot be read', 'Permission denied',
                      'Run as root'):
            self.assertIn(words, ended.stderr)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()


class NovaTestCase(kills.KillTest):
    """A guest of Nova's, on a node where a nova-compute runs."""

    COLD = True

    def setUp(self):
        super().setUp()
        self.novas = self.guest(shared=True,
                                nova=guest_domain.NovaMetadata())
        self.before = base.look(self.novas)
        self.arguments = ('image-create', self.novas.spec.name, 'image')

    @contextlib.contextmanager
    def nova_compute(self):
        """Run a program of that name, which sleeps."""
        program = self.folder / 'nova-compute'
        program.write_text('import sys\nsys.stdin.read()\n')
        with subprocess.Popen([sys.executable, str(program)],
                              stdin=subprocess.PIPE) as compute:
            process.wait_until(
                lambda: str(program) in kills.PROC.joinpath(
                    str(compute.pid), 'cmdline').read_text(),
                timeout=PATIENCE, what='nova-compute')
            try:
                yield
            finally:
                compute.kill()

    def test_live_is_done_with_a_warning(self):
        with self.nova_compute():
            ended = self.child(*self.arguments)
        self.assertEqual(DONE, ended.code, ended.stderr)
        self.assertIn('belongs to Nova, which does not see this operation',
                      ended.stderr)
        self.assert_guest_untouched(self.novas, self.before)

    def test_live_without_nova_is_done_without(self):
        ended = self.child(*self.arguments)
        self.assertEqual(DONE, ended.code, ended.stderr)
        self.assertNotIn('Nova', ended.stderr)

    def test_cold_is_refused(self):
        with self.nova_compute():
            ended = self.child(*self.arguments, '--cold')
        self.assertEqual(REFUSED, ended.code)
        for words in ('belongs to Nova', 'nova-compute',
                      '"openstack server image create '
                      f'{self.novas.spec.uuid}"',
                      '--nova-is-stopped'):
            self.assertIn(words, ended.stderr)
        self.assert_guest_untouched(self.novas, self.before)
        self.assert_nothing_left()

    def test_cold_is_done_when_nova_is_said_to_be_stopped(self):
        with self.nova_compute():
            ended = self.child(*self.arguments, '--cold',
                               '--nova-is-stopped')
        self.assertEqual(DONE, ended.code, ended.stderr)
        self.assert_guest_untouched(self.novas, self.before,
                                    same_process=False)

    def test_recovery_does_not_start_it(self):
        cold = (*self.arguments, '--cold')
        events = self.dry_pass(*cold)
        self.kill(*cold, before=events.index(SAVED) + 1)
        with self.nova_compute():
            ended = self.child('recover')
            self.assertEqual(LEFT, ended.code)
            for words in ('belongs to Nova', 'it is not started',
                          '--nova-is-stopped'):
                self.assertIn(words, ended.stderr)
            self.assertFalse(self.novas.domain.isActive())
            self.assertTrue(self.novas.domain.hasManagedSaveImage())
            self.assertEqual(['left'], [f['outcome'] for f in self.left()])
            ended = self.child('recover', '--nova-is-stopped', '--json')
            self.assertEqual('settled', json.loads(ended.stdout)[0]['outcome'])
        self.assert_whole(self.novas, self.before, committed=False)
