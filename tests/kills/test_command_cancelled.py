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

"""Ctrl-C and other signals: the guest is put back, whenever they come."""

import contextlib
import os
import pty
import signal
import subprocess
import threading

import ddt

from nova_snap import units
from tests.functional import base

CANCELLED = 130

MIRROR = 'Copying the active layer'
CONVERT = 'Writing the flat image'
UPLOAD = 'Uploading to Glance'
CANCELLING = 'nova-snap: cancelling, the guest is put back ...'
SAID_LAST = 'nova-snap: cancelled; the guest is as it was'

# Bytes per second: each phase lasts some seconds, and those before it not
# much longer.
SLOWLY = 8 * units.MiB
MORE_SLOWLY = units.MiB

ETX = b'\x03'


@ddt.ddt
class CancelledTestCase(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)
        self.before = base.look(self.running)

    def start(self, phase, *arguments):
        """Start a snapshot and wait until it is in a phase."""
        self.options['nova_snap']['bandwidth'] = str(
            MORE_SLOWLY if phase == MIRROR else SLOWLY)
        command = self.start_nova_snap(
            'image-create', self.running.spec.name, 'image', *arguments)
        self.end_at_last(command)
        read_until(command, f'{phase} ...')
        return command

    def end_at_last(self, command):
        """End a command that hangs, and one that a failed test has left."""
        timer = threading.Timer(base.COMMAND_TIMEOUT, command.kill)
        timer.start()
        self.addCleanup(timer.cancel)
        self.addCleanup(end, command)

    def assert_cancelled(self, command, *, same_process=True):
        _, err = command.communicate(timeout=base.COMMAND_TIMEOUT)
        self.assertEqual(CANCELLED, command.returncode, err)
        self.assertEqual(SAID_LAST, err.splitlines()[-1])
        self.assertNotIn('Traceback', err)
        self.assert_guest_untouched(self.running, self.before,
                                    same_process=same_process)
        self.assert_nothing_left()
        return err

    @ddt.data(
        (MIRROR, signal.SIGINT), (CONVERT, signal.SIGINT),
        (UPLOAD, signal.SIGINT), (MIRROR, signal.SIGTERM),
        (UPLOAD, signal.SIGTERM), (CONVERT, signal.SIGHUP))
    @ddt.unpack
    def test_a_live_snapshot_is_taken_back(self, phase, number):
        command = self.start(phase)
        command.send_signal(number)
        self.assertIn(CANCELLING, self.assert_cancelled(command))

    @ddt.data((CONVERT, signal.SIGINT), (UPLOAD, signal.SIGTERM))
    @ddt.unpack
    def test_a_cold_snapshot_is_taken_back(self, phase, number):
        command = self.start(phase, '--cold')
        self.assertEqual(phase == UPLOAD,
                         bool(self.running.domain.isActive()))
        command.send_signal(number)
        self.assert_cancelled(command, same_process=False)

    @ddt.data((MIRROR, ()), (CONVERT, ('--cold',)))
    @ddt.unpack
    def test_an_impatient_operator(self, phase, arguments):
        """What is being put back is put back to its end."""
        command = self.start(phase, *arguments)
        command.send_signal(signal.SIGINT)
        read_until(command, CANCELLING)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
                       signal.SIGINT):
            command.send_signal(number)
        err = self.assert_cancelled(command, same_process=not arguments)
        self.assertNotIn(CANCELLING, err)

    @ddt.data(MIRROR, CONVERT, UPLOAD)
    def test_ctrl_c_on_a_terminal(self, phase):
        """The terminal's signal is for qemu-img, too."""
        self.options['nova_snap']['bandwidth'] = str(
            MORE_SLOWLY if phase == MIRROR else SLOWLY)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        command = subprocess.Popen(
            ['setsid', '--ctty', *self.nova_snap_line(), 'image-create',
             self.running.spec.name, 'image'],
            env=base.operators_environment(), stdin=slave, stdout=slave,
            stderr=slave)
        self.end_at_last(command)
        os.close(slave)
        said = b''
        while f'\r{phase}'.encode() not in said:
            said += os.read(master, base.CHUNK)
        os.write(master, ETX)
        with contextlib.suppress(OSError):
            while piece := os.read(master, base.CHUNK):
                said += piece
        text = said.decode()
        self.assertEqual(CANCELLED, command.wait(base.COMMAND_TIMEOUT), text)
        self.assertEqual(SAID_LAST, text.splitlines()[-1])
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()

    def test_started_by_nohup(self):
        """Its terminal goes, the snapshot does not."""
        self.addCleanup(signal.signal, signal.SIGHUP,
                        signal.signal(signal.SIGHUP, signal.SIG_IGN))
        command = self.start(CONVERT)
        command.send_signal(signal.SIGHUP)
        read_until(command, f'{UPLOAD} ...')
        command.send_signal(signal.SIGHUP)
        out, err = command.communicate(timeout=base.COMMAND_TIMEOUT)
        self.assertEqual((0, ''), (command.returncode, err))
        (image_id,) = set(self.images()) - self._images_before
        self.assertIn(f'Image {image_id} (image) is active', out)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image_id)

    def test_the_next_snapshot_is_as_any(self):
        command = self.start(MIRROR)
        command.send_signal(signal.SIGINT)
        self.assert_cancelled(command)
        del self.options['nova_snap']['bandwidth']
        self.take(self.running)


def read_until(command, line):
    """Read a command's standard error up to a line."""
    for said in command.stderr:
        if said.rstrip() == line:
            return
    raise AssertionError(f'{line!r} was not said')


def end(command):
    """End a command that a failed test has left."""
    command.kill()
    command.wait()
    for stream in (command.stdout, command.stderr):
        if stream is not None:
            stream.close()
