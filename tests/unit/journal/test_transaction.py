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

"""Each law of nova_snap.journal.transaction, by its number."""

import contextlib

import ddt

from nova_snap import errors
from nova_snap.journal import record as record_model
from tests.unit.journal import disk as disk_fixture
from tests.unit.journal import steps

Phase = record_model.Phase
Role = record_model.Role
Step = steps.Step


class FlowTestCase(steps.TransactionTestCase):
    """All goes well."""

    def test_artifacts_remain_and_holds_do_not(self):
        with self.transaction() as txn:
            txn.artifact(Step('image'))
            with txn.hold(Step('outer')), txn.hold(Step('inner')):
                self.assertEqual({'image', 'outer', 'inner'},
                                 self.world.there)
                txn.commit()

        self.assertEqual({'image'}, self.world.there)
        self.assertEqual([], self.store.ids())
        self.assertEqual(
            ['do image', 'do outer', 'do inner', 'undo inner', 'undo outer'],
            self.world.log)

    def test_the_record_is_there_before_the_first_step(self):
        with self.transaction():
            self.assertEqual(['a-record'], self.store.ids())

    def test_room_that_is_given_back_is_free_for_all(self):
        with self.transaction() as txn:
            txn.record.reservations = [record_model.Reservation('/srv', 7)]
            txn.give_room_back()
            self.assertEqual([], self.store.read('a-record').reservations)

    def test_a_block_knows_its_step(self):
        step = Step('a')
        with self.transaction() as txn, txn.hold(step) as held:
            self.assertIs(step, held.step)
            self.assertEqual(Role.HOLD, held.entry.role)

    def test_a_hold_may_be_started_within_its_block(self):
        # What it needs may be a hold of its own, to be let go before it.
        with self.transaction() as txn, \
                txn.hold(Step('mirror'), start=False) as mirror:
            self.assertEqual([('mirror', 'intent')], self.world.phases())
            with txn.hold(Step('undefined')):
                mirror.start()
            self.assertEqual({'mirror'}, self.world.there)
        self.assert_nothing_left()

    def test_without_a_commit_nothing_remains(self):
        with self.transaction() as txn:
            txn.artifact(Step('image'))
        self.assert_nothing_left()

    def test_another_artifact_may_take_the_place_of_one(self):
        first, other, second = Step('first'), Step('other'), Step('second')
        with self.transaction() as txn:
            txn.artifact(first)
            txn.artifact(other)
            with txn.hold(Step('hold')):
                held, _ = txn.artifacts()
                self.assertIs(first, held.step)
                self.assertTrue(txn.undo(held))
                txn.artifact(second)
                self.assertEqual(
                    [other, second], [one.step for one in txn.artifacts()])
                txn.commit()
        self.assertEqual({'other', 'second'}, self.world.there)
        self.assertEqual([], self.store.ids())


class Law1TestCase(steps.TransactionTestCase):
    """A step holds names and the state before, never handles."""

    def test_what_it_holds_is_on_the_disk(self):
        with self.transaction() as txn, txn.hold(Step('a')):
            [entry] = self.store.read('a-record').entries
        self.assertEqual({'kind': 'a'}, entry.facts)

    def test_what_it_learned_while_it_acted_is_there_too(self):
        step = Step('a')
        with self.transaction() as txn, \
                txn.hold(step, start=False) as held:
            step.more['number'] = 7
            held.start()
            [entry] = self.store.read('a-record').entries
        self.assertEqual({'kind': 'a', 'number': 7}, entry.facts)

    def test_a_handle_is_refused_before_the_act(self):
        step = Step('a')
        step.more['handle'] = object()
        with contextlib.ExitStack() as stack:
            outer = Step('outer')
            txn = stack.enter_context(self.transaction())
            stack.enter_context(txn.hold(outer))
            self.assertRaises(errors.JournalError, txn.artifact, step)
        self.assertNotIn('do a', self.world.log)
        self.assert_nothing_left()


