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

"""Run cases, one after the other, and look at the world after each."""

import collections
import collections.abc as cabc
import contextlib
import dataclasses
import json
import time

import libvirt

from tests.faults import actions
from tests.faults import aftermath as aftermath_module
from tests.faults import backends
from tests.faults import calls as calls_module
from tests.faults import cases as cases_module
from tests.faults import children as children_module
from tests.faults import defects
from tests.faults import flows as flows_module
from tests.faults import harm
from tests.faults import kinds
from tests.faults import last_image
from tests.faults import scenarios
from tests.faults import scene as scene_module
from tests.faults import trial as trial_module
from tests.faults import world
from tests.lab import errors
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proxy

# Of the command: see nova_snap/cmd/main.py. An option can turn out to be
# wrong when Ceph or Glance answers.
DONE, FAILED, CONFIG, REFUSED, LEFT, CANCELLED = 0, 1, 2, 3, 4, 130
ENDS = {DONE: 'done', FAILED: 'failed', CONFIG: 'misconfigured',
        REFUSED: 'refused', LEFT: 'left', CANCELLED: 'cancelled'}

# Cases with images of other guests than that of the flow.
SEVERAL = ('eight_guests', 'recovery_next_to_another', 'agent',
           'unreadable_disk')
# After these a guest is not what it was.
RENEWED = (kinds.After.ANY, kinds.After.AWAY)
# The call by which an image begins as the last one.
CLONE = 'Ceph.clone'
# Seconds until a guest is off whose button was pressed, or is up again.
SHUTDOWN_TIMEOUT = 60
# Cases between two looks at what a guest's disk holds, which cost a boot.
CYCLE = 40


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a case ended.

    :ivar how: in a word
    :ivar problems: the promises that are broken; none is well
    :ivar struck: the fault has happened
    :ivar harm: that a recovery has found, and undone
    """

    case: cases_module.Case
    how: str
    seconds: float
    problems: tuple[str, ...] = ()
    struck: bool = True
    harm: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """What is printed of it."""
        names = defects.at(self.case)
        known = f' [{", ".join(names)}]' if names else ''
        words = ('ok' if not self.problems else 'not ok')
        found = f' ({", ".join(self.harm)})' if self.harm else ''
        return '\n  '.join((
            f'{words} {self.case.name}: {self.how}{found}, '
            f'{self.seconds:.1f} s{known}', *self.problems))


class Run:
    """One campaign's run."""

    def __init__(self, scene: scene_module.Scene) -> None:
        self._scene = scene
        self._backends = backends.Backends(scene)
        self._last = last_image.LastImage(scene)

    def stop(self) -> None:
        """End what some flows alone needed."""
        if self._scene.spared:
            self._backends.turn_to(flows_module.Store.CEPH)
            self._last.end()
        self._backends.stop()

    def calls(self, flow: flows_module.Flow) -> list[calls_module.Call]:
        """Run a flow that nothing happens to, and return its calls.

        :raises LabError: when it fails all the same
        """
        guest = self._ready(flow)
        known = set(self._scene.images())
        ended, _ = self._take(cases_module.Case(flow.name, '', '',
                                                kinds.NOTHING))
        if ended.code:
            raise errors.LabError(f'{flow.name} fails by itself: '
                                  f'{ended.stderr}')
        if last_image.is_needed(flow) and CLONE not in [
                call.name for call in ended.calls]:
            raise errors.LabError(f'{flow.name} begins anew by itself: '
                                  f'{ended.stdout}')
        requests = self._requests()
        new = self._new_images(known)
        self._backends.problems(flow, guest, new)
        self._scene.delete_all(new)
        return [*ended.calls, *requests, calls_module.Call(
            calls_module.WHOLE, 'snapshot', 1, flow.name)]

    def _ready(self, flow: flows_module.Flow) -> guest_domain.Guest:
        """Let all that a snapshot begins with be there.

        :raises LabError: when it is not
        """
        self._backends.turn_to(flow.store)
        guest = self._scene.guest(flow.kind)
        if last_image.is_needed(flow):
            self._last.make(trial_module.Trial.of(self._scene, flow, guest))
        self._scene.said.clear()
        return guest

    def _requests(self) -> list[calls_module.Call]:
        """Return the requests that came by the proxy, as calls."""
        counts: collections.Counter[str] = collections.Counter()
        found = []
        for service, between in self._backends.proxies().items():
            for seen in between.seen:
                call = calls_module.request(service, seen.method, seen.path,
                                            1)
                counts[call.name] += 1
                found.append(dataclasses.replace(
                    call, ordinal=counts[call.name]))
        return found

    def case(self, case: cases_module.Case) -> Outcome:
        """Run one case, look at everything, and make it good again."""
        began = time.monotonic()
        try:
            outcome = self._case(case)
        except (errors.LabError, libvirt.libvirtError, OSError,
                LookupError) as exc:
            # The next case gets another guest.
            outcome = Outcome(case, 'not looked at', 0, (
                f'{world.LEFT}: the look at it failed: {exc!r}',))
        kind = flows_module.FLOWS[case.flow].kind
        if outcome.problems:
            self._scene.renew(kind)
        return dataclasses.replace(outcome,
                                   seconds=time.monotonic() - began)

    def all(self, cases: cabc.Sequence[cases_module.Case]
            ) -> cabc.Iterator[Outcome]:
        """Run cases; yield how each ended.

        Once in a while, and in the end, look whether the guest's own record
        of its writes has a gap. The case before that has it then.

        :raises LabError: when the lab itself fails
        """
        for number, case in enumerate(cases, start=1):
            outcome = self.case(case)
            if number % CYCLE == 0 or number == len(cases):
                outcome = dataclasses.replace(outcome, problems=(
                    *outcome.problems, *self._gaps(case),
                    *world.file_problems(self._scene)))
            yield outcome

    def _gaps(self, case: cases_module.Case) -> list[str]:
        kind = flows_module.FLOWS[case.flow].kind
        return world.write_problems(self._scene, self._scene.guest(
            kind if kind == flows_module.Kind.TRACKED
            else flows_module.Kind.RUNNING))

    def _case(self, case: cases_module.Case) -> Outcome:
        flow = flows_module.FLOWS[case.flow]
        guest = self._ready(flow)
        known = set(self._scene.images())
        before = world.look(guest)
        if case.fault.kind == 'scenario':
            return self._scenario(case, guest, known, before)
        ended, acts = self._take(case)
        problems = _end_problems(case, ended)
        committed = self._is_committed(ended)
        self._make_good()
        problems += _let_others_finish(case, ended, self._scene, guest,
                                       before.seen.boots)
        trial = trial_module.Trial.of(self._scene, flow, guest)
        after = aftermath_module.Aftermath(trial)
        has_record = bool(self._scene.left())
        harmed = harm.done(guest) if has_record else []
        if ended.struck:
            problems += [f'{world.LEFT}: it proves nothing: not {what}'
                         for what in harm.missing(case, harmed)]
        if has_record and ended.struck and case.fault.aftermath:
            getattr(after, case.fault.aftermath)()
        problems += after.said
        if self._scene.has_files():
            problems += _recovery_problems(trial.recover())
        problems += acts.end_foreign_job()
        problems += world.guest_problems(
            guest, before, _wanted(case, ended, has_record=has_record),
            is_cold=flow.is_cold)
        problems += world.node_problems(self._scene)
        reported = before.last_record, guest.last_record()
        problems += self._restart_problems(case, guest)
        followed = self._follow(case, guest, known)
        problems += [*followed.problems, *self._image_problems(
            flow, known, committed * flow.images + after.images, guest,
            reported)]
        self._restore(case, guest, flow.kind)
        how = ', '.join(filter(None, (_how(ended, committed), followed.how)))
        return Outcome(case, how, 0, tuple(problems), ended.struck,
                       tuple(harmed))

    def _scenario(self, case: cases_module.Case, guest: guest_domain.Guest,
                  known: set[str], before: world.Looked) -> Outcome:
        """Run a case that is a snapshot as a whole, or several."""
        flow = flows_module.FLOWS[case.flow]
        scenario = scenarios.Scenarios(
            trial_module.Trial.of(self._scene, flow, guest))
        problems = scenario.run(case.fault.value)
        problems += world.guest_problems(guest, before, kinds.After.SAME,
                                         is_cold=flow.is_cold)
        problems += world.node_problems(self._scene)
        is_its = case.fault.value.partition(' ')[0] not in SEVERAL
        reported = before.last_record, guest.last_record()
        problems += self._follow(case, guest, known).problems
        problems += self._image_problems(
            flow, known, scenario.images, guest,
            reported if is_its else None)
        return Outcome(case, scenario.how, 0, tuple(problems))

    def _restart_problems(self, case: cases_module.Case,
                          guest: guest_domain.Guest) -> list[str]:
        """Start a guest that is off at the end of a case, and look at it."""
        flow = flows_module.FLOWS[case.flow]
        if (flow.kind in flows_module.OFF or case.fault.after in RENEWED
                or scene_module.is_gone(guest) or guest.domain.isActive()):
            return []
        self._backends.let_start(flow)
        return world.restart_problems(self._scene, guest)

    def _follow(self, case: cases_module.Case, guest: guest_domain.Guest,
                known: set[str]) -> last_image.Followed:
        """Take the image after that of the case, where it begins as one."""
        flow = flows_module.FLOWS[case.flow]
        if (not last_image.is_needed(flow) or case.fault.after in RENEWED
                or scene_module.is_gone(guest)):
            return last_image.Followed()
        return self._last.follow(
            trial_module.Trial.of(self._scene, flow, guest),
            frozenset(image['id'] for image in self._new_images(known)))

    def _take(self, case: cases_module.Case) -> tuple[
            children_module.Ended, actions.Actions]:
        """Run the command, and let the fault happen in it.

        :returns: how it ended, and what has acted
        """
        flow = flows_module.FLOWS[case.flow]
        fault, scene = case.fault, self._scene
        guest = scene.guest(flow.kind)
        for between in self._backends.proxies().values():
            between.clear()
        injected = None
        if fault.kind == 'proxy':
            between = self._backends.proxies()[
                case.call.partition('-')[0]]
            injected = between.inject(self._proxy_fault(case))
        acting = actions.Actions(scene, guest)
        socket = scene.folder / 'acting'
        with children_module.acting(socket, acting.act):
            trial = trial_module.Trial.of(scene, flow, guest,
                                          on_small=fault.on_small)
            ended = trial.take(
                at=case.call, when=case.when,
                kind=fault.kind if injected is None else '',
                value=fault.value if injected is None else None,
                lasts=fault.lasts, socket=str(socket))
            acting.finish()
        struck = (ended.struck and not acting.is_refused) or (
            injected is not None and injected.happened.is_set())
        return dataclasses.replace(ended, struck=struck), acting

    def _proxy_fault(self, case: cases_module.Case) -> proxy.Fault:
        """Return the fault of a request, as the proxy knows it."""
        name, _, ordinal = case.call.rpartition('.')
        method, pattern = calls_module.path_pattern(name)
        how = {'nth': int(ordinal), **case.fault.value}
        if 'call' in how:
            how['call'] = getattr(self._scene, how['call'])
        return proxy.Fault(method, pattern, **how)

    def _make_good(self) -> None:
        """Let what was broken for the case work again, for the recovery."""
        for between in self._backends.proxies().values():
            between.clear()
        self._scene.mend_small()

    def _is_committed(self, ended: children_module.Ended) -> bool:
        """Tell whether the image stays."""
        if ended.code >= 0:
            return ended.code == DONE
        left = self._scene.left()
        return (left[0]['committed'] if left else
                'Store.remove' in [call.name for call in ended.calls])

    def _image_problems(self, flow: flows_module.Flow, known: set[str],
                        wanted: int, guest: guest_domain.Guest,
                        reported: tuple[int, int] | None) -> list[str]:
        """Say what is wrong with the images that a case has left.

        :param reported: as of :func:`world.image_problems`
        """
        new = self._new_images(known)
        said = self._backends.problems(flow, guest, new)
        if flow.kind != flows_module.Kind.VOLUMES:
            said += world.image_problems(self._scene, new, reported)
        if len(new) != wanted:
            said.append(f'{world.LEFT}: {len(new)} images, not {wanted}')
        said += world.secret_problems(self._scene, new)
        self._scene.delete_all(new)
        self._last.tidy()
        return said

    def _new_images(self, known: set[str]) -> list[scene_module.Json]:
        return [image for image_id, image in self._scene.images().items()
                if image_id not in known | self._scene.spared]

    def _restore(self, case: cases_module.Case, guest: guest_domain.Guest,
                 kind: flows_module.Kind) -> None:
        """Bring the guest into the state in which a case begins."""
        if scene_module.is_gone(guest) or case.fault.after in RENEWED:
            self._scene.renew(kind)
        elif kind in flows_module.OFF:
            guest.destroy()
        elif kind == flows_module.Kind.PAUSED:
            if guest.domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                guest.domain.suspend()
        elif case.fault.after == kinds.After.RUNNING:
            self._scene.await_agent(guest)


