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

"""The command line of tools/test."""

import argparse
import collections.abc as cabc
import dataclasses

from tests.stages import nova
from tests.stages import stages

DESCRIPTION = """\
Run all that is checked, or a part of it. What is needed for that is made or
installed, below $NOVA_SNAP_LAB; see CONTRIBUTING.rst.

  tools/test                    everything; as root, on Debian 12
  tools/test --fast             without the functional tests and the volumes
  tools/test lint unit          these stages
  tools/test unit -- NAME...    of the unit tests, those of these names

A NAME is a part of a test's id, or several with dots between them: a module,
a class, a test; * stands for any text within a part. A path is one, too:
  tests/flow/test_live.py, test_live, OrderTestCase.test_frozen*

A stage that fails does not stop the next one. The last line has the figures
of all stages; a stage that is not made of tests counts each of its commands
as one. It fails when anything failed, and when a stage ran nothing.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is wanted.

    :ivar left_out: stages that --fast leaves out
    :ivar names: of tests; all when there are none
    :ivar releases: of Nova; all when there are none
    """

    wanted: tuple[stages.Stage, ...]
    left_out: tuple[stages.Stage, ...] = ()
    names: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()


def parse(arguments: cabc.Sequence[str]) -> Options:
    """Read the command line; leave with a message when it is wrong."""
    own, names = _split(arguments)
    parser = _parser()
    told = parser.parse_args(own)
    unknown = [name for name in told.stages if name not in stages.BY_NAME]
    if unknown:
        parser.error(f'{unknown[0]} is no stage: {" ".join(stages.BY_NAME)}.'
                     ' The names of tests come after "--"')
    wanted = tuple(
        [stages.BY_NAME[name] for name in dict.fromkeys(told.stages)]
        or [stage for stage in stages.STAGES if not stage.on_request])
    without = [stage.name for stage in wanted if not stage.has_tests]
    if names and not told.stages:
        parser.error('which stage has these tests? "tools/test unit -- '
                     f'{" ".join(names)}"')
    if names and without:
        parser.error(f'{without[0]} is not made of tests that have names')
    left_out = tuple(stage for stage in wanted
                     if told.fast and stage.takes_long)
    return Options(tuple(stage for stage in wanted if stage not in left_out),
                   left_out, tuple(names), tuple(told.releases))


def _split(arguments: cabc.Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the words at the first "--", which argparse would swallow."""
    words = list(arguments)
    if '--' not in words:
        return words, []
    place = words.index('--')
    return words[:place], words[place + 1:]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tools/test', description=DESCRIPTION, allow_abbrev=False,
        usage='%(prog)s [--fast] [--release RELEASE] [STAGE...] '
              '[-- NAME...]',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('stages', nargs='*', metavar='STAGE',
                        help=' '.join(stages.BY_NAME))
    parser.add_argument('--fast', action='store_true',
                        help='leave out what takes long')
    parser.add_argument('--release', action='append', dest='releases',
                        default=[],
                        help='of Nova, in place of all that the driver is '
                             f'for ({", ".join(nova.RELEASES)})')
    return parser
