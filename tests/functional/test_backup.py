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
import pwd
import re
import signal
import stat
import time

import ddt
import fixtures
import libvirt

from nova_snap import errors
from nova_snap.services import sessions
from nova_snap import units
from tests.functional import base
from tests.functional import refusals
from tests.functional import watch
from tests.lab.guest import build as guest_build
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof
from tests.lab import proxy
from tests.lab import records

# Bytes per second: the upload lasts some seconds.
SLOWLY = 8 * units.MiB
FILE_SYSTEM = 256 * units.MiB
RESERVE = 64 * units.MiB
# Bytes above it that are free when the job begins: the guest overwrites more.
ABOVE = 4 * units.MiB
# Of the ring that the guest writes its records into.
SLOTS = guest_build.RECORDS_SIZE // records.RECORD_SIZE
# Seconds in which a guest that waits for room must go on, and in which any
# write is done on a loaded machine.
PAUSE_LIMIT = 1.0
WRITE_LIMIT = 2.0

# As libvirt tells it.
QEMU_9 = 9_000_000
# What a guest says of its load: writes, and microseconds of the longest.
LOAD = re.compile(r'^LOAD \d+ (\d+) (\d+)\r?$', re.MULTILINE)
# Seconds in which a guest's writes are counted, and until a Glance that hangs
# is given up: that is after the count.
PACE_SECONDS = 3
HANG_SECONDS = 8

FILE_XML = """<disk type='file' device='disk'>
  <driver name='qemu' type='raw' cache='none'/>
  <source file='{}'/><target dev='vdz' bus='virtio'/>
</disk>"""
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
            result = self.take(guest, base.Hooks({
                'backup_job.begin': instant,
                'images.upload': self.look_at_scratch}), **facts)
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

    def look_at_scratch(self, call, *_):
        """See that none but QEMU can read what the guest overwrites."""
        (scratch,) = self.snapshots.rglob('scratch-vda.qcow2')
        found = scratch.stat()
        self.assertEqual(0o600, stat.S_IMODE(found.st_mode))
        self.assertEqual(pwd.getpwuid(found.st_uid).pw_name, base.QEMU_USER)
        return call()

    def limit(self, bandwidth=SLOWLY):
        self.options['nova_snap']['bandwidth'] = str(bandwidth)


