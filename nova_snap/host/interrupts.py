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

"""Keep an interrupt out of a fork.

Between fork and exec Python runs code of its own, in both processes, with
locks held: what a signal handler raises there is dropped, and the locks with
it. So the code that forks defers interrupts, and the code that turns a
signal into an exception delivers it here.

:source: os.register_at_fork; Lib/logging/__init__.py _after_at_fork_child
"""

import collections.abc as cabc

Action = cabc.Callable[[], None]

# Signal handlers run in the main thread alone, so there is one of each.
_deferred = False
_waiting: list[Action] = []


def deliver(action: Action) -> None:
    """Run the action now, or as soon as interrupts are allowed again."""
    if _deferred:
        _waiting.append(action)
    else:
        action()


def defer() -> None:
    """Let no action run from here on."""
    global _deferred
    _deferred = True


def allow() -> None:
    """Let actions run again, first the one that waits; it may raise."""
    global _deferred
    _deferred = False
    if _waiting:
        action = _waiting[0]
        _waiting.clear()
        action()
