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

"""V1: snapshots of volumes stay in Cinder when a later one fails.

Nova has not got what it needs to delete them, and its users find them in
their quota. Nor does it give up one that Cinder never finishes (D5).

:source: nova commit 289d2703c7; nova/compute/api.py snapshot_volume_backed
"""

import dataclasses

import ddt

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.model import request as request_model
from tests.fakes import calls as fake_calls
from tests.fakes.cinder import store as cinder_store
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

FIRST, SECOND, THIRD = map(fake_node.volume_id, range(3))


class AllOrNothingTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=3)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.cinder = self.fake.cinder

    def assert_nothing(self):
        self.assert_nothing_left(self.before)
        self.assertEqual({}, self.cinder.snapshots)

    def fail(self, *words, error=errors.VolumeServiceError, **asked):
        raised = self.assertRaises(error, self.take, quiesce='want', **asked)
        for word in words:
            self.assertIn(word, str(raised))
        return raised


@ddt.ddt
class FailsTestCase(AllOrNothingTestCase):

    @ddt.data(FIRST, SECOND, THIRD)
    def test_a_snapshot_ends_in_an_error(self, volume_id):
        self.cinder.fails.add(volume_id)
        self.fail(volume_id, 'state error', error=errors.VolumeSnapshotFailed)
        self.assert_nothing()

    @ddt.data(FIRST, SECOND, THIRD)
    def test_a_request_is_refused(self, volume_id):
        process = self.fake.process()
        process.calls.then(f'cinder create_snapshot {volume_id}', lambda:
                           self.cinder.volumes.pop(volume_id, None),
                           fake_calls.When.BEFORE)
        self.assertRaises(errors.VolumeGone, self.take, process)
        self.assert_nothing()

    @ddt.data(FIRST, SECOND, THIRD)
    def test_an_answer_is_lost(self, volume_id):
        for when in (fake_calls.When.BEFORE, fake_calls.When.AFTER):
            process = self.fake.process()
            process.calls.fail_named(f'cinder create_snapshot {volume_id}',
                                     when=when)
            self.assertRaises(errors.VolumeServiceUnavailable, self.take,
                              process)
            self.assert_nothing()

    def test_the_quota_is_reached_in_between(self):
        process = self.fake.process()

        def lower():
            self.cinder.maximum = 1

        process.calls.then('fsFreeze', lower)
        self.assertRaises(errors.VolumeQuotaExceeded, self.take, process,
                          quiesce='require')
        self.assert_nothing()

    def test_another_client_deletes_one_in_between(self):
        process = self.fake.process()
        self.cinder.create_seconds = 10
        process.calls.then('snapshot', self.cinder.snapshots.clear)
        error = self.assertRaises(errors.VolumeSnapshotFailed, self.take,
                                  process)
        self.assertIn('it was deleted', str(error))
        self.assert_nothing()

    def test_the_image_cannot_be_made(self):
        process = self.fake.process()
        process.calls.fail_named('upload')
        self.assertRaises(errors.ImageServiceUnavailable, self.take, process)
        self.assert_nothing()


class HangsTestCase(AllOrNothingTestCase):
    """Cinder never finishes one: it cannot be deleted either."""

    def setUp(self):
        super().setUp()
        self.cinder.create_seconds = None

    def test_it_is_given_up(self):
        started = self.fake.clock.monotonic()
        error = self.fail('creating still', 'recover',
                          error=errors.RollbackIncomplete)
        self.assertIsInstance(error.__cause__, errors.VolumeSnapshotFailed)
        self.assertIn('volume_snapshot_timeout', str(error.__cause__))
        # Once for all of them together, and once for each to go.
        limit = self.fake.settings.volume_snapshot_timeout
        self.assertEqual(4 * limit, self.fake.clock.monotonic() - started)
        self.assert_guest_untouched(self.before)
        self.assertEqual({}, self.fake.glance.stored)

    def test_it_stays_in_the_journal_with_its_id(self):
        self.fail(error=errors.RollbackIncomplete)
        [record] = self.fake.process().store.read_all()
        self.assertEqual(
            set(self.cinder.snapshots),
            {entry.facts['snapshot_id'] for entry in record.entries
             if entry.kind == 'CreateVolumeSnapshot'})

    def test_it_goes_when_cinder_lets_go_of_it(self):
        self.fail(error=errors.RollbackIncomplete)
        self.assertEqual([recovery.Outcome.FAILED], self.outcomes())
        for one in list(self.cinder.snapshots):
            self.cinder.become(one, cinder_store.Status.ERROR)
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing()


