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

"""Run the fault campaign; see tools/faults."""

import collections.abc as cabc
import contextlib
import fnmatch
import signal
import sys
import types

from tests.faults import cases as cases_module
from tests.faults import defects
from tests.faults import flows as flows_module
from tests.faults import kinds
from tests.faults import options as options_module
from tests.faults import report
from tests.faults import run as run_module
from tests.faults import scene as scene_module
from tests.lab import errors
from tests.lab import place


def main() -> int:
    """Do as the command line says; 0 when no promise broke."""
    signal.signal(signal.SIGTERM, _end)
    options = options_module.parse(sys.argv[1:])
    try:
        if options.down:
            scene_module.end(place.lab_dir() / scene_module.RUN)
            return 0
        rows = (report.read(options.again) if options.again
                else _campaign(options))
    except errors.LabError as exc:
        print(f'faults: {exc}', file=sys.stderr)
        return 1
    if options.list:
        return 0
    if options.rst is not None:
        options.rst.write_text(report.as_rst(rows))
    if options.readme is not None:
        options.readme.write_text(report.in_readme(
            options.readme.read_text(), rows))
    for path in options.json:
        report.write(path, rows)
    print(report.total(rows))
    return 1 if any(row.problems for row in rows) or not rows else 0


def _campaign(options: options_module.Options) -> list[report.Row]:
    """Run the cases that are wanted."""
    rows: list[report.Row] = []
    with contextlib.ExitStack() as ending:
        scene = scene_module.Scene()
        if not options.keep and not scene.is_shared:
            ending.callback(scene.down)
        run = run_module.Run(scene)
        # Guests go before what their volumes are in.
        ending.callback(run.stop)
        ending.callback(scene.stop)
        wanted = _wanted(options, run)
        if options.list:
            print('\n'.join(case.name for case in wanted))
            return rows
        print(f'{len(wanted)} cases, seed {options.seed}', flush=True)
        # What was tried until Ctrl-C counts.
        with contextlib.suppress(KeyboardInterrupt):
            for outcome in run.all(wanted):
                print(outcome.line, flush=True)
                rows.append(report.row(outcome, defects.at(outcome.case)))
    return rows


def _wanted(options: options_module.Options,
            run: run_module.Run) -> list[cases_module.Case]:
    """Return the cases that the command line names, or chooses."""
    whole = [name for name in options.names if '*' not in name]
    found = [cases_module.named(name, flows_module.FLOWS) for name in whole]
    patterns = [name for name in options.names if '*' in name]
    if whole and not patterns:
        return found
    faults = [fault for fault in kinds.ALL if not options.groups
              or fault.group.name.lower() in options.groups]
    made = [case for name in _flows(options.flows, patterns)
            for case in cases_module.of_flow(
                name, run.calls(flows_module.FLOWS[name]), faults)
            if not patterns or any(fnmatch.fnmatch(case.name, pattern)
                                   for pattern in patterns)]
    if options.count is not None:
        made = cases_module.sample(
            [case for case in made if case.fault.name not in kinds.SLOW],
            options.count, options.seed)
    return found + made


def _flows(names: cabc.Iterable[str],
           patterns: cabc.Sequence[str]) -> list[str]:
    """Return the flows in which the patterns can have cases."""
    return [name for name in names if not patterns or any(
        fnmatch.fnmatch(name, pattern.partition('/')[0])
        for pattern in patterns)]


def _end(_: int, __: types.FrameType | None) -> None:
    """End as after Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
