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

"""Bring up a cloud and run the cases in it; see tools/e2e."""

import argparse
import contextlib
import signal
import sys
import types

from tests.e2e import cases
from tests.e2e import cloud as cloud_module
from tests.e2e import run
from tests.lab import errors
from tests.lab import place

DRIVER = 'nova_snap.LibvirtDriver'


def main() -> int:
    """Do as the command line says; 0 when every case passed."""
    signal.signal(signal.SIGTERM, _end)
    parser = argparse.ArgumentParser(prog='tools/e2e', allow_abbrev=False)
    parser.add_argument('--driver', default=DRIVER,
                        help='compute_driver (default: %(default)s)')
    parser.add_argument('--eventlet', action='store_true',
                        help='run nova-compute with green threads')
    parser.add_argument('--down', action='store_true',
                        help='end a cloud that was left running')
    parser.add_argument('--keep', action='store_true',
                        help='leave the cloud running')
    parser.add_argument('--list', action='store_true',
                        help='name the cases')
    parser.add_argument('cases', nargs='*', metavar='CASE')
    options = parser.parse_args()
    known = {case.name: case for case in cases.CASES}
    unknown = [name for name in options.cases if name not in known]
    if unknown:
        parser.error(f'no case {", ".join(unknown)}; see --list')
    if options.list:
        print('\n'.join(known))
        return 0
    try:
        cloud = cloud_module.Cloud(place.lab_dir() / 'e2e', options.driver,
                            eventlet=options.eventlet)
        if options.down:
            cloud.down()
            return 0
        wanted = [case for case in cases.CASES
                  if not options.cases or case.name in options.cases]
        return _run(cloud, wanted, keep=options.keep)
    except errors.LabError as exc:
        print(f'e2e: {exc}', file=sys.stderr)
        return 1


def _run(cloud: cloud_module.Cloud, wanted: list[cases.Case], *,
         keep: bool) -> int:
    with contextlib.ExitStack() as ending:
        if not keep:
            ending.callback(cloud.down)
        if cloud.running:
            cloud.attach()
        else:
            cloud.up()
        failed = run.run(cloud, wanted)
        if keep:
            # Its proxy has gone.
            cloud.restart_compute({})
        return 1 if failed else 0


def _end(_: int, __: types.FrameType | None) -> None:
    """End as after Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


if __name__ == '__main__':
    sys.exit(main())
