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


"""Measure, and say what was measured; see bench/run."""

import contextlib
import json
import pathlib
import signal
import sys
import types

from bench import figures
from bench import in_a_row
from bench import machine
from bench import many
from bench import options as options_module
from bench import results
from bench import rounds as rounds_module
from bench import scene as scene_module
from bench import shapes
from bench import variants as variants_module
from tests.lab import errors
from tests.lab import place
from tests.lab import process


def main() -> int:
    """Do as the command line says; 0 when all could be measured."""
    signal.signal(signal.SIGTERM, _end)
    options = options_module.parse(sys.argv[1:])
    try:
        if options.list:
            _list()
        elif options.down:
            scene_module.stop(place.lab_dir() / scene_module.RUN)
        elif options.again:
            _report(options, results.read(options.again))
        else:
            _measure(options)
    except errors.LabError as exc:
        print(f'bench: {exc}', file=sys.stderr)
        return 1
    return 0


def _measure(options: options_module.Options) -> None:
    with contextlib.ExitStack() as ending:
        if not options.keep:
            ending.callback(scene_module.stop,
                            place.lab_dir() / scene_module.RUN)
        rounds_module.say('starting libvirt and Glance')
        scene = scene_module.Scene(in_ceph=options.ceph)
        found = results.Results(machine.facts(scene))
        try:
            for shape in options.shapes:
                _measure_shape(scene, shape, options, found)
        finally:
            # What was measured is kept when something fails.
            if options.json is not None:
                options.json.write_text(found.as_json())
            _report(options, found)


def _measure_shape(scene: scene_module.Scene, shape: shapes.Shape,
                   options: options_module.Options,
                   found: results.Results) -> None:
    if options.many:
        title = f'{options.many} paused guests at once, {shape.title}'
        found.tables[title] = many.lines(
            many.measure(scene, shape, options.variants, options.many,
                         options.rounds), options.many)
    elif options.in_a_row:
        in_a_row.measure(scene, shape, options.variants, options.in_a_row,
                         found.tables)
    else:
        found.samples.extend(rounds_module.measure(
            scene, shape, options.variants, options.rounds))


def _report(options: options_module.Options, found: results.Results) -> None:
    rows = figures.rows(found.samples)
    print(found.as_text())
    if options.rst is not None:
        options.rst.write_text(found.as_rst(
            {shape.name: shape.title
             for shape in options_module.SHAPES.values()}))
    if options.plot is not None:
        _plot(options.plot, rows)


def _plot(path: pathlib.Path, rows: list[figures.Row]) -> None:
    python = place.lab_dir() / 'bench-plot' / 'bin' / 'python'
    process.run([str(python), '-m', 'bench.plot', str(path.absolute())],
                cwd=place.CHECKOUT, stdin=json.dumps(
                    [[row.shape, row.variant, row.ratio,
                      variants_module.VARIANTS[row.variant].colour]
                     for row in rows if row.ratio is not None]))


def _list() -> None:
    for shape in options_module.SHAPES.values():
        print(f'{shape.name:15}{shape.title}')
    for variant in variants_module.VARIANTS.values():
        print(f'{variant.name:15}{variant.title}')


def _end(_: int, __: types.FrameType | None) -> None:
    """End as after Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
