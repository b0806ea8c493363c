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

"""The cases: each call of each flow, with each fault that can happen there.

They are made from what a flow did when nothing happened to it.
"""

import collections
import collections.abc as cabc
import dataclasses
import itertools
import random

from tests.faults import calls as calls_module
from tests.faults import kinds
from tests.lab import errors

SEPARATOR = '/'


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: what is done, and when.

    :ivar call: in whose place, as ``blockJobAbort.1``
    """

    flow: str
    call: str
    when: str
    fault: kinds.Fault

    @property
    def name(self) -> str:
        """By which it runs alone."""
        return SEPARATOR.join((self.flow, self.call, self.when,
                               self.fault.name))

    @property
    def step(self) -> str:
        """The call, however often it is made."""
        return self.call.rpartition('.')[0]


def named(name: str, flows: cabc.Container[str]) -> Case:
    """Return the case of a name.

    :param flows: those that there are
    :raises LabError: when there is no such flow or fault
    """
    words = name.split(SEPARATOR)
    if len(words) != 4:
        raise errors.LabError(f'{name} is not FLOW/CALL/WHEN/FAULT')
    flow, call, when, fault = words
    if flow not in flows or fault not in kinds.BY_NAME:
        raise errors.LabError(f'{name} names an unknown flow or fault')
    return Case(flow, call, when, kinds.BY_NAME[fault])


def of_flow(flow: str, made: cabc.Iterable[calls_module.Call],
            faults: cabc.Iterable[kinds.Fault] = kinds.ALL) -> list[Case]:
    """Return the cases of a flow.

    :param made: the calls of a run that nothing happened to
    """
    tried = [call for call in made if call.is_tried]
    return [Case(flow, str(call), when, fault) for fault in faults
            for call in tried for when in fault.strikes(call)]


def sample(cases: cabc.Sequence[Case], count: int, seed: int) -> list[Case]:
    """Choose some cases, in their order: the same ones for the same seed.

    Of each flow and fault one, then of each another one, and so on.
    """
    rng = random.Random(seed)
    kinds_of: dict[tuple[str, str], list[Case]] = collections.defaultdict(
        list)
    for case in cases:
        kinds_of[case.flow, case.fault.name].append(case)
    for found in kinds_of.values():
        rng.shuffle(found)
    # Where there are fewer than these, no flow comes before another.
    piles = list(kinds_of.values())
    rng.shuffle(piles)
    turns = itertools.zip_longest(*piles)
    chosen: set[Case] = set(itertools.islice(
        (case for turn in turns for case in turn if case is not None),
        count))
    return [case for case in cases if case in chosen]
