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


"""What the command line of the benchmark says."""

import argparse
import collections.abc as cabc
import dataclasses
import pathlib

from bench import shapes
from bench import variants as variants_module

ROUNDS = 5

SHAPES = shapes.SHAPES | shapes.SCALE | {shapes.SMALL.name: shapes.SMALL}

# Guests at once.
MANY = 8


@dataclasses.dataclass(frozen=True)
class Options:
    """What is wanted.

    :ivar again: files of earlier results, in place of new ones
    :ivar many: so many guests at once
    :ivar in_a_row: so many snapshots one after the other
    :ivar ceph: into a Glance whose images lie in Ceph
    """

    shapes: tuple[shapes.Shape, ...]
    variants: tuple[variants_module.Variant, ...]
    rounds: int
    again: tuple[pathlib.Path, ...] = ()
    json: pathlib.Path | None = None
    rst: pathlib.Path | None = None
    plot: pathlib.Path | None = None
    many: int = 0
    in_a_row: int = 0
    ceph: bool = False
    keep: bool = False
    down: bool = False
    list: bool = False


def parse(arguments: cabc.Sequence[str]) -> Options:
    """Read the command line; leave with a message when it is wrong."""
    said = _parser().parse_args(arguments)
    chosen = [SHAPES[name] for name in said.shape] or list(
        (shapes.SCALE if said.scale else shapes.SHAPES).values())
    if said.many or said.in_a_row:
        # Of one shape, which is another one by default.
        chosen = chosen[:1] if said.shape else [
            shapes.SMALL if said.in_a_row else shapes.SHAPES['mixed']]
    rounds = said.rounds or ROUNDS
    if said.quick:
        chosen = [shape.quick() for shape in chosen]
        rounds = said.rounds or 1
    return Options(
        tuple(chosen),
        tuple(variants_module.VARIANTS[name]
              for name in said.variant or variants_module.VARIANTS),
        rounds, tuple(said.again), said.json, said.rst, said.plot,
        many=said.many, in_a_row=said.in_a_row, ceph=said.ceph,
        keep=said.keep, down=said.down, list=said.list)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='bench/run', allow_abbrev=False)
    parser.add_argument('--shape', action='append', default=[],
                        choices=[*SHAPES])
    parser.add_argument('--variant', action='append', default=[],
                        choices=[*variants_module.VARIANTS])
    parser.add_argument('--rounds', type=int, default=0)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--scale', action='store_true')
    parser.add_argument('--many', type=int, nargs='?', const=MANY, default=0)
    parser.add_argument('--in-a-row', type=int, default=0, metavar='N')
    for name in ('--json', '--rst', '--plot'):
        parser.add_argument(name, type=pathlib.Path, metavar='FILE')
    parser.add_argument('--again', type=pathlib.Path, action='append',
                        default=[], metavar='FILE')
    for name in ('--ceph', '--keep', '--down', '--list'):
        parser.add_argument(name, action='store_true')
    return parser