class Law2TestCase(steps.TransactionTestCase):
    """Its intent is on the disk before it acts, its outcome after."""

    def test_before_and_after_each_act(self):
        image, hold = Step('image'), Step('hold')
        with self.transaction() as txn:
            txn.artifact(image)
            self.assertEqual([('image', 'done')], self.world.phases())
            with txn.hold(hold):
                self.assertEqual([('image', 'done'), ('hold', 'done')],
                                 self.world.phases())
            self.assertEqual([('image', 'done'), ('hold', 'undone')],
                             self.world.phases())
        self.assertEqual([('image', 'intent')], image.seen['do'])
        self.assertEqual([('image', 'done'), ('hold', 'intent')],
                         hold.seen['do'])
        self.assertEqual([('image', 'done'), ('hold', 'done')],
                         hold.seen['undo'])

    def test_the_outcome_of_a_hold_may_come_later(self):
        with self.transaction() as txn, txn.hold(Step('job'),
                                                 start=False) as job:
            with txn.outcomes_later(), txn.hold(Step('frozen')):
                job.start()
                self.assertEqual([('job', 'intent'), ('frozen', 'intent')],
                                 self.world.phases())
            self.assertEqual([('job', 'done'), ('frozen', 'undone')],
                             self.world.phases())

    def test_it_comes_after_the_block_at_last(self):
        with self.transaction() as txn, contextlib.ExitStack() as stack:
            with txn.outcomes_later():
                stack.enter_context(txn.hold(Step('job')))
                self.assertEqual([('job', 'intent')], self.world.phases())
            self.assertEqual([('job', 'done')], self.world.phases())

    def test_the_outcome_of_an_artifact_does_not(self):
        with self.transaction() as txn, txn.outcomes_later():
            txn.artifact(Step('image'))
            self.assertEqual([('image', 'done')], self.world.phases())

    def test_killed_before_that_it_is_undone(self):
        step = Step('job')
        with contextlib.suppress(SystemExit), self.transaction() as txn, \
                txn.outcomes_later(), txn.hold(step):
            left = self.store.read('a-record')
            raise SystemExit
        step = Step('job')
        self.world.there.add('job')
        self.store.write(left)
        self.resume(step).settle()
        self.assert_nothing_left()

    def test_roles_are_on_the_disk(self):
        with self.transaction() as txn:
            txn.artifact(Step('image'))
            with txn.hold(Step('hold')):
                self.assertEqual(
                    [Role.ARTIFACT, Role.HOLD],
                    [entry.role for entry
                     in self.store.read('a-record').entries])

    def test_what_failed_stays_an_intent(self):
        step = Step('hold', do=[errors.StorageError(reason='no')])
        with contextlib.suppress(errors.StorageError), \
                self.transaction() as txn, txn.hold(step):
            self.fail('the block runs without its hold')
        self.assertEqual([('hold', 'intent')], step.seen['undo'])

    def test_no_room_for_the_intent_is_no_act(self):
        def act():
            with self.transaction() as txn, txn.hold(Step('outer')), \
                    disk_fixture.FullDisk():
                txn.artifact(Step('image'))

        self.assertRaises(errors.JournalError, act)
        self.assertNotIn('do image', self.world.log)
        self.assert_nothing_left()

    def test_no_room_for_the_outcome_undoes_the_act(self):
        disk = self.useFixture(disk_fixture.Disk())

        class Fills(Step):
            def do(self, world):
                super().do(world)
                disk.fill()

        def act():
            with self.transaction() as txn, txn.hold(Fills('hold')):
                self.fail('the block runs without a record')

        self.assertRaises(errors.JournalError, act)
        self.assertEqual(['do hold', 'undo hold'], self.world.log)
        self.assert_nothing_left()

    def test_no_room_for_the_end_is_no_failure(self):
        # The world is as it should be, and the record goes at the end.
        disk = self.useFixture(disk_fixture.Disk())
        with self.transaction() as txn, txn.hold(Step('hold')):
            disk.fill()
        self.assert_nothing_left()
        self.assertIn('cannot be written', self.logged.output)

    def test_no_room_at_all_is_no_operation(self):
        with disk_fixture.FullDisk():
            self.assertRaises(errors.JournalError,
                              self.transaction().__enter__)
        self.assertEqual([], list(self.store.path.iterdir()))


