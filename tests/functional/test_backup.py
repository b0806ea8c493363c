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

"""Backup jobs of real QEMUs, read while the guest writes."""

from concurrent import futures
import dataclasses
import json
import os
import signal
import threading
import time

import ddt
import libvirt

from nova_snap import units
from tests.functional import base
from tests.functional import refusals
from tests.functional import watch
from tests.lab.guest import build as guest_build
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof
from tests.lab import records

# Bytes per second: the upload lasts some seconds.
SLOWLY = 4 * units.MiB
FILE_SYSTEM = 256 * units.MiB
RESERVE = 64 * units.MiB
# Of the ring that the guest writes its records into.
SLOTS = guest_build.RECORDS_SIZE // records.RECORD_SIZE
# Seconds in which a guest that waits for room must go on.
PAUSE_LIMIT = 2.0
LOOK_SECONDS = 0.02

DISK_XML = """<disk type='block' device='disk'>
  <driver name='qemu' type='raw' cache='none'/>
  <source dev='{}'/><target dev='vda' bus='virtio'/>
</disk>"""


class BackupTest(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.options['nova_snap']['live_method'] = 'backup'

    def take_and_prove(self, guest, **facts):
        """Take a snapshot and prove that it is of the start of the job."""
        seen, instant = base.look(guest), watch.Instant(guest)
        with watch.events(guest) as events:
            result = self.take(guest, base.Hooks(
                {'backup_job.begin': instant}), **facts)
            events.wait_for_end_of_job()
        self.assertEqual(['job canceled'], events.names)
        self.assertEqual('backup', result.plan.method)
        self.assert_guest_untouched(guest, seen)
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        image_format = result.plan.images[0].image_format
        path = self.download(image.image_id)
        proof.assert_sound(path, image_format)
        self.assertLess(instant.check(path, image_format),
                        guest.last_record())
        return result, path

    def limit(self, bandwidth=SLOWLY):
        self.options['nova_snap']['bandwidth'] = str(bandwidth)


@ddt.ddt
class GuestsTestCase(BackupTest):

    @ddt.data('qcow2', 'raw')
    def test_running_it_is_of_one_moment(self, image_format):
        result, path = self.take_and_prove(self.guest(shared=True),
                                           image_format=image_format)
        self.assertTrue(result.plan.is_streamed)
        guest_copy.assert_boots(self.lab.libvirtd, path, image_format,
                                recovered=True)

    @ddt.data('vmdk', 'vdi')
    def test_what_cannot_be_streamed_is_converted(self, image_format):
        result, _ = self.take_and_prove(self.guest(shared=True),
                                        image_format=image_format)
        self.assertFalse(result.plan.is_streamed)

    @ddt.data('raw', 'qcow2', 'qcow2-chain-of-3')
    def test_the_image_is_the_disk(self, kind):
        self.take_and_prove(self.guest(kind))

    def test_frozen_for_the_start_of_the_job(self):
        guest = self.guest(shared=True, agent='run')
        result, path = self.take_and_prove(guest, quiesce='require')
        self.assertEqual('frozen', result.consistency)
        guest_copy.assert_boots(self.lab.libvirtd, path, 'qcow2')

    def test_a_paused_guest_stays_paused(self):
        guest = self.guest(shared=True)
        guest.domain.suspend()
        try:
            seen = base.look(guest)
            result = self.take(guest)
            self.assertEqual('backup', result.plan.method)
            self.assert_guest_untouched(guest, seen)
        finally:
            guest.domain.resume()

    def test_a_transient_guest(self):
        guest = self.guest(shared=True)
        guest.domain.undefine()
        try:
            self.take_and_prove(guest)
            self.assertFalse(guest.domain.isPersistent())
        finally:
            guest.define()

    def test_a_disk_on_a_block_device_is_taken_live(self):
        guest = guest_domain.Guest.create(self.lab.libvirtd, 'raw')
        self.addCleanup(guest.remove)
        device = process.run(['losetup', '--find', '--show',
                              str(guest.spec.disk.path)]).strip()
        self.addCleanup(process.run, ['losetup', '--detach', device])
        guest.spec = dataclasses.replace(
            guest.spec, volumes=(DISK_XML.format(device),))
        guest.boot()
        self.take_and_prove(guest)

    def test_by_the_command(self):
        guest = self.guest(shared=True)
        done = self.nova_snap('image-create', guest.spec.name, 'command',
                              '--json')
        self.assertEqual(0, done.returncode, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual('backup', said['method'])
        # QEMU has made a scratch file, whatever the guest has written.
        self.assertGreater(said['scratch_bytes'], 0)
        self.assertNotIn('frozen_seconds', said)


class GuestComesFirstTestCase(BackupTest):
    """What becomes of a guest while it is read."""

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)
        self.before = base.look(self.running)

    def small_file_system(self):
        own = self.lab.libvirtd.own_file_system('backup', FILE_SYSTEM)
        self.path = own.__enter__().path
        self.addCleanup(own.__exit__, None, None, None)
        self.snapshots = self.path
        self.options['libvirt']['snapshots_directory'] = str(self.path)
        self.options['nova_snap']['space_reserve'] = str(RESERVE)

    def fill(self, left):
        """Write a file that leaves so many bytes to the others."""
        figures = os.statvfs(self.path)
        size = figures.f_bavail * figures.f_frsize - left
        with open(self.path / 'other', 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def uploading(self):
        return 'saving' in {image['status']
                            for image in self.images().values()}

    def during_the_upload(self, act):
        """Run the command, and act when it sends."""
        self.limit()
        with self.start_nova_snap('image-create', self.running.spec.name,
                                  'disturbed') as command:
            process.wait_until(self.uploading, timeout=base.COMMAND_TIMEOUT,
                               what='the upload')
            act(command)
            said = command.communicate(timeout=base.COMMAND_TIMEOUT)[1]
        return command.returncode, said

    def pauses(self, done):
        """Return for how long the guest has been paused at a time."""
        found, began = [], None
        while not done.wait(LOOK_SECONDS):
            state = self.running.domain.state()[0]
            if state == libvirt.VIR_DOMAIN_PAUSED:
                began = began or time.monotonic()
            elif began is not None:
                found.append(time.monotonic() - began)
                began = None
        return found

    def test_room_gets_short_and_the_guest_does_not_notice(self):
        self.small_file_system()
        with watch.events(self.running) as events:
            code, said = self.during_the_upload(
                lambda command: self.fill(RESERVE // 2))
            events.wait_for_end_of_job()
        self.assertEqual(['job canceled'], events.names)
        self.assertEqual(refusals.FAILED, code, said)
        self.assertIn('[nova_snap]space_reserve', said)
        self.assert_guest_untouched(self.running, self.before)
        (self.path / 'other').unlink()
        (self.path / 'lost+found').rmdir()
        self.assert_nothing_left()

    def test_room_is_gone_at_once_and_the_guest_goes_on(self):
        """No write is lost, and none is refused."""
        self.small_file_system()
        self.options['nova_snap']['space_reserve'] = '0'
        guest = self.running = guest_domain.Guest.create(self.lab.libvirtd,
                                                         'raw')
        self.addCleanup(guest.remove)
        # What it overwrites has to be kept: zeros would take no room.
        with guest.spec.disk.path.open('r+b') as disk:
            disk.seek(guest_build.RECORDS_OFFSET)
            for number in range(SLOTS):
                disk.write(records.make_record(number))
        guest.boot()
        before = base.look(guest)
        done = threading.Event()
        with futures.ThreadPoolExecutor() as pool:
            paused = pool.submit(self.pauses, done)
            code, said = self.during_the_upload(lambda command: self.fill(0))
            done.set()
        self.assertEqual(refusals.FAILED, code, said)
        self.assertIn('the guest could not write', said)
        self.assertEqual(1, len(paused.result()))
        self.assertLess(paused.result()[0], PAUSE_LIMIT)
        self.assert_guest_untouched(guest, before)
        guest.shut_down()
        self.assertLess(SLOTS, records.check_sequence(proof.read_records(
            guest.spec.disk.path, 'raw')))

    def test_the_guest_is_destroyed(self):
        guest = self.guest()
        self.running = guest
        code, said = self.during_the_upload(lambda command: guest.destroy())
        self.assertEqual(refusals.FAILED, code, said)
        self.assertIn('the guest was switched off', said)
        self.assert_nothing_left()

    def test_another_program_ends_the_job(self):
        code, said = self.during_the_upload(
            lambda command: self.running.domain.abortJob())
        self.assertEqual(refusals.FAILED, code, said)
        self.assertIn('another program has ended it', said)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()

    def test_killed_while_it_is_read(self):
        self.during_the_upload(
            lambda command: command.send_signal(signal.SIGKILL))
        self.assertIn('nova_snap-', self.running.domain.backupGetXMLDesc())
        recovered = self.nova_snap('recover')
        self.assertEqual(0, recovered.returncode, recovered.stderr)
        self.assert_nothing_left()
        self.assert_guest_untouched(self.running, self.before)

    def test_libvirtd_is_restarted_while_it_is_read(self):
        code, said = self.during_the_upload(
            lambda command: self.lab.libvirtd.restart())
        self.assertEqual(0, code, said)
        self.assert_guest_untouched(self.running, self.before)
