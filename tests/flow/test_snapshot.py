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

"""What holds for every snapshot: refusals, the image, the end."""

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.flows import snapshot
from nova_snap.model import consistency as consistency_model
from tests.fakes import mirror as fake_mirror
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene


class RefusedTestCase(flow_scene.FlowTestCase):
    """Nothing is touched, and the message names what it is."""

    def refuse(self, error, *words, **asked):
        before = self.state()
        process = self.fake.process()
        raised = self.assertRaises(error, self.take, process, **asked)
        for word in words:
            self.assertIn(word, str(raised))
        self.assertEqual([], process.calls.changes())
        self.assert_nothing_left(before)


@ddt.ddt
class StatesTestCase(RefusedTestCase):

    @ddt.data((libvirt.VIR_DOMAIN_CRASHED, 'crashed'),
              (libvirt.VIR_DOMAIN_SHUTDOWN, 'shutting down'))
    @ddt.unpack
    def test_on_its_way_out(self, state, word):
        self.fake.guest.create()
        self.fake.guest.now = state
        self.refuse(errors.InstanceBusy, word, fake_node.NAME)

    @ddt.data('migration', 'save')
    def test_with_a_job_of_another_client(self, job):
        self.fake.guest.create()
        self.fake.guest.save_looks = None
        self.fake.guest.running_job = job
        self.refuse(errors.InstanceBusy, job)

    @ddt.data('copy', 'active-commit', 'pull')
    def test_with_a_block_job_of_another_client(self, job):
        guest = self.fake.guest
        guest.create()
        guest.mirrors['vda'] = fake_mirror.FakeMirror(
            self.fake.disks[0], '/srv/theirs', fake_mirror.MirrorLife(),
            'qcow2', job=job)
        self.refuse(errors.InstanceBusy, 'vda', 'block job')

    def test_with_a_block_job_it_says_how_to_end_it(self):
        guest = self.fake.guest
        guest.create()
        guest.mirrors['vda'] = fake_mirror.FakeMirror(
            self.fake.disks[0], '/srv/theirs', fake_mirror.MirrorLife(),
            'qcow2')
        self.refuse(errors.InstanceBusy,
                    f'"virsh blockjob {fake_node.UUID} vda --abort"')

    def test_planned_while_a_snapshot_of_ours_copies(self):
        self.fake.guest.create()
        self.die('blockRebase')
        error = self.assertRaises(
            errors.InstanceBusy, snapshot.plan, self.fake.process().node,
            flow_scene.request())
        self.assertIn('"nova-snap status" shows', str(error))
        self.assertNotIn('virsh', str(error))

    def test_an_instance_that_libvirt_does_not_know_is_refused(self):
        other = fake_node.UUID.replace('0', '1')
        self.refuse(errors.DomainGone, other, instance_uuid=other)


class SpaceTestCase(RefusedTestCase):

    def test_too_little_it_says_how_much_is_missing(self):
        self.fake.free = 0
        self.fake.guest.create()
        self.refuse(errors.NotEnoughSpace, '1.0 MiB stay free', 'missing',
                    str(self.fake.snapshots))

    def test_directory_is_missing(self):
        self.fake.snapshots.rmdir()
        self.addCleanup(self.fake.snapshots.mkdir)
        self.fake.guest.create()
        error = self.assertRaises(errors.Refused, self.take)
        self.assertIn(str(self.fake.snapshots), str(error))
        self.assertEqual({}, self.fake.glance.stored)


class GlanceTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    def test_down_the_guest_is_not_touched(self):
        process = self.fake.process()
        process.calls.fail_outside('glance')
        self.assertRaises(errors.ImageServiceUnavailable, self.take, process)
        self.assertEqual([], process.calls.changes())
        self.assert_nothing_left(self.before)

    def test_refusing_the_guest_is_not_touched(self):
        self.fake.glance.refuses = True
        process = self.fake.process()
        self.assertRaises(errors.ImageServiceRefused, self.take, process)
        self.assertEqual([], process.calls.changes())

    def test_refusing_later_on(self):
        process = self.fake.process()

        def refuse():
            self.fake.glance.refuses = True

        process.calls.then('convert', refuse)
        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  process)
        self.assertIn('CreateImage', str(error))
        self.assert_guest_untouched(self.before)
        self.fake.glance.refuses = False
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(self.before)

    def test_image_that_is_not_what_was_sent_is_deleted(self):
        self.fake.glance.corrupts = True
        self.assertRaises(errors.ImageCorrupt, self.take)
        self.assert_nothing_left(self.before)

    def test_image_that_is_deleted_half_way(self):
        process = self.fake.process()
        process.calls.then('convert', self.fake.glance.stored.clear)
        self.assertRaises(errors.ImageGone, self.take, process)
        self.assert_nothing_left(self.before)

    def test_image_of_a_guest_of_novas(self):
        self.fake = self.make_node(fake_node.GuestSpec(nova=True))
        self.fake.guest.create()
        image = self.take(properties={'colour': 'blue'}).images[0]
        self.assertEqual(fake_node.BASE_IMAGE,
                         image.properties['base_image_ref'])
        self.assertEqual('blue', image.properties['colour'])
        self.assertEqual('none',
                         image.properties['nova_snap_consistency'])