@ddt.ddt
class Law3TestCase(steps.TransactionTestCase):
    """undo runs even if do failed: it may have acted all the same."""

    @ddt.data('artifact', 'hold')
    def test_a_lost_answer_leaves_nothing(self, role):
        step = Step('a', do=[errors.StorageError(reason='lost')])

        def act():
            with self.transaction() as txn:
                if role == 'artifact':
                    txn.artifact(step)
                else:
                    with txn.hold(step):
                        self.fail('the block runs without its hold')

        self.assertRaises(errors.StorageError, act)
        self.assertEqual(['do a', 'undo a'], self.world.log)
        self.assert_nothing_left()

    def test_also_when_it_was_started_late(self):
        def act():
            step = Step('a', do=[ValueError()])
            with self.transaction() as txn, \
                    txn.hold(step, start=False) as held:
                held.start()

        self.assertRaises(ValueError, act)
        self.assert_nothing_left()

    def test_also_when_it_was_not_started(self):
        def act():
            with self.transaction() as txn, \
                    txn.hold(Step('a'), start=False):
                raise ValueError

        self.assertRaises(ValueError, act)
        self.assertEqual(['undo a'], self.world.log)


@ddt.ddt
class Law4TestCase(steps.TransactionTestCase):
    """undo is idempotent: what was undone is not asked again, else it is."""

    def test_what_is_undone_is_not_asked_again(self):
        with self.transaction() as txn, txn.hold(Step('a')):
            pass
        self.assertEqual(['do a', 'undo a'], self.world.log)

    def test_it_may_be_let_go_early(self):
        with self.transaction() as txn, txn.hold(Step('a')) as held:
            self.assertTrue(held.release_early())
            self.assertEqual(set(), self.world.there)
            self.assertEqual([('a', 'undone')], self.world.phases())
        self.assertEqual(['do a', 'undo a'], self.world.log)

    def test_what_cannot_be_let_go_early_is_when_the_block_ends(self):
        step = Step('a', undo=[errors.StorageError(reason='busy')])
        with self.transaction() as txn, txn.hold(step) as held:
            self.assertFalse(held.release_early())
            self.assertEqual([('a', 'done')], self.world.phases())
            txn.commit()
        self.assert_nothing_left()

    def test_what_failed_is_asked_once_more_at_the_end(self):
        step = Step('a', undo=[errors.StorageError(reason='busy')])

        def act():
            with self.transaction() as txn, txn.hold(step):
                pass

        error = self.assertRaises(errors.UndoFailed, act)
        self.assertIn('busy', str(error))
        self.assertEqual('a', error.step)
        self.assertIsInstance(error.__cause__, errors.StorageError)
        self.assert_nothing_left()


