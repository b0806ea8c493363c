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


"""All that one call measured, and earlier calls."""

import collections.abc as cabc
import dataclasses
import json
import pathlib

from bench import figures
from bench import table

Lines = list[list[str]]


@dataclasses.dataclass
class Results:
    """What was measured.

    :ivar machine: on what; see machine.py
    :ivar tables: what is no sample, by its title
    """

    machine: dict[str, str]
    samples: list[figures.Sample] = dataclasses.field(default_factory=list)
    tables: dict[str, Lines] = dataclasses.field(default_factory=dict)

    def as_json(self) -> str:
        """Return it for a file that :func:`read` reads."""
        return json.dumps({
            'machine': self.machine,
            'samples': [sample.describe() for sample in self.samples],
            'tables': self.tables}, indent=1) + '\n'

    def as_text(self) -> str:
        """Return it for a terminal."""
        parts = ['\n'.join(f'{name:20}{value}'
                           for name, value in self.machine.items()),
                 table.text(figures.rows(self.samples)),
                 *(f'{title}\n{table.as_text(lines)}'
                   for title, lines in self.tables.items())]
        return '\n\n'.join(part for part in parts if part)

    def as_rst(self, titles: cabc.Mapping[str, str]) -> str:
        """Return it for Sphinx.

        :param titles: what each shape is, by its name
        """
        parts = [table.as_rst('The machine', [('what', 'which'),
                                              *self.machine.items()]),
                 table.rst(figures.rows(self.samples), titles),
                 *(table.as_rst(title, lines)
                   for title, lines in self.tables.items())]
        return '\n'.join(part for part in parts if part)


def read(paths: cabc.Iterable[pathlib.Path]) -> Results:
    """Read earlier results; the last one that knows names the machine."""
    together = Results({})
    for path in paths:
        found = json.loads(path.read_text())
        together.machine = found['machine'] or together.machine
        together.samples += [figures.sample_of(one)
                             for one in found['samples']]
        together.tables |= found['tables']
    return together