def _let_others_finish(case: cases_module.Case,
                       ended: children_module.Ended,
                       scene: scene_module.Scene,
                       guest: guest_domain.Guest,
                       boots: int) -> list[str]:
    """Wait for what another client has begun, or let it take it back.

    :returns: what is wrong with what became of it
    """
    if not ended.struck or scene_module.is_gone(guest):
        return []
    state = guest.domain.state()[0]
    if case.fault.name == 'guest-shut-down':
        # A frozen guest goes down when it is thawed.
        with contextlib.suppress(errors.LabError):
            process.wait_until(lambda: not guest.domain.isActive(),
                               timeout=SHUTDOWN_TIMEOUT, what='shutdown')
    kind = flows_module.FLOWS[case.flow].kind
    boots_now = case.fault.name == 'guest-reset' or (
        case.fault.name == 'guest-started' and kind in flows_module.OFF)
    if boots_now and guest.domain.isActive():
        with contextlib.suppress(errors.LabError):
            process.wait_until(
                lambda: guest.console().count('GUEST boot ') > boots,
                timeout=SHUTDOWN_TIMEOUT, what='boot')
            guest.wait_for('^GUEST ready', since=guest.console().rfind(
                'GUEST boot '))
            guest.wait_for(r'^REC \d+', since=guest.console().rfind(
                'GUEST ready'))
            scene.await_agent(guest)
    if (case.fault.after == kinds.After.PAUSED
            # That one stays as it was.
            and kind != flows_module.Kind.PAUSED and guest.domain.isActive()):
        if state == libvirt.VIR_DOMAIN_PAUSED:
            guest.domain.resume()
        elif not flows_module.FLOWS[case.flow].is_cold:
            return [f'{world.LOST}: the pause of another client']
    return []


