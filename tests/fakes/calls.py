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

"""Everything that a process does to the outside, in order.

A call can fail, or be the death of its process, before its effect, after it,
or half way through where it has a half way.
"""

import collections.abc as cabc
import dataclasses
import typing as ty

from nova_snap import compat


class Killed(BaseException):
    """The process is dead: what it still calls has no effect.

    Not an Exception: no process catches a SIGKILL.
    """


class When(compat.StrEnum):
    """At which point of a call something happens."""

    BEFORE = 'before'
    DURING = 'during'
    AFTER = 'after'


@dataclasses.dataclass(frozen=True)
class Call:
    """One call.

    :ivar changes: it may change the world; otherwise it only looks
    :ivar can_fail: there is an error that the real world would raise here
    :ivar has_middle: the process may die while it is under way
    """

    number: int
    outside: str
    name: str
    words: str
    changes: bool
    can_fail: bool
    has_middle: bool

    def __str__(self) -> str:
        return f'{self.outside} {self.name} {self.words}'.strip()


Error = cabc.Callable[[], Exception]
Act = cabc.Callable[[Call, Error | None], None]


@dataclasses.dataclass
class Rule:
    """Something that happens at certain calls.

    :ivar times: how often; None is always
    """

    at: cabc.Callable[[Call], bool]
    when: When
    act: Act
    times: int | None = 1

    def matches(self, call: Call, when: When) -> bool:
        """Tell whether it is due, and count it."""
        if self.times == 0 or self.when != when or not self.at(call):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Calls:
    """The calls of one process.

    :ivar made: all of them
    :ivar is_dead: the process was killed
    :ivar before_each: called before each of them: the world goes on
    """

    def __init__(self, before_each: cabc.Callable[[], None]) -> None:
        self.made: list[Call] = []
        self._before_each = before_each
        self._rules: list[Rule] = []
        self.is_dead = False

    # What happens, for a test to say

    def kill(self, number: int, when: When = When.BEFORE) -> None:
        """Kill the process at a call."""
        self._add(_numbered(number), when, self._die)

    def kill_named(self, name: str, when: When = When.AFTER) -> None:
        """Kill the process at the first call of this name or words."""
        self._add(_named(name), when, self._die)

    def fail(self, number: int, when: When = When.BEFORE) -> None:
        """Let a call fail, without its effect or in spite of it."""
        self._add(_numbered(number), when, _fail)

    def interrupt(self, number: int, when: When = When.BEFORE) -> None:
        """Press Ctrl-C at a call."""
        self._add(_numbered(number), when, _interrupt)

    def fail_named(self, name: str, times: int | None = 1,
                   when: When = When.BEFORE) -> None:
        """Let the next calls of this name fail."""
        self._add(_named(name), when, _fail, times)

    def fail_outside(self, outside: str, since: int = 0) -> None:
        """Let everything of one kind fail from a call on."""
        self._add(lambda call: (call.outside == outside
                                and call.number >= since
                                and call.can_fail),
                  When.BEFORE, _fail, None)

    def then(self, call: str | int, act: cabc.Callable[[], None],
             when: When = When.AFTER) -> None:
        """Let another client act at a call: its number, name, or words."""
        at = _numbered(call) if isinstance(call, int) else _named(call)
        self._add(at, when, lambda call, error: act())

    # What was done, for a test to read

    def changes(self) -> list[str]:
        """Return what was done to the world, in words, in order."""
        return [str(call) for call in self.made if call.changes]

    def of(self, outside: str) -> list[str]:
        """Return what was done to one kind of outside."""
        return [str(call).partition(' ')[2] for call in self.made
                if call.changes and call.outside == outside]

    def names(self) -> set[str]:
        """Return the names of all calls."""
        return {call.name for call in self.made}

    # For the fakes

    def make(self, outside: str, name: str,
             effect: cabc.Callable[[], ty.Any], *, words: str = '',
             changes: bool = True, error: Error | None = None,
             half: cabc.Callable[[], None] | None = None) -> ty.Any:
        """Make one call.

        :param error: makes what the real world raises when it fails
        :param half: does what is done when the process dies half way
        """
        self._live()
        call = Call(len(self.made), outside, name, words, changes,
                    error is not None, half is not None)
        self.made.append(call)
        self._before_each()
        self._apply(call, When.BEFORE, error)
        if half is not None:
            for rule in self._due(call, When.DURING):
                half()
                rule.act(call, error)
        try:
            result = effect()
        except Exception:
            self._apply(call, When.AFTER, error)
            raise
        self._apply(call, When.AFTER, error)
        return result

    def _live(self) -> None:
        if self.is_dead:
            raise Killed

    def _die(self, call: Call, error: Error | None) -> None:
        self.is_dead = True
        raise Killed

    def _add(self, at: cabc.Callable[[Call], bool], when: When, act: Act,
             times: int | None = 1) -> None:
        self._rules.append(Rule(at, when, act, times))

    def _due(self, call: Call, when: When) -> list[Rule]:
        return [rule for rule in self._rules if rule.matches(call, when)]

    def _apply(self, call: Call, when: When, error: Error | None) -> None:
        for rule in self._due(call, when):
            rule.act(call, error)


def _numbered(number: int) -> cabc.Callable[[Call], bool]:
    return lambda call: call.number == number


def _named(name: str) -> cabc.Callable[[Call], bool]:
    return lambda call: name in (call.name, str(call))


def _fail(call: Call, error: Error | None) -> None:
    assert error is not None, f'{call} cannot fail'
    raise error()


def _interrupt(call: Call, error: Error | None) -> None:
    raise KeyboardInterrupt
