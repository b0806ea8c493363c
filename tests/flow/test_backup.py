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

"""A guest whose disk a backup job holds while it is read."""

import os

import ddt
import fixtures

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model.plan import plan as plan_model
from nova_snap import units
from tests.fakes import calls as fake_calls
from tests.flow import scene as flow_scene

# Of the calls that are looked at, those that the order of the flow is about.
# What is created is the record of the image, then the scratch file.
ORDER = ('create', 'make_scratch', 'create', 'make_lent', 'fsFreeze',
         'backupBegin', 'fsThaw', 'extents', 'upload', 'abortJob',
         'take_back', 'remove_scratch')
SCRATCH = 'create scratch-vda.qcow2 -'
DAC = ("<seclabel type='dynamic' model='dac'><label>+64055:+64056</label>"
       '</seclabel>')


class BackupTest(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.set(live_method='backup')
        self.fake.guest.create()


@ddt.ddt
class OrderTestCase(BackupTest):

    def test_the_guest_is_frozen_for_the_start_of_the_job_alone(self):
        before = self.state()
        process = self.fake.process()
        result = self.take(process, quiesce='require')
        names = [call.name for call in process.calls.made]
        self.assertEqual(
            list(ORDER), [name for name in names if name in ORDER])
        self.assertEqual('frozen', result.consistency)
        self.assertIsNotNone(result.frozen_seconds)
        self.assertIsNotNone(result.scratch_bytes)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_the_guest_is_never_undefined_and_nothing_is_converted(self):
        process = self.fake.process()
        self.take(process)
        self.assertEqual(set(), process.calls.names() & {
            'undefineFlags', 'defineXML', 'blockRebase', 'blockCopy',
            'convert'})
        self.assertEqual([SCRATCH], process.calls.of('qemu-img'))
        self.assert_all_or_nothing()

    def test_qemu_may_write_into_the_scratch_file(self):
        guest = self.fake.guest
        guest.live = guest.live.replace('</domain>', DAC + '</domain>')
        os.chmod(self.fake.folder, 0o711)
        lent = []
        for name in ('lend', 'make_lent'):
            # Only root gives a file to another user.
            self.useFixture(fixtures.MonkeyPatch(
                f'nova_snap.host.files.Files.{name}',
                lambda files, path, uid: (
                    lent.append((os.path.basename(path), uid)),
                    os.path.exists(path) or os.mkdir(path))))
        self.take()
        self.assertEqual([('scratch-vda.qcow2', 64055), ('qemu', 64055)],
                         lent)

    def test_what_the_guest_writes_while_it_is_read_is_not_in_the_image(self):
        process = self.fake.process()
        # As it is read: long after the job has begun.
        process.calls.then('extents', self.fake.libvirtd.live_on)
        self.take(process)
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        self.assertNotEqual(moment.content, self.fake.guest.content())

    @ddt.data('qcow2', 'raw')
    def test_what_can_be_laid_out_is_no_file(self, image_format):
        process = self.fake.process()
        result = self.take(process, image_format=image_format)
        self.assertTrue(result.plan.is_streamed)
        self.assertEqual(image_format, self.image().format)
        self.assert_all_or_nothing()

    @ddt.data('vmdk', 'vdi')
    def test_another_format_is_converted_from_the_job(self, image_format):
        before = self.state()
        process = self.fake.process()
        self.take(process, image_format=image_format)
        self.assertEqual(
            [SCRATCH, f'convert nbd:vda:raw image-vda:{image_format}'],
            process.calls.of('qemu-img'))
        self.assertEqual(image_format, self.image().format)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_what_is_compressed_is_converted_from_the_job(self):
        self.fake.set(snapshot_compression=True)
        process = self.fake.process()
        self.take(process)
        self.assertIn('convert', process.calls.names())
        self.assert_all_or_nothing()

    def test_a_paused_guest_stays_paused(self):
        self.fake.guest.suspend()
        before = self.state()
        self.take()
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_a_transient_guest(self):
        self.fake.guest.undefineFlags(0)
        before = self.state()
        self.take()
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_room_stays_reserved_while_it_is_read(self):
        process = self.fake.process()
        reserved = []
        process.calls.then('upload', lambda: reserved.extend(
            record.reservations for record in process.store.read_all()))
        self.take(process)
        (reservations,) = reserved
        self.assertEqual(1, len(reservations))


@ddt.ddt
class RefusalTestCase(BackupTest):

    def plan(self, **asked):
        return snapshot.plan(self.fake.process().node,
                             flow_scene.request(**asked))

    def test_a_libvirt_that_has_no_backup_jobs(self):
        self.fake.libvirtd.version = 7_001_000
        error = self.assertRaises(errors.Unsupported, self.plan)
        self.assertIn('libvirt 7.1.0 has no backup jobs; 7.2.0 has',
                      str(error))

    def test_auto_takes_such_a_guest_another_way(self):
        self.fake.libvirtd.version = 7_001_000
        self.fake.set(live_method='auto')
        self.assertEqual(plan_model.Method.LIVE, self.plan().method)

    def test_auto_takes_what_can_be_by_a_backup_job(self):
        self.fake.set(live_method='auto')
        self.assertEqual(plan_model.Method.BACKUP, self.plan().method)

    def test_a_directory_whose_name_is_too_long_for_a_socket(self):
        self.fake.set(snapshots_directory=f'{self.fake.snapshots}/'
                                          + 'x' * 60,
                      snapshots_directory_is_default=True)
        error = self.assertRaises(errors.Unsupported, self.plan)
        self.assertIn('path that is too long', str(error))

    def test_cold_where_the_operator_has_set_that(self):
        self.fake.set(disable_libvirt_livesnapshot=True)
        self.assertEqual(plan_model.Method.COLD, self.plan().method)

    def test_a_job_of_another_program_is_not_ended(self):
        self.fake.guest.running_job = 'backup'
        error = self.assertRaises(errors.InstanceBusy, self.plan)
        self.assertIn('a backup of it is under way', str(error))

    def test_a_job_that_begins_before_it_is_our_turn(self):
        """libvirt would let ours wait, and the guest be frozen for it."""
        before = self.state()
        process = self.fake.process()
        process.calls.then('make_lent', lambda: setattr(
            self.fake.guest, 'running_job', 'migration'))
        error = self.assertRaises(errors.InstanceBusy, self.take, process,
                                  quiesce='require')
        self.assertIn('a migration of it is under way', str(error))
        self.assertNotIn('fsFreeze', process.calls.names())
        self.fake.guest.running_job = None
        self.assert_nothing_left(before)

    def test_qemu_may_not_make_its_socket(self):
        before = self.state()
        self.fake.guest.backup_life.is_denied = True
        error = self.assertRaises(errors.BackupFailed, self.take)
        self.assertIn('/etc/apparmor.d/local/abstractions/libvirt-qemu',
                      str(error))
        self.assertIn(f'"{self.fake.snapshots}/** rwk,"', str(error))
        self.assert_nothing_left(before)


class GuestComesFirstTestCase(BackupTest):
    """What becomes of the guest while its disk is read."""

    def setUp(self):
        super().setUp()
        self.process = self.fake.process()
        self.before = self.state()

    def during_the_upload(self, act):
        def later():
            act()
            self.fake.clock.sleep(2)

        self.process.calls.then('extents', later)

    def die_in_the_upload(self):
        self.process.calls.kill_named('upload')
        try:
            self.take(self.process)
        except (fake_calls.Killed, errors.SnapError):
            pass
        self.assertTrue(self.process.calls.is_dead)

    def test_room_gets_short_and_the_guest_does_not_notice(self):
        self.fake.free = lambda: self.free
        self.free = units.GiB
        self.process = self.fake.process()
        self.during_the_upload(lambda: setattr(self, 'free', 100))
        self.assertRaises(errors.SpaceReserveReached, self.take,
                          self.process)
        self.assertEqual(0, self.fake.guest.pauses)
        self.assert_nothing_left(self.before)

    def test_room_is_gone_at_once_and_the_guest_goes_on(self):
        self.during_the_upload(self.fake.guest.fill_scratch)
        self.process.calls.then('abortJob', lambda: self.assertLessEqual(
            self.fake.clock.monotonic(), 1))
        error = self.assertRaises(errors.BackupFailed, self.take,
                                  self.process)
        self.assertIn('the guest could not write', str(error))
        self.assertEqual(1, self.fake.guest.pauses)
        self.assert_nothing_left(self.before)

    def test_killed_while_the_guest_waits_for_room(self):
        self.process.calls.then('extents', self.fake.guest.fill_scratch)
        self.die_in_the_upload()
        self.recover()
        self.assert_nothing_left(self.before)

    def test_a_guest_that_was_paused_before_is_not_resumed(self):
        self.fake.guest.suspend()
        before = self.state()
        self.process.calls.then('extents', self.fake.guest.fill_scratch)
        self.die_in_the_upload()
        self.recover()
        self.assert_nothing_left(before)

    def test_a_guest_that_is_switched_off(self):
        self.during_the_upload(self.fake.guest.destroy)
        error = self.assertRaises(errors.BackupFailed, self.take,
                                  self.process)
        self.assertIn('switched off', str(error))
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_another_program_ends_the_job(self):
        self.fake.guest.backup_life.ends_after = 0
        self.during_the_upload(self.fake.guest.abortJob)
        error = self.assertRaises(errors.BackupFailed, self.take,
                                  self.process)
        self.assertIn('another program has ended it', str(error))
        self.assert_nothing_left(self.before)

    def test_a_job_that_does_not_end(self):
        self.fake.guest.backup_life.ends_after = None
        self.during_the_upload(lambda: None)
        self.take(self.process)
        # The image is whole; the record stays until the job is gone.
        self.assert_all_or_nothing()
        self.assertEqual(1, len(self.records()))
        self.fake.guest.backup.life.ends_after = 0
        self.recover()
        self.assert_guest_untouched(self.before)
        self.assertEqual([], self.records())
