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

import sys

import ddt
import fixtures

from nova_snap import errors
from nova_snap.journal import store as store_module
from nova_snap.journal import transaction
from tests.unit.journal import steps

Step = steps.Step


@ddt.ddt
class InterruptTestCase(steps.TransactionTestCase):
    """Ctrl-C at any point leaves nothing, and comes out at the end."""

    def flow(self, interrupted, moment):
        """Run a flow that is interrupted at one moment of one step."""
        def step(kind, **faults):
            if kind == interrupted:
                faults.setdefault(moment, [KeyboardInterrupt()])
            return Step(kind, **faults)

        with self.transaction() as txn:
            txn.artifact(step('image'))
            with txn.hold(step('scratch')), txn.hold(step('mirror'),
                                                     start=False) as mirror:
                with txn.hold(step('undefined')) as undefined:
                    mirror.start()
                    undefined.release_early()
                with txn.hold(step('frozen')):
                    self.world.log.append('the point in time')
                    if interrupted == 'block':
                        raise KeyboardInterrupt
            if interrupted == 'image' and moment == 'undo':
                raise ValueError
            if not interrupted:
                txn.commit()

    STEPS = ('image', 'scratch', 'mirror', 'undefined', 'frozen')

    @ddt.data(*((step, moment) for step in STEPS
                for moment in ('do', 'undo')), ('block', ''))
    @ddt.unpack
    def test_an_interrupt_in_a_step_undoes_all_of_it(self, step, moment):
        self.assertRaises(KeyboardInterrupt, self.flow, step, moment)
        self.assert_nothing_left()
        # What encloses a step was undone after it, whatever came between.
        undone = [words.split()[1] for words in self.world.log
                  if words.startswith('undo ')]
        last = {kind: len(undone) - 1 - undone[::-1].index(kind)
                for kind in undone}
        order = [kind for kind in ('frozen', 'undefined', 'mirror',
                                   'scratch', 'image') if kind in last]
        if 'frozen' in last and 'undefined' in last:
            # These two are next to each other.
            order.remove('undefined')
        self.assertEqual(order, sorted(order, key=last.get))

    def test_in_nothing_the_image_stays(self):
        self.flow(None, None)
        self.assertEqual({'image'}, self.world.there)
        self.assertEqual([], self.store.ids())

    def test_it_does_not_hide_what_could_not_be_undone(self):
        def act():
            with self.transaction() as txn:
                txn.artifact(Step('first', undo=[ValueError('stuck')] * 3))
                txn.artifact(Step('second', undo=[KeyboardInterrupt()]))
                raise ValueError

        error = self.assertRaises(errors.RollbackIncomplete, act)
        self.assertIn('first: stuck', str(error))
        self.assertEqual({'first'}, self.world.there)

    def test_a_second_one_leaves_the_record(self):
        # A second Ctrl-C ends it, and it says what is not put back.
        def act():
            with self.transaction() as txn:
                txn.artifact(Step('first'))
                txn.artifact(Step('second',
                                  undo=[KeyboardInterrupt()] * 2))

        error = self.assertRaises(errors.RollbackIncomplete, act)
        self.assertIn('second: KeyboardInterrupt', str(error))
        self.assertEqual({'second'}, self.world.there)
        self.assertEqual([('first', 'undone'), ('second', 'done')],
                         self.world.phases())

    def test_before_the_first_step_no_record_is_left(self):
        real = self.store.write

        def write(record):
            real(record)
            raise KeyboardInterrupt

        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.journal.store.Store.write',
            lambda store, record: write(record)))
        self.assertRaises(KeyboardInterrupt, self.transaction().__enter__)
        self.assertEqual([], self.store.ids())


class EveryLineTestCase(steps.TransactionTestCase):
    """An interrupt may come at any line of this room, and does here."""

    def interrupted(self, number):
        """Run a flow, interrupt it at a line and tell whether it was."""
        lines = iter(range(number, -1, -1))

        def trace(frame, event, _argument):
            if frame.f_code.co_filename not in (store_module.__file__,
                                                transaction.__file__):
                return None
            if event == 'line' and next(lines, None) == 0:
                raise KeyboardInterrupt
            return trace

        tracer = sys.gettrace()
        sys.settrace(trace)
        try:
            with self.transaction() as txn:
                txn.artifact(Step('image'))
                with txn.hold(Step('hold')):
                    txn.commit()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        return next(lines, None) is None

    def test_an_interrupt_leaves_all_or_nothing(self):
        number = 0
        while self.interrupted(number):
            for record_id in self.store.ids():
                entries = self.store.read(record_id).entries
                self.resume(*(Step(e.kind) for e in entries)).settle()
            self.assertIn(self.world.there, (set(), {'image'}), number)
            self.assertEqual([], list(self.store.path.iterdir()), number)
            self.world.there.clear()
            number += 1
        self.assertEqual({'image'}, self.world.there)
        # The flow has some hundred lines of this room.
        self.assertGreater(number, 100)