def _wanted(case: cases_module.Case, ended: children_module.Ended, *,
            has_record: bool) -> kinds.After:
    """Say how the guest must be: as it was, unless others have acted."""
    if not ended.struck or (case.fault.aftermath and not has_record):
        return kinds.After.SAME
    if case.fault.after == kinds.After.PAUSED:
        # It was resumed since.
        return kinds.After.SAME
    return case.fault.after


def _how(ended: children_module.Ended, committed: bool) -> str:
    """Say in a word how it ended."""
    if not ended.struck and ended.code == DONE:
        return 'not reached'
    if ended.code < 0:
        return 'killed, ' + ('finished' if committed else 'rolled back')
    return ENDS.get(ended.code, f'ended with {ended.code}')


def _end_problems(case: cases_module.Case,
                  ended: children_module.Ended) -> list[str]:
    """Say what is wrong with how the command ended."""
    said = []
    if ended.code == children_module.ENDLESS:
        said.append(f'{world.LEFT}: it has no end')
    elif ended.code not in ENDS and ended.code != children_module.KILLED:
        said.append(f'{world.LEFT}: it ended with {ended.code}')
    if 'Traceback' in ended.stderr:
        said.append(f'{world.LEFT}: {ended.stderr[-2000:]}')
    if case.fault.dies and ended.struck and (
            ended.code != children_module.KILLED):
        said.append(f'{world.LEFT}: it outlived a kill')
    if case.fault.name in ('sigterm', 'sigint') and (
            ended.struck and ended.code not in (DONE, CANCELLED)):
        said.append(f'{world.LEFT}: cancelled, it ended with {ended.code}: '
                    f'{ended.stderr}')
    return said


def _recovery_problems(ended: children_module.Ended) -> list[str]:
    """Say what a recovery did not settle."""
    try:
        outcomes = {finding['outcome'] for finding in
                    json.loads(ended.stdout)}
    except ValueError:
        outcomes = {f'{ended.code}: {ended.stderr}'}
    return [f'{world.LEFT}: recovery: {outcome}' for outcome in outcomes
            if outcome != 'settled']