@ddt.ddt
class GuestsTestCase(BackupTest):

    @ddt.data('qcow2', 'raw')
    def test_running_it_is_of_one_moment(self, image_format):
        guest = self.guest(shared=True)
        result, path = self.take_and_prove(guest, image_format=image_format)
        self.assertTrue(result.plan.is_streamed)
        guest_copy.assert_boots(self.lab.libvirtd, path, image_format,
                                recovered=True)

    @ddt.data('vmdk', 'vdi')
    def test_what_cannot_be_streamed_is_converted(self, image_format):
        result, _ = self.take_and_prove(self.guest(shared=True),
                                        image_format=image_format)
        self.assertFalse(result.plan.is_streamed)

    def test_what_is_compressed_is_converted(self):
        self.options['libvirt']['snapshot_compression'] = 'true'
        self.options['nova_snap']['compression_type'] = 'zstd'
        result, path = self.take_and_prove(self.guest(shared=True))
        self.assertFalse(result.plan.is_streamed)
        self.assertGreater(proof.compressed_clusters(path), 0)

    @ddt.data('raw', 'qcow2', 'qcow2-chain-of-3')
    def test_the_image_is_the_disk(self, kind):
        self.take_and_prove(self.guest(kind))

    def test_frozen_for_the_start_of_the_job(self):
        """Its load goes past the file systems, and so on while frozen."""
        guest = self.guest(shared=True, agent='run', load=guest_disk.LOAD)
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

    def test_a_disk_with_an_iothread(self):
        """A QEMU before 9.0 crashes with its guest when that was read."""
        guest = self.guest(iothread=True)
        seen = base.look(guest)
        self.assertIn("iothread='1'", guest.domain.XMLDesc())
        if self.lab.libvirtd.connect().getVersion() >= QEMU_9:
            self.take_and_prove(guest)
            return
        error = self.assertRaises(errors.Unsupported, self.take, guest)
        self.assertIn('a disk with an iothread (vda)', str(error))
        self.options['nova_snap']['live_method'] = 'auto'
        self.assertEqual('live', self.take(guest).plan.method)
        self.assert_guest_untouched(guest, seen)

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
    """What becomes of a guest that writes a lot while it is read."""

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True, load=guest_disk.LOAD)
        self.before = base.look(self.running)

    def small_file_system(self):
        self.path = self.file_system('backup', FILE_SYSTEM).path
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

    def test_room_gets_short_and_the_guest_does_not_notice(self):
        """What takes the room is what the guest itself overwrites."""
        self.small_file_system()
        self.fill(RESERVE + ABOVE)
        with watch.events(self.running) as events:
            code, said = self.during_the_upload(lambda command: None)
            events.wait_for_end_of_job()
        self.assertEqual(['job canceled'], events.names)
        self.assertEqual(refusals.FAILED, code, said)
        self.assertIn('[nova_snap]space_reserve', said)
        self.assertNotIn('GUEST load failed', self.running.console())
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
        with watch.events(guest) as events:
            code, said = self.during_the_upload(lambda command: self.fill(0))
            events.wait_for_end_of_job()
        self.assertEqual(refusals.FAILED, code, said)
        self.assertIn('the guest could not write', said)
        self.assertEqual(['job canceled', 'resumed', 'suspended'],
                         sorted(events.names))
        self.assertLess(events.time('resumed') - events.time('suspended'),
                        PAUSE_LIMIT)
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

    def in_the_upload(self, **fault):
        """Let something happen when Glance has got a part of the image."""
        self.between = proxy.Proxy(self.lab.glance.endpoint)
        self.addCleanup(self.between.stop)
        self.options['nova_snap']['endpoint'] = self.between.endpoint
        return self.between.inject(proxy.Fault('PUT', proxy.FILE, **fault))

    def attach_and_detach(self):
        process.run(['qemu-img', 'create', '-f', 'raw',
                     str(self.folder / 'disk'), str(units.MiB)])
        xml = FILE_XML.format(self.folder / 'disk')
        domain = self.running.domain
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        self.assertIn("<target dev='vdz'", domain.XMLDesc())
        domain.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        process.wait_until(lambda: "<target dev='vdz'" not in
                           domain.XMLDesc(), timeout=base.COMMAND_TIMEOUT,
                           what='the guest to release the disk')

    def boot_again(self, how):
        since = len(self.running.console())
        how(self.running.domain)
        self.running.wait_for('^GUEST boot ', since=since)
        self.assertTrue(self.running.is_writing())

    def test_what_is_done_to_the_guest_while_it_is_read(self):
        """libvirt lets all this be done while it holds the job's lock."""
        acts = [self.attach_and_detach,
                lambda: self.boot_again(lambda domain: domain.reset()),
                lambda: self.boot_again(lambda domain: domain.reboot())]
        done = []

        def act():
            # A test that fails in the proxy's thread is not heard.
            self.assertIn('nova_snap-',
                          self.running.domain.backupGetXMLDesc())
            done.extend(one() for one in acts)

        self.in_the_upload(call=act, call_after=units.MiB)
        instant = watch.Instant(self.running)
        result = self.take(self.running,
                           base.Hooks({'backup_job.begin': instant}))
        self.assertEqual(len(acts), len(done))
        self.assert_guest_untouched(self.running, dataclasses.replace(
            self.before, boots=self.before.boots + 2))
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        instant.check(self.download(image.image_id), 'qcow2')

    def pace(self):
        """Return writes a second of the guest's load, and the longest."""
        since = len(self.running.console())
        time.sleep(PACE_SECONDS)
        found = LOAD.findall(self.running.console()[since:])
        return (sum(int(writes) for writes, _ in found) / PACE_SECONDS,
                max(int(longest) for _, longest in found) / 1e6)

    def time_of_a_pause(self):
        """Pause the guest, which QEMU does when its disk is at rest."""
        began = time.monotonic()
        self.running.domain.suspend()
        self.running.domain.resume()
        return time.monotonic() - began

    def be_impatient(self):
        """Give a Glance up that is silent until the writes are counted."""
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.services.sessions.Timeouts.at_least',
            lambda timeouts, seconds: sessions.Timeouts(
                stall=HANG_SECONDS, settle=PACE_SECONDS, let_go=0)))

    def test_a_glance_that_hangs_does_not_slow_the_guest(self):
        self.be_impatient()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.flows.upload.MORE_IMAGES', 0))
        self.options['glance'] = {'num_retries': '0'}
        fault = self.in_the_upload(hang_after=units.MiB)
        alone, _ = self.pace()
        with futures.ThreadPoolExecutor() as pool, \
                watch.events(self.running) as events:
            taken = pool.submit(self.take, self.running)
            self.assertTrue(fault.happened.wait(base.COMMAND_TIMEOUT))
            then, longest = self.pace()
            self.assertIn('nova_snap-',
                          self.running.domain.backupGetXMLDesc())
            paused = self.time_of_a_pause()
            self.assertRaises(errors.ImageServiceError, taken.result)
            events.wait_for_end_of_job()
        self.assertLess(longest, WRITE_LIMIT)
        self.assertLess(paused, WRITE_LIMIT)
        self.assertLess(alone / 2, then)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()

    def test_nor_does_one_that_is_slow(self):
        alone, _ = self.pace()
        slow = []
        self.in_the_upload(call=lambda: slow.append(self.pace()),
                           call_after=units.MiB)
        instant = watch.Instant(self.running)
        result = self.take(self.running,
                           base.Hooks({'backup_job.begin': instant}))
        ((then, longest),) = slow
        self.assertLess(longest, WRITE_LIMIT)
        self.assertLess(alone / 2, then)
        self.assert_guest_untouched(self.running, self.before)
        (image,) = result.images
        instant.check(self.download(image.image_id), 'qcow2')

    def test_nor_does_one_that_dies(self):
        self.be_impatient()
        fault = self.in_the_upload(drop_after=units.MiB)
        fault.call = self.between.refuse
        alone, _ = self.pace()
        with futures.ThreadPoolExecutor() as pool:
            taken = pool.submit(self.take, self.running)
            self.assertTrue(fault.happened.wait(base.COMMAND_TIMEOUT))
            then, longest = self.pace()
            # Nor can it be asked to delete what it has got.
            self.assertRaises(errors.RollbackIncomplete, taken.result)
        self.assertLess(longest, WRITE_LIMIT)
        self.assertLess(alone / 2, then)
        self.assert_guest_untouched(self.running, self.before)
        self.between.clear()
        recovered = self.nova_snap('recover')
        self.assertEqual(0, recovered.returncode, recovered.stderr)
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