class Law6TestCase(steps.TransactionTestCase):
    """An error in one undo never stops the others and is never lost."""

    def test_steps_are_undone_in_reverse(self):
        def act():
            with self.transaction() as txn:
                txn.artifact(Step('1'))
                with txn.hold(Step('2')), txn.hold(Step('3')):
                    txn.artifact(Step('4'))
                    raise ValueError

        self.assertRaises(ValueError, act)
        # Blocks end before the operation does.
        self.assertEqual(['undo 3', 'undo 2', 'undo 4', 'undo 1'],
                         self.world.log[4:])
        self.assert_nothing_left()

    def test_the_others_run_and_all_errors_are_told(self):
        stuck = [RuntimeError('stuck')] * 3
        full = [errors.StorageError(reason='full')] * 3

        def act():
            with self.transaction() as txn:
                txn.artifact(Step('image', undo=stuck))
                with txn.hold(Step('good')), txn.hold(Step('bad',
                                                           undo=full)):
                    raise ValueError

        error = self.assertRaises(errors.RollbackIncomplete, act)
        self.assertEqual({'image', 'bad'}, self.world.there)
        self.assertIn('image: stuck', str(error))
        self.assertIn('bad: full', str(error))
        self.assertNotIn('good', str(error))
        self.assertIn('guest', str(error))
        self.assertEqual('a-record', error.record)
        # What went wrong first is not lost either.
        self.assertIsInstance(error.__cause__, ValueError)

    def test_the_record_stays_for_the_next_start(self):
        def act():
            with self.transaction() as txn:
                txn.artifact(Step('image', undo=[ValueError()] * 3))
                with txn.hold(Step('hold')):
                    raise ValueError

        self.assertRaises(errors.RollbackIncomplete, act)
        self.assertEqual([('image', 'done'), ('hold', 'undone')],
                         self.world.phases())

        self.resume(Step('image'), Step('hold')).settle()
        self.assert_nothing_left()

    def test_a_hold_that_stays_is_told_though_the_block_went_well(self):
        def act():
            with self.transaction() as txn:
                with txn.hold(Step('hold', undo=[ValueError('no')] * 3)):
                    pass
                self.fail('the flow goes on with a hold that is held')

        error = self.assertRaises(errors.RollbackIncomplete, act)
        self.assertIn('hold: no', str(error))
        self.assertIsInstance(error.__cause__, errors.UndoFailed)

    def test_what_succeeds_the_second_time_is_told_once(self):
        # The error of the block wins: everything is as it was.
        step = Step('hold', undo=[ValueError('busy')])

        def act():
            with self.transaction() as txn, txn.hold(step):
                raise errors.ImageGone(call='look', reason='x')

        self.assertRaises(errors.ImageGone, act)
        self.assert_nothing_left()
        self.assertIn('busy', self.logged.output)

    def test_a_record_that_cannot_be_removed_is_told(self):
        def act():
            with self.transaction():
                self.world.store.path.rename(
                    self.store.path.parent / 'away')
                raise ValueError

        error = self.assertRaises(errors.JournalError, act)
        self.assertIsInstance(error.__cause__, ValueError)


class Law7TestCase(steps.TransactionTestCase):
    """commit is one durable write; after it nothing raises any more."""

    def test_it_is_on_the_disk(self):
        with self.transaction() as txn:
            self.assertFalse(self.store.read('a-record').committed)
            txn.commit()
            self.assertTrue(self.store.read('a-record').committed)

    def test_what_is_not_on_the_disk_is_not_committed(self):
        def act():
            with self.transaction() as txn:
                txn.artifact(Step('image'))
                with disk_fixture.FullDisk():
                    txn.commit()

        self.assertRaises(errors.JournalError, act)
        self.assert_nothing_left()

    def test_a_hold_that_stays_is_logged_and_not_raised(self):
        with self.transaction() as txn:
            txn.artifact(Step('image'))
            with txn.hold(Step('scratch', undo=[ValueError('full')] * 3)):
                txn.commit()

        self.assertEqual({'image', 'scratch'}, self.world.there)
        self.assertIn('scratch: full', self.logged.output)
        self.assertTrue(self.store.read('a-record').committed)

        self.resume(Step('image'), Step('scratch')).settle()
        self.assertEqual({'image'}, self.world.there)
        self.assertEqual([], self.store.ids())

    def test_a_record_that_stays_is_logged_and_not_raised(self):
        with self.transaction() as txn:
            txn.artifact(Step('image'))
            txn.commit()
            self.store.path.rename(self.store.path.parent / 'away')
        self.assertEqual({'image'}, self.world.there)
        self.assertIn('a-record', self.logged.output)

    def test_an_interrupt_comes_too_late(self):
        with self.transaction() as txn:
            txn.artifact(Step('image'))
            with txn.hold(Step('scratch', undo=[KeyboardInterrupt()])):
                txn.commit()
        self.assertEqual({'image'}, self.world.there)
        self.assertEqual([], self.store.ids())
        self.assertNotIn('undo image', self.world.log)
