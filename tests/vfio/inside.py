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

"""Run the cases; this is run in the outer machine, by ``machine-init``."""

import argparse
import pathlib
import sys
import time
import traceback

import libvirt

from tests.lab import place
from tests.lab import process
from tests.vfio import cases
from tests.vfio import devices as devices_module
from tests.vfio import scene as scenes

FOLDER = pathlib.Path('/var/lib/vfio')
LOGS = pathlib.Path('/logs')
LIBVIRT_TIMEOUT = 120
# Characters of an error that are shown; all of it is in the log.
SHOWN = 300


def main() -> int:
    """Run what the command line names; 0 when every case passed."""
    parser = argparse.ArgumentParser(prog='tests.vfio.inside')
    parser.add_argument('glance')
    parser.add_argument('cases', nargs='+')
    options = parser.parse_args()
    place.make_dir(FOLDER)
    began = time.monotonic()
    conn = _connect()
    found = devices_module.Devices()
    conn.networkDefineXML(found.pool()).create()
    _say(f'the machine is ready after {_uptime():.0f} s, the cases after '
         f'{time.monotonic() - began:.0f} s more; ports of {found.card}: '
         f'{" ".join(found.ports)}; NVMe: {found.nvme}')
    failed = [name for name in options.cases
              if not _passes(name, scenes.Scene(conn, found, FOLDER, LOGS,
                                               options.glance))]
    _say(f'{len(options.cases) - len(failed)} passed, {len(failed)} failed')
    return 1 if failed else 0


def _passes(name: str, new: scenes.Scene) -> bool:
    began = time.monotonic()
    why = ''
    try:
        cases.CASES[name](new)
    # Whatever it is, the next case is run.
    except Exception as exc:
        why = str(exc) or type(exc).__name__
        print(f'{name}:\n{traceback.format_exc()}', file=sys.stderr)
    try:
        new.tidy_up()
    except Exception as exc:
        why = why or f'cannot tidy up: {exc}'
        print(f'{name}:\n{traceback.format_exc()}', file=sys.stderr)
    _say(f'{"FAIL" if why else "pass"} {name:26}'
         f'{time.monotonic() - began:6.1f} s  '
         f'{" ".join(why.split())[:SHOWN]}'.rstrip())
    return not why


def _connect() -> libvirt.virConnect:
    libvirt.registerErrorHandler(lambda *_: None, None)
    process.wait_until(_libvirt_answers, timeout=LIBVIRT_TIMEOUT,
                       what='an answer of libvirt')
    return libvirt.open(scenes.URI)


def _libvirt_answers() -> bool:
    try:
        libvirt.open(scenes.URI).close()
    except libvirt.libvirtError:
        return False
    return True


def _uptime() -> float:
    return float(pathlib.Path('/proc/uptime').read_text().split()[0])


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == '__main__':
    sys.exit(main())
