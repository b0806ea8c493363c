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

import dataclasses

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.model import consistency as consistency_model
from nova_snap.model.plan import plan as plan_model
from tests.fakes import agent as fake_agent
from tests.fakes import devices
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

PAUSED = libvirt.VIR_DOMAIN_PAUSED
RUNNING = libvirt.VIR_DOMAIN_RUNNING

SAVE_TO_START = [
    'journal write SaveMemory intent',
    'libvirt managedSave',
    'journal write SaveMemory done',
    'files clone disk',
    'qemu-img convert disk:qcow2 base1:raw image-vda:qcow2',
    'libvirt createWithFlags',
    'journal write SaveMemory undone',
]


class OrderTestCase(flow_scene.FlowTestCase):

    def test_running_guest(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()

        result = self.take(process, cold=True)

        self.assertEqual(
            ['journal write begin',
             'journal write CreateImage intent',
             'glance create',
             'journal write CreateImage done',
             'journal write MakeScratch intent',
             'files make_scratch',
             'journal write MakeScratch done',
             *SAVE_TO_START,
             'journal write BoundAgentWaits intent',
             'libvirt agentSetResponseTimeout 10',
             'journal write BoundAgentWaits done',
             'libvirt setTime',
             'libvirt agentSetResponseTimeout -2',
             'journal write BoundAgentWaits undone',
             # The guest is back since long.
             # The room that it needs no more.
             'journal write',
             'glance upload',
             'journal write commit',
             'files remove_scratch',
             'journal write MakeScratch undone',
             'journal remove'],
            process.calls.changes())
        self.assertEqual(plan_model.Method.COLD, result.plan.method)
        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assertEqual('as after a power cut', result.file_systems)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    def test_paused_guest_comes_back_paused(self):
        self.fake.guest.create()
        self.fake.guest.suspend()
        before = self.state()
        process = self.fake.process()

        self.take(process, cold=True)

        self.assertEqual(['managedSave', 'createWithFlags PAUSED'],
                         process.calls.of('libvirt'))
        self.assert_guest_untouched(before)
        self.assertEqual(PAUSED, self.fake.guest.now)
        self.assert_all_or_nothing()

    def test_image_is_the_disk_while_it_was_saved(self):
        self.fake.guest.create()
        self.take(cold=True)
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        self.assertNotEqual(moment.content, self.fake.guest.content())


class HeldTestCase(flow_scene.FlowTestCase):
    """A backup job holds the disk, and the guest goes on at once."""

    spec = fake_node.GuestSpec(agent=fake_agent.Channel.ABSENT)

    def setUp(self):
        super().setUp()
        self.fake.set(upload='stream')
        self.fake.guest.create()
        self.before = self.state()
        self.process = self.fake.process()

    def of_the_save(self, result):
        """Assert that the image is the disk as it was when it was saved."""
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()
        moment, *_ = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        self.assertNotEqual(moment.content, self.fake.guest.content())
        self.assertEqual(plan_model.Method.COLD, result.plan.method)
        self.assertEqual([], self.records())

    def test_it_goes_on_before_its_disk_is_read(self):
        result = self.take(self.process, cold=True)
        self.of_the_save(result)
        self.assertEqual(
            ['managedSave', 'createWithFlags PAUSED', 'backupBegin',
             'resume', 'abortJob'],
            [call.partition(' ')[0] if call.startswith('backupBegin')
             else call for call in self.process.calls.of('libvirt')])
        self.assertTrue(result.plan.is_streamed)
        self.assertIsNotNone(result.scratch_bytes)
        self.assertNotIn('convert', self.process.calls.names())

    def test_a_paused_guest_stays_paused(self):
        self.fake.guest.suspend()
        self.before = self.state()
        self.take(self.process, cold=True)
        self.assertNotIn('resume', self.process.calls.names())
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()

    def test_what_cannot_be_streamed_is_converted_while_it_runs(self):
        self.fake.set(snapshot_image_format='vmdk')
        self.process = self.fake.process()
        self.take(self.process, cold=True)
        names = [call.name for call in self.process.calls.made]
        self.assertLess(names.index('resume'), names.index('convert'))
        self.assert_guest_untouched(self.before)

    def test_a_job_that_is_refused_leaves_the_guest_as_it_was(self):
        self.process.calls.fail_named('backupBegin')
        self.assertRaises(errors.BackupFailed, self.take, self.process,
                          cold=True)
        self.assert_nothing_left(self.before)

    def test_one_that_was_started_since_is_refused(self):
        self.process.calls.then('managedSave', self.fake.guest.create)
        self.assertRaises(errors.StorageError, self.take, self.process,
                          cold=True)
        self.assertNotIn('backupBegin', self.process.calls.names())

    def test_recovery_leaves_one_alone_that_was_paused_since(self):
        self.die('createWithFlags', cold=True)
        self.fake.guest.resume()
        self.fake.guest.suspend()
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assertEqual(PAUSED, self.fake.guest.now)

    def test_libvirt_finds_the_agent_of_a_guest_that_goes_on(self):
        """It would not, of one that a backup job holds."""
        self.fake = self.make_node(fake_node.GuestSpec())
        self.fake.set(upload='stream')
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        self.assertFalse(self.take(process, cold=True).plan.is_held)
        self.assertNotIn('backupBegin', process.calls.names())
        self.assertIn('setTime', process.calls.names())
        self.assertEqual(fake_agent.Channel.CONNECTED,
                         self.fake.guest.agent.channel)
        self.assert_guest_untouched(before)

    def test_no_job_runs_where_no_live_snapshot_is_wanted(self):
        self.fake.set(disable_libvirt_livesnapshot=True)
        self.process = self.fake.process()
        self.assertFalse(self.take(self.process).plan.is_held)
        self.assertNotIn('backupBegin', self.process.calls.names())
        self.assert_guest_untouched(self.before)


class ClonedTestCase(flow_scene.FlowTestCase):
    """On a file system whose files can share their blocks."""

    def setUp(self):
        super().setUp()
        self.fake.has_clones = True
        self.fake.guest.create()
        self.before = self.state()
        self.process = self.fake.process()

    def taken(self):
        result = self.take(self.process, cold=True)
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        return result

    def test_the_guest_is_back_before_its_disk_is_read(self):
        self.taken()
        names = [call.name for call in self.process.calls.made]
        self.assertEqual(
            ['managedSave', 'clone', 'createWithFlags', 'convert', 'upload'],
            [name for name in names if name in (
                'managedSave', 'clone', 'createWithFlags', 'convert',
                'upload')])

    def test_streamed_it_is_no_file(self):
        self.fake.set(upload='stream')
        self.process = self.fake.process()
        self.assertTrue(self.taken().plan.is_streamed)
        self.assertNotIn('convert', self.process.calls.names())

    def test_a_disk_that_is_in_use_all_the_same_is_refused(self):
        self.process.calls.then('managedSave', self.fake.guest.create)
        self.assertRaises(errors.StorageError, self.take, self.process,
                          cold=True)
        self.assertNotIn('clone', self.process.calls.names())

    def test_a_guest_that_was_started_while_it_was_cloned(self):
        self.process.calls.then('clone', self.fake.guest.create)
        error = self.assertRaises(errors.StorageError, self.take,
                                  self.process, cold=True)
        self.assertIn('started while its disk was read', str(error))


@ddt.ddt
class ChosenTestCase(flow_scene.FlowTestCase):
    """Nova's rule for cold."""

    @ddt.data({'disable_libvirt_livesnapshot': True},
              {'ephemeral_storage_encryption': True})
    def test_by_option(self, options):
        self.fake.set(**options)
        self.fake.guest.create()
        self.assertEqual(plan_model.Method.COLD, self.take().plan.method)


@ddt.ddt
class RefusedTestCase(flow_scene.FlowTestCase):

    def refuse(self, word, **spec):
        if spec:
            self.fake = self.make_node(fake_node.GuestSpec(**spec))
        if self.fake.guest.live is None:
            self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        error = self.assertRaises(errors.Unsupported, self.take, process,
                                  cold=True)
        self.assertIn(word, str(error))
        self.assertEqual([], process.calls.changes())
        self.assert_nothing_left(before)

    def test_device_that_is_not_taken_out(self):
        self.refuse('hostdev usb', hostdev=devices.USB)

    def test_paused_guest_releases_no_device(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            hostdev=devices.PCI))
        self.fake.guest.create()
        self.fake.guest.suspend()
        self.refuse('hostdev pci 0000:3b:00.1')

    def test_transient_domain(self):
        self.fake.guest.create()
        self.fake.guest.undefineFlags(0)
        self.refuse('transient')

    def test_sleeping_guest(self):
        self.fake.guest.create()
        self.fake.guest.now = libvirt.VIR_DOMAIN_PMSUSPENDED
        self.refuse('pmsuspended')

    def test_guest_of_a_nova_that_runs(self):
        self.fake = self.make_node(fake_node.GuestSpec(nova=True))
        self.fake.nova_compute_runs = True
        self.refuse('openstack server image create')

    def test_guest_of_a_nova_that_is_said_to_be_stopped(self):
        self.fake = self.make_node(fake_node.GuestSpec(nova=True))
        self.fake.nova_compute_runs = True
        self.fake.guest.create()
        before = self.state()
        self.take(cold=True, nova_is_stopped=True)
        self.assert_guest_untouched(before)

    def test_guest_that_nova_did_not_make(self):
        self.fake.nova_compute_runs = True
        self.fake.guest.create()
        self.assertEqual(plan_model.Method.COLD,
                         self.take(cold=True).plan.method)


