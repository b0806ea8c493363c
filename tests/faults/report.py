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

"""What the campaign says at its end, and the matrix of the documentation."""

import collections
import collections.abc as cabc
import dataclasses
import json
import pathlib
import re
import time

from tests.faults import cases as cases_module
from tests.faults import kinds
from tests.faults import run as run_module
from tests.faults import world
from tests.lab import errors

# Where README has the table of the last run, and says when that was.
README = re.compile(
    r'(?P<before>\nthey must not be\. On )[0-9-]+(?P<between>[^:]*:\n\n)'
    r'\.\. list-table::.*?(?P<after>\n\n``doc/source/contributor/faults)',
    re.DOTALL)

PROMISES = (world.LOST, world.LEFT, world.LET_IN)


@dataclasses.dataclass(frozen=True)
class Row:
    """One case, as it is kept in a file."""

    name: str
    how: str
    seconds: float
    struck: bool
    problems: tuple[str, ...]
    defects: tuple[str, ...] = ()
    harm: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The parts of its name."""
        return self.name.split(cases_module.SEPARATOR)

    @property
    def step(self) -> str:
        """The call at which it happened, however often that is made."""
        return self.words[1].rpartition('.')[0]

    @property
    def group(self) -> kinds.Group:
        """What failed."""
        return kinds.BY_NAME[self.words[3]].group


def row(outcome: run_module.Outcome, defects: cabc.Iterable[str]) -> Row:
    """Keep what is to be kept of an outcome."""
    return Row(outcome.case.name, outcome.how, round(outcome.seconds, 2),
               outcome.struck, outcome.problems, tuple(defects),
               outcome.harm)


def write(path: pathlib.Path, rows: cabc.Iterable[Row]) -> None:
    """Write rows to a file that :func:`read` reads."""
    path.write_text(json.dumps([dataclasses.asdict(one) for one in rows],
                               indent=1))


def read(paths: cabc.Iterable[pathlib.Path]) -> list[Row]:
    """Read rows; of a case that is in several files the last one counts."""
    found = {}
    for path in paths:
        for one in json.loads(path.read_text()):
            found[one['name']] = Row(**{
                **one, 'problems': tuple(one['problems']),
                'defects': tuple(one['defects']),
                'harm': tuple(one.get('harm', ()))})
    return list(found.values())


def broken(rows: cabc.Iterable[Row], promise: str) -> int:
    """Count the cases in which a promise was broken."""
    return sum(any(problem.startswith(promise) for problem in one.problems)
               for one in rows)


def total(rows: cabc.Sequence[Row]) -> str:
    """Say in one line what there was."""
    tried = [one for one in rows if one.struck]
    survived = sum(not one.problems for one in tried)
    words = ', '.join(f'{broken(rows, promise)} {promise}'
                      for promise in PROMISES)
    missed = len(rows) - len(tried)
    return (f'{len(tried)} tried, {survived} survived, {words}'
            f'{f"; {missed} not reached" if missed else ""}; '
            f'{sum(one.seconds for one in rows):.0f} s')


def summary(rows: cabc.Sequence[Row]) -> list[list[str]]:
    """Return the cells of README's table."""
    cells = [['What fails', 'Tried', 'Survived', *map(
        str.capitalize, PROMISES)]]
    for group in kinds.Group:
        of_group = [one for one in rows if one.struck
                    and one.group == group]
        if of_group:
            cells.append([group.value, str(len(of_group)), str(
                sum(not one.problems for one in of_group)), *(
                    str(broken(of_group, promise)) for promise in PROMISES)])
    tried = [one for one in rows if one.struck]
    return [*cells, ['all', str(len(tried)), str(
        sum(not one.problems for one in tried)), *(
            str(broken(tried, promise)) for promise in PROMISES)]]


def in_readme(text: str, rows: cabc.Sequence[Row]) -> str:
    """Return the text of README with another table in it.

    :raises LabError: when it has no place for one
    """
    if not README.search(text):
        raise errors.LabError('README has no table of what was tried')
    table = _table(summary(rows))
    return README.sub(
        lambda found: f'{found["before"]}{time.strftime("%Y-%m-%d")}'
                      f'{found["between"]}{table}{found["after"]}', text)


def as_rst(rows: cabc.Sequence[Row]) -> str:
    """Write the matrix: steps down, faults across, what came of it within."""
    parts = [f'Run on {time.strftime("%Y-%m-%d")}: {total(rows)}.',
             _table(summary(rows))]
    flows = dict.fromkeys(one.words[0] for one in rows)
    for flow in flows:
        title = f'The flow ``{flow}``'
        parts += [f'{title}\n{"-" * len(title)}', _table(_matrix(
            [one for one in rows if one.words[0] == flow]))]
    return '\n\n'.join(parts) + '\n'


def _matrix(rows: cabc.Sequence[Row]) -> list[list[str]]:
    cells: dict[tuple[str, str], collections.Counter[str]] = (
        collections.defaultdict(collections.Counter))
    known: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for one in rows:
        if one.struck:
            how = one.how if not one.problems else 'BROKEN'
            if one.harm:
                how += f' ({", ".join(one.harm)})'
            cells[one.step, one.words[3]][how] += 1
            known[one.step, one.words[3]].update(one.defects)
    table = [['Call', 'Fault', 'How it ended', 'Defects']]
    for (step, fault), hows in cells.items():
        table.append([f'``{step}``', fault, '; '.join(
            f'{count} {how}' for how, count in sorted(hows.items())),
            ', '.join(sorted(known[step, fault]))])
    return [table[0], *sorted(table[1:])]


def _table(cells: list[list[str]]) -> str:
    """Write a table of lists, the first line of which is its head."""
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for line in cells:
        lines += [f'   {"*" if not number else " "} - {cell}'.rstrip()
                  for number, cell in enumerate(line)]
    return '\n'.join(lines)
