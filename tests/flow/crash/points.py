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

"""One flow, hit at every call it makes to the outside.

A flow is described by a class that derives from :class:`CrashTests` and from
``FlowTestCase``; its calls are found out by letting it run once.
"""

import collections.abc as cabc
import dataclasses
import typing as ty

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.model import observer as observer_module
from nova_snap.model import result as result_model
from tests.fakes import calls as fake_calls
from tests.fakes import files as fake_files
from tests.fakes import node as fake_node
from tests.flow import checks

When = fake_calls.When
Call = fake_calls.Call
Plant = cabc.Callable[[fake_node.Process], None]

# Runs of recovery after which nothing may be left.
RECOVERIES = 2


@dataclasses.dataclass
class Run:
    """One run of a flow that was hit.

    :ivar ended: what it returned or raised
    """

    fake: fake_node.FakeNode
    before: checks.State
    process: fake_node.Process
    ended: result_model.Result | BaseException

    def is_committed(self) -> bool:
        """Tell what the journal says, before anybody recovers."""
        found = list(self.fake.process().store.read_all())
        return any(record.committed for record in found)

    def records(self) -> list[str]:
        """Return the ids of the records that are left."""
        return self.fake.process().store.ids()

    def has_succeeded(self) -> bool:
        """Tell whether it did what it was asked for."""
        return isinstance(self.ended, result_model.Result)

    def may_keep(self) -> bool:
        """Tell whether the image stays after a recovery, before there is one.

        What is not committed is taken back.
        """
        return self.is_committed()

    def recover(self) -> list[recovery.Finding]:
        """Settle, in a new process."""
        return recovery.recover(self.fake.process().node)

    def wrong(self) -> list[str]:
        """Say what must not be so at the end."""
        left = [f'record {one} is left' for one in self.records()]
        return [*checks.touched(self.fake, self.before),
                *checks.neither_all_nor_nothing(self.fake), *left]

    def images(self) -> int:
        """Return how many images there are."""
        return len(self.fake.glance.stored)


class Crashes:
    """Run a flow and hit it; which guest it is, is the subclass's to say.

    :cvar makes: how many images the flow leaves
    """

    asked: ty.Mapping[str, ty.Any] = {}
    run_type = Run
    makes = 1

    def prepare(self, fake: fake_node.FakeNode) -> None:
        """Bring the guest into its state."""
        fake.guest.create()

    def flow(self, process: fake_node.Process) -> ty.Any:
        """Run the flow in a process."""
        return self.take(process, **self.asked)

    def caller_acts(self, run: Run) -> None:
        """Do what the flow's caller does, who is alive, after the flow."""

    def hit(self, plant: Plant = lambda process: None,
            observer: observer_module.Observer | None = None) -> Run:
        """Run the flow once, on a node of its own."""
        fake = self.make_node(self.spec)
        self.prepare(fake)
        before = checks.state_of(fake)
        process = fake.process(observer)
        plant(process)
        try:
            ended = self.flow(process)
        except (errors.SnapError, KeyboardInterrupt,
                fake_calls.Killed) as exc:
            ended = exc
        fake.libvirtd.live_on()
        run = self.run_type(fake, before, process, ended)
        if not process.calls.is_dead:
            self.caller_acts(run)
        return run

    def calls(self) -> list[Call]:
        """Return the calls of a run that nothing happens to."""
        run = self.hit()
        self.assertTrue(run.has_succeeded(), run.ended)
        self.assertEqual([], run.wrong())
        self.assertEqual(self.makes, run.images())
        return run.process.calls.made

    def points(self) -> cabc.Iterator[tuple[Call, When]]:
        """Yield every point at which something can happen."""
        for call in self.calls():
            yield call, When.BEFORE
            if call.has_middle:
                yield call, When.DURING
            yield call, When.AFTER

    def judge(self, problems: list[str]) -> None:
        """Fail with all that was found, one line each."""
        if problems:
            self.fail('\n'.join(problems))


