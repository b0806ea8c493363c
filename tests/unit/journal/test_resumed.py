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

import ddt

from nova_snap import errors
from nova_snap.journal import record as record_model
from tests.unit.journal import records
from tests.unit.journal import steps

Phase = record_model.Phase
Role = record_model.Role
Step = steps.Step


@ddt.ddt
class ResumeTestCase(steps.TransactionTestCase):
    """The record of a dead owner is settled by another process."""

    def leave(self, committed, **phases):
        entries = [
            record_model.Entry(kind, Role.ARTIFACT if kind == 'image'
                               else Role.HOLD, phase, {'kind': kind})
            for kind, phase in phases.items()]
        self.store.write(records.record(committed=committed,
                                        entries=entries))
        self.world.there = {kind for kind, phase in phases.items()
                            if phase == Phase.DONE}
        return self.resume(*(Step(kind) for kind in phases))

    @ddt.named_data(
        ['a step that may have been done is undone', False,
         {'image': Phase.INTENT}, ['undo image']],
        ['steps that were done are undone in reverse', False,
         {'image': Phase.DONE, 'a': Phase.DONE, 'b': Phase.INTENT},
         ['undo b', 'undo a', 'undo image']],
        ['what was undone is not asked again', False,
         {'image': Phase.DONE, 'a': Phase.UNDONE}, ['undo image']],
        ['after the commit only holds are let go', True,
         {'image': Phase.DONE, 'a': Phase.DONE, 'b': Phase.UNDONE},
         ['undo a']],
        ['a record without a step is forgotten', False, {}, []],
    )
    def test_what_is_left_of_each_phase_is_settled(
        self, committed, phases, log
    ):
        self.leave(committed, **phases).settle()
        self.assertEqual(log, self.world.log)
        self.assertEqual({'image'} if committed else set(),
                         self.world.there)
        self.assertEqual([], self.store.ids())

    def test_the_request_is_never_run_again(self):
        self.leave(False, image=Phase.INTENT, a=Phase.INTENT).settle()
        self.assertNotIn('do', ' '.join(self.world.log).replace('undo', ''))

    def test_it_is_written_down_how_far_one_came(self):
        self.leave(False, image=Phase.DONE, a=Phase.DONE)
        bad = Step('image', undo=[ValueError('down')])
        self.assertRaises(errors.RollbackIncomplete,
                          self.resume(bad, Step('a')).settle)
        self.assertEqual([('image', 'done'), ('a', 'undone')],
                         self.world.phases())

    def test_interrupted_again_it_is_settled_the_third_time(self):
        self.leave(False, image=Phase.DONE, a=Phase.DONE)
        stopped = Step('image', undo=[KeyboardInterrupt()] * 2)
        self.assertRaises(errors.RollbackIncomplete,
                          self.resume(stopped, Step('a')).settle)

        self.resume(Step('image'), Step('a')).settle()
        self.assert_nothing_left()

    def test_each_entry_has_its_step(self):
        self.leave(False, image=Phase.DONE, a=Phase.DONE)
        self.assertRaises(ValueError, self.resume, Step('image'))
        self.assertEqual(['a-record'], self.store.ids())