@ddt.ddt
class AfterCommitTestCase(flow_scene.FlowTestCase):
    """The image stays, and no error says that it does not."""

    @ddt.data({}, {'cold': True})
    def test_scratch_cannot_be_removed(self, asked):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('remove_scratch', None)

        result = self.take(process, **asked)

        self.assertEqual('active', result.images[0].status)
        self.assert_all_or_nothing()
        self.assertEqual(1, len(self.records()))
        (finding,) = self.recover()
        self.assertEqual(recovery.Outcome.SETTLED, finding.outcome)
        self.assertIn('image stays', finding.reason)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual(1, len(self.fake.glance.stored))

    @ddt.data('journal remove', 'journal write MakeScratch undone')
    def test_record_cannot_be_removed(self, call):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named(call, None)

        self.take(process)

        self.outcomes()
        self.assert_guest_untouched(before)
        self.assertEqual(1, len(self.fake.glance.stored))
        self.assertEqual([], self.records())

    def test_ctrl_c_comes_too_late(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.then('remove_scratch', self._interrupt)

        self.assertEqual('active', self.take(process).images[0].status)

        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def _interrupt(self):
        raise KeyboardInterrupt


class RollbackTestCase(flow_scene.FlowTestCase):

    def test_all_that_could_not_be_undone_is_named(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('upload')
        process.calls.fail_named('delete', None)
        process.calls.fail_named('remove_scratch', None)

        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  process)

        for word in ('MakeScratch', 'CreateImage', *self.records()):
            self.assertIn(word, str(error))
        self.assertIsInstance(error.__cause__,
                              errors.ImageServiceUnavailable)
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(before)

    def test_what_failed_first_is_told(self):
        # What is undone in vain at first, and then done, is not the error.
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.fail_named('upload')
        process.calls.fail_named('remove_scratch')

        self.assertRaises(errors.ImageServiceUnavailable, self.take, process)

        self.assert_nothing_left(before)

    def test_one_undo_that_fails_does_not_stop_the_others(self):
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.fail_named('blockJobAbort', None)

        self.assertRaises(errors.RollbackIncomplete, self.take, process,
                          quiesce='want')

        self.assertFalse(self.fake.guest.agent.frozen)
        self.assertTrue(self.fake.guest.isPersistent())
        self.assertEqual({}, self.fake.glance.stored)


class RemarkTestCase(flow_scene.FlowTestCase):
    """No snapshot fails for what an image cannot say of itself."""

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.process = self.fake.process()

    def test_an_image_that_cannot_say_it_is_frozen_says_it_is_not(self):
        self.process.calls.fail_named('set_properties', times=None)
        result = self.take(self.process, quiesce='require')
        self.assertEqual('frozen', result.consistency)
        [stored] = self.fake.glance.stored.values()
        self.assertEqual('none', consistency_model.said(
            flow_scene.IMAGE, stored.properties))
        self.assert_all_or_nothing()

    def test_a_cold_snapshot_has_said_it_with_the_record(self):
        self.take(self.process, cold=True)
        self.assertNotIn('set_properties', self.process.calls.names())
        [stored] = self.fake.glance.stored.values()
        self.assertEqual('none', consistency_model.said(
            flow_scene.IMAGE, stored.properties))


class BusyTestCase(flow_scene.FlowTestCase):

    def test_second_snapshot_of_the_same_instance_at_once(self):
        self.fake.guest.create()
        process = self.fake.process()
        seen = []

        def second():
            other = self.fake.process()
            seen.append(self.assertRaises(
                errors.InstanceBusy, self.take, other,
                image_id='22222222-2222-4222-8222-222222222222'))
            seen.append(other.calls.changes())
            seen.extend(recovery.status(other.node))

        process.calls.then('convert', second)
        self.take(process)

        error, changes, finding = seen
        self.assertIn('nova-snap status', str(error))
        self.assertEqual([], changes)
        self.assertEqual(recovery.Outcome.UNDER_WAY, finding.outcome)
        self.assert_all_or_nothing()

    def test_one_after_the_other(self):
        self.fake.guest.create()
        before = self.state()
        self.take()
        self.take(image_id='22222222-2222-4222-8222-222222222222')
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual(2, len(self.fake.glance.stored))


class PlanTestCase(flow_scene.FlowTestCase):

    def test_it_only_looks(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()

        made = snapshot.plan(process.node, flow_scene.request(quiesce='want'))

        self.assertEqual([], process.calls.changes())
        self.assertTrue(made.wants_freeze)
        self.assert_nothing_left(before)