class KillTests(Crashes):
    """The process is killed, and another one recovers."""

    def test_killed_anywhere_it_is_recovered(self) -> None:
        problems = []
        for call, when in self.points():
            run = self.hit(lambda process, at=call.number, when=when:
                           process.calls.kill(at, when))
            self.assertTrue(run.process.calls.is_dead, f'{when} {call}')
            stays, left = run.may_keep(), run.records()
            outcomes = {finding.outcome for finding in run.recover()}
            wrong = run.wrong()
            if outcomes - {recovery.Outcome.SETTLED}:
                wrong.append(f'recovery: {outcomes}')
            if left and run.images() != stays * self.makes:
                wrong.append(f'an image stays is {stays}, images: '
                             f'{run.images()}')
            problems += _at(when, call, wrong)
        self.judge(problems)

    def test_killed_anywhere_and_again_while_it_is_recovered(self) -> None:
        self.judge(self._hit_twice(lambda calls, number:
                                   calls.kill(number)))

    def test_killed_anywhere_and_a_call_of_the_recovery_fails(self) -> None:
        self.judge(self._hit_twice(lambda calls, number:
                                   calls.fail(number)))

    def _hit_twice(self, plant: cabc.Callable[
            [fake_calls.Calls, int], None]) -> list[str]:
        problems = []
        for first in self.calls():
            if not first.changes or first.outside == fake_files.JOURNAL:
                continue
            second, more = 0, True
            while more:
                run = self.hit(lambda process, at=first.number:
                               process.calls.kill(at, When.AFTER))
                more, wrong = _recover_hit(run, plant, second)
                problems += _at(f'call {second} after a kill after', first,
                                wrong)
                second += 1
        return problems


class FailTests(Crashes):
    """Something fails, and there is nothing to recover."""

    def test_any_call_fails(self) -> None:
        problems = []
        for call, when in self.points():
            if not call.can_fail or when == When.DURING:
                continue
            run = self.hit(lambda process, at=call.number, when=when:
                           process.calls.fail(at, when))
            problems += _at(when, call, _after_failure(run, call, self.makes))
        self.judge(problems)

    def test_all_of_a_kind_fails_from_any_call_on(self) -> None:
        problems = []
        for call in self.calls():
            if not call.can_fail or not call.changes:
                continue
            run = self.hit(lambda process, call=call:
                           process.calls.fail_outside(call.outside,
                                                      call.number))
            if run.records():
                for _ in range(RECOVERIES):
                    run.recover()
            problems += _at('since', call, run.wrong())
        self.judge(problems)

    def test_libvirtd_restarts_anywhere(self) -> None:
        problems = []
        for call in self.calls():
            run = self.hit(lambda process, at=call.number:
                           process.calls.then(
                               at, process.fake.libvirtd.restart))
            wrong = run.wrong()
            if not run.has_succeeded():
                wrong.append(f'{run.ended!r}')
            problems += _at('restarted after', call, wrong)
        self.judge(problems)


class CrashTests(KillTests, FailTests):
    """The tests that hold for every flow of the command."""

    def test_cancelled_anywhere_it_is_put_back(self) -> None:
        problems = []
        for call, when in self.points():
            run = self.hit(lambda process, at=call.number, when=when:
                           process.calls.interrupt(at, when))
            # The commit was written, or is about to be: the command takes
            # no more cancellations then.
            late = ('before commit', 0, 0) in run.fake.said
            if late:
                run.recover()
            elif not isinstance(run.ended, KeyboardInterrupt):
                problems += _at(when, call, [f'{run.ended!r}'])
            elif run.images():
                problems += _at(when, call, ['the image stays'])
            problems += _at(when, call, run.wrong())
        self.judge(problems)


def _after_failure(run: Run, call: Call, makes: int) -> list[str]:
    """Say what is wrong after one call failed: nothing needs a recovery.

    :param makes: how many images there are where the flow succeeded
    """
    if call.outside == fake_files.JOURNAL and call.name == 'remove':
        run.recover()
    wrong = run.wrong()
    if run.images() != makes * run.has_succeeded():
        wrong.append(f'{run.ended!r} and images: {run.images()}')
    return wrong


def _recover_hit(run: Run, plant: cabc.Callable[
        [fake_calls.Calls, int], None],
        number: int) -> tuple[bool, list[str]]:
    """Recover with one change being hit, then without.

    :returns: whether there was a change of that number, and what is wrong
    """
    process = run.fake.process()
    changes: list[int] = []
    numbered = fake_calls.Calls.make

    def make(outside: str, name: str, *args: ty.Any,
             **kwargs: ty.Any) -> ty.Any:
        if kwargs.get('changes', True) and kwargs.get('error'):
            if len(changes) == number:
                plant(process.calls, len(process.calls.made))
            changes.append(len(process.calls.made))
        return numbered(process.calls, outside, name, *args, **kwargs)

    process.calls.make = make
    try:
        recovery.recover(process.node)
    except fake_calls.Killed:
        pass
    for _ in range(RECOVERIES):
        run.recover()
    return len(changes) > number, run.wrong()


def _at(when: str, call: Call, wrong: list[str]) -> list[str]:
    return [f'{when} {call.number} ({call}): {what}' for what in wrong]