@ddt.ddt
class FailsTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.process = self.fake.process()

    @ddt.data('convert', 'managedSave', 'upload', 'make_scratch')
    def test_guest_is_back_whatever_fails(self, call):
        self.process.calls.fail_named(call)
        self.assertRaises(errors.SnapError, self.take, self.process,
                          cold=True)
        self.assert_nothing_left(self.before)

    def test_save_that_fails_is_named(self):
        self.process.calls.fail_named('managedSave')
        error = self.assertRaises(errors.ManagedSaveFailed, self.take,
                                  self.process, cold=True)
        self.assertIn('planted', str(error))

    def test_save_that_takes_too_long_is_cancelled(self):
        self.fake.guest.save_seconds = self.fake.settings.save_timeout + 1
        self.assertRaises(errors.ManagedSaveFailed, self.take, self.process,
                          cold=True)
        self.assertIn('libvirt abortJob', self.process.calls.changes())
        self.assertEqual(1, self.fake.guest.starts)
        self.assert_nothing_left(self.before)

    def test_save_that_takes_its_time(self):
        self.fake.guest.save_seconds = self.fake.settings.save_timeout - 1
        self.take(self.process, cold=True)
        self.assertNotIn('abortJob', self.process.calls.names())
        self.assert_guest_untouched(self.before)

    def test_disk_that_keeps_its_data_elsewhere(self):
        top = fake_disk.DiskFile.load(self.fake.disks[0])
        top.data_file = '/etc/shadow'
        top.save(self.fake.disks[0])
        error = self.assertRaises(errors.StorageError, self.take,
                                  self.process, cold=True)
        self.assertIn('/etc/shadow', str(error))
        self.assertNotIn('convert', self.process.calls.names())
        self.assert_nothing_left(self.before)

    def test_start_fails_once(self):
        self.process.calls.fail_named('createWithFlags')
        self.assertRaises(errors.UndoFailed, self.take, self.process,
                          cold=True)
        self.assert_nothing_left(self.before)

    def test_start_never_works(self):
        # The memory is not lost: it can be started when the cause is gone.
        self.process.calls.fail_named('createWithFlags', None)

        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  self.process, cold=True)

        self.assertIn('SaveMemory', str(error))
        self.assertIs(False, self.fake.guest.saved)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_guest_restarted_before_the_save_is_not_saved(self):
        self.process.calls.then('make_scratch', self.fake.hard_reboot_guest)
        self.assertRaises(errors.ManagedSaveFailed, self.take, self.process,
                          cold=True)
        self.assertNotIn('managedSave', self.process.calls.names())
        self.assertEqual(RUNNING, self.fake.guest.now)

    def test_guest_that_another_client_started_is_left_as_it_is(self):
        self.process.calls.then('convert', lambda: (
            self.fake.guest.create(), self.fake.guest.suspend()))
        error = self.assertRaises(errors.StorageError, self.take,
                                  self.process, cold=True)
        self.assertIn('started while its disk was read', str(error))
        self.assertEqual(PAUSED, self.fake.guest.now)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertNotIn('createWithFlags', self.process.calls.names())

    def test_guest_that_was_thrown_away_is_not_started(self):
        def throw_away():
            self.fake.guest.saved = None

        self.process.calls.then('convert', throw_away)
        self.take(self.process, cold=True)
        self.assertNotIn('createWithFlags', self.process.calls.names())

    def test_clock_cannot_be_set(self):
        self.fake.guest.agent.refuses.add('setTime')
        self.take(self.process, cold=True)
        self.assert_guest_untouched(self.before)

    def test_clock_of_a_guest_without_agent_is_left_alone(self):
        self.fake.guest.agent.channel = fake_agent.Channel.DISCONNECTED
        self.take(self.process, cold=True)
        self.assertNotIn('setTime', self.process.calls.names())

    def test_hung_agent_does_not_hang_us(self):
        self.fake.guest.agent.hung = True
        self.take(self.process, cold=True)
        self.assert_guest_untouched(self.before)
        self.assert_all_or_nothing()


class SaveUnderWayTestCase(flow_scene.FlowTestCase):
    """The owner died while libvirt saved, which goes on."""

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.die('managedSave', flow_scene.When.DURING, cold=True)

    def test_it_is_cancelled(self):
        self.assertEqual('save', self.fake.guest.running_job)

        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())

        self.assertEqual(1, self.fake.guest.starts)
        self.assert_nothing_left(self.before)

    def test_too_late_to_be_cancelled_it_is_waited_for(self):
        self.fake.guest.job_cannot_be_aborted = True

        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())

        self.assertEqual(2, self.fake.guest.starts)
        self.assert_nothing_left(self.before)

    def test_it_never_ends(self):
        self.fake.guest.job_cannot_be_aborted = True
        self.fake.guest.save_looks = None

        (finding,) = self.recover()

        self.assertEqual(recovery.Outcome.FAILED, finding.outcome)
        self.assertIn('60 s', finding.reason)
        self.fake.guest.job_cannot_be_aborted = False
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(dataclasses.replace(self.before))
