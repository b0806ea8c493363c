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

"""The command line of the campaign; see tools/faults."""

import argparse
import collections.abc as cabc
import dataclasses
import pathlib

from tests.faults import flows as flows_module

# Cases of the short form, which cost CI two minutes.
SHORT = 30
# The same ones until another seed is given.
SEED = 1


@dataclasses.dataclass(frozen=True)
class Options:
    """What is wanted.

    :ivar names: of cases; patterns with ``*`` among them
    :ivar count: of the cases to choose; None for all
    """

    names: tuple[str, ...]
    flows: tuple[str, ...]
    groups: tuple[str, ...]
    count: int | None
    seed: int
    list: bool
    keep: bool
    down: bool
    json: tuple[pathlib.Path, ...]
    again: tuple[pathlib.Path, ...]
    rst: pathlib.Path | None
    readme: pathlib.Path | None


def parse(arguments: cabc.Sequence[str]) -> Options:
    """Read the command line; leave with a message when it is wrong."""
    parser = argparse.ArgumentParser(prog='tools/faults', allow_abbrev=False)
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help='of a case, or a pattern with *')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--short', action='store_const', const=SHORT,
                      dest='count', help=f'{SHORT} of the cases')
    form.add_argument('--sample', type=int, metavar='N', dest='count',
                      help='N of the cases')
    parser.add_argument('--seed', type=int, default=SEED,
                        help='which ones (default: %(default)s)')
    parser.add_argument('--volumes', action='store_const',
                        const=flows_module.STORED, dest='usual',
                        default=flows_module.USUAL,
                        help='in the flows of Cinder and Ceph')
    parser.add_argument('--flow', action='append', default=[],
                        choices=list(flows_module.FLOWS), help='only this one')
    parser.add_argument('--group', action='append', default=[],
                        help='of the faults: only this one')
    parser.add_argument('--list', action='store_true',
                        help='name the cases')
    parser.add_argument('--keep', action='store_true',
                        help='leave libvirt and Glance running')
    parser.add_argument('--down', action='store_true',
                        help='end what was left running')
    parser.add_argument('--json', type=pathlib.Path, action='append',
                        default=[], metavar='FILE',
                        help='write how each ended')
    parser.add_argument('--again', type=pathlib.Path, action='append',
                        default=[], metavar='FILE',
                        help='show that again, and run nothing')
    parser.add_argument('--rst', type=pathlib.Path, metavar='FILE',
                        help='write the matrix of doc/')
    parser.add_argument('--readme', type=pathlib.Path, metavar='FILE',
                        help='put the table into README.rst')
    told = parser.parse_args(arguments)
    return Options(tuple(told.names), tuple(told.flow or told.usual),
                   tuple(told.group), told.count, told.seed, told.list,
                   told.keep, told.down, tuple(told.json),
                   tuple(told.again), told.rst, told.readme)
