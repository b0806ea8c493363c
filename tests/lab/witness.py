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

"""Run nova-snap and write down what happened at its two decisive moments.

``python -m tests.lab.witness CONSOLE NOTES -- ARGUMENTS OF NOVA-SNAP``

The command is the real one; two of its calls to the outside are watched. At
a live snapshot's abort: which record the guest had reported before it and
after it. At a cold snapshot's conversion: the last record it had reported
when it was saved, and the disk itself is copied, to be compared with the
image later.
"""

import functools
import json
import pathlib
import subprocess
import sys
import typing as ty

from nova_snap.cmd import main as main_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.hypervisor import blockjob
from tests.lab.guest import domain as guest_domain

USAGE = 'usage: python -m tests.lab.witness CONSOLE NOTES -- ARGUMENTS'


def watch_abort(console: pathlib.Path, notes: dict[str, ty.Any]) -> None:
    """Note the last reported record before and after the abort."""
    abort = blockjob.BlockDevice.abort

    @functools.wraps(abort)
    def watched(self: blockjob.BlockDevice, *args: ty.Any,
                **kwargs: ty.Any) -> None:
        notes['reported_before'] = guest_domain.last_reported(console)
        abort(self, *args, **kwargs)
        notes['reported_after'] = guest_domain.last_reported(console)

    blockjob.BlockDevice.abort = watched


def watch_convert(console: pathlib.Path, copy: pathlib.Path,
                  notes: dict[str, ty.Any]) -> None:
    """Copy the disk of a saved guest just before it is read.

    Of a live one the delta is read, after the abort, which was watched.
    """
    convert = qemu_img_module.QemuImg.convert

    @functools.wraps(convert)
    def watched(self: qemu_img_module.QemuImg, chain: ty.Any, *args: ty.Any,
                **kwargs: ty.Any) -> None:
        if 'reported_before' not in notes:
            # The guest stands still: nothing comes between the two.
            notes['reported_before'] = guest_domain.last_reported(console)
            copy_disk(chain)
            notes['reported_after'] = guest_domain.last_reported(console)
        convert(self, chain, *args, **kwargs)

    def copy_disk(chain: ty.Any) -> None:
        described = qemu_img_module.description(chain)
        subprocess.run(['qemu-img', 'convert', '-O', 'raw', described,
                        str(copy)], check=True)
        notes['disk'] = str(copy)

    qemu_img_module.QemuImg.convert = watched


def main(argv: list[str]) -> int:
    """Run the command, watched."""
    if len(argv) < 4 or argv[2] != '--':
        print(USAGE, file=sys.stderr)
        return 2
    console, path = pathlib.Path(argv[0]), pathlib.Path(argv[1])
    notes: dict[str, ty.Any] = {}
    watch_abort(console, notes)
    watch_convert(console, path.with_suffix('.raw'), notes)
    try:
        return main_module.main(argv[3:])
    finally:
        path.write_text(json.dumps(notes))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