@ddt.ddt
class StaysTestCase(AllOrNothingTestCase):

    @ddt.data((cinder_store.Status.AVAILABLE, 'available again'),
              (cinder_store.Status.ERROR_DELETING, 'could not delete it'))
    @ddt.unpack
    def test_one_that_cinder_does_not_delete(self, status, words):
        self.cinder.fails.add(THIRD)
        self.cinder.keeps[FIRST] = status
        error = self.fail('CreateVolumeSnapshot', words,
                          error=errors.RollbackIncomplete)
        self.assertNotIn(SECOND, str(error))
        self.assertEqual([FIRST], [one.volume_id for one
                                   in self.cinder.snapshots.values()])
        self.assert_guest_untouched(self.before)
        self.cinder.keeps.clear()
        for one in list(self.cinder.snapshots):
            self.cinder.become(one, cinder_store.Status.AVAILABLE)
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing()


class LateTestCase(AllOrNothingTestCase):
    """A request is under way in Cinder when its sender is gone."""

    def test_what_shows_up_later_is_found(self):
        self.cinder.appear_seconds = 5
        self.die(f'cinder create_snapshot {SECOND}', fake_calls.When.DURING)
        self.assertEqual(1, len(self.cinder.snapshots))
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing()

    def test_cancelled_while_it_is_asked_for(self):
        process = self.fake.process()
        self.cinder.appear_seconds = 5
        create = self.cinder.create

        def interrupt(spec, *, force):
            self.fake.clock.after(5, lambda: create(spec, force=force))
            raise KeyboardInterrupt

        self.cinder.create = interrupt
        self.assertRaises(KeyboardInterrupt, self.take, process)
        self.fake.clock.sleep(60)
        self.assert_nothing()

    def test_another_snapshot_of_the_volume_is_not_ours(self):
        self.take()
        [image] = self.fake.glance.stored
        theirs = dict(self.cinder.snapshots)
        self.die(f'cinder create_snapshot {SECOND}', fake_calls.When.BEFORE,
                 image_id=image.replace('1', '2'))
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assertEqual(theirs, self.cinder.snapshots)


class DriverTestCase(AllOrNothingTestCase):

    def test_its_recovery_at_the_start_does_not_ask_cinder(self):
        self.die(f'cinder create_snapshot {SECOND}', quiesce='require')
        self.assertTrue(self.fake.guest.agent.frozen)
        self.cinder.refuses = True
        self.assertEqual([recovery.Outcome.LEFT],
                         self.outcomes(artifacts=False))
        self.assert_guest_untouched(self.before)
        self.cinder.refuses = False
        self.assertEqual([recovery.Outcome.SETTLED], self.outcomes())
        self.assert_nothing()

    def test_it_takes_none_itself(self):
        error = self.assertRaises(errors.Unsupported, self.take,
                                  made_by=request_model.Party.NOVA)
        self.assertIn('Cinder volume', str(error))


class SpecTestCase(AllOrNothingTestCase):

    def test_a_long_name_is_cut_as_cinder_takes_it(self):
        self.take(name='n' * 255)
        [name] = {one.name for one in self.cinder.snapshots.values()}
        self.assertEqual(f'snapshot for {"n" * 242}', name)

    def test_a_volume_that_is_free_is_snapshotted_too(self):
        volume = self.cinder.volumes[SECOND]
        self.cinder.volumes[SECOND] = dataclasses.replace(
            volume, status='available', attachments={})
        self.take()
        self.assert_all_or_nothing()
