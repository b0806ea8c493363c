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

"""Run the cases, one after the other, and say of each how it went."""

import collections.abc
import pathlib
import time
import traceback

from tests.e2e import cases
from tests.e2e import cloud as cloud_module
from tests.e2e import scene as scenes


# Characters of an error that are shown; all of it is in the log.
SHOWN = 300


def run(cloud: cloud_module.Cloud,
        wanted: collections.abc.Sequence[cases.Case]) -> int:
    """Run cases and return how many did not pass.

    What a failure is made of is appended to ``cases.log`` in the run folder.
    """
    log = cloud.layout.run_dir / 'cases.log'
    log.unlink(missing_ok=True)
    failed, left = [], list(wanted)
    scene = scenes.Scene(cloud)
    try:
        while left:
            case = left.pop(0)
            if _passes(scene, case, log):
                continue
            failed.append(case.name)
            if not cloud.running:
                break
    finally:
        scene.close()
    print(f'{len(wanted) - len(failed) - len(left)} passed, '
          f'{len(failed)} failed, {len(left)} not run')
    if left:
        print('the cloud does not run any more')
    if failed:
        print(f'failed: {", ".join(failed)}; see {log} and '
              f'{cloud.compute.log}')
    return len(failed) + len(left)


def _passes(scene: scenes.Scene, case: cases.Case,
            log: pathlib.Path) -> bool:
    began = time.monotonic()
    why = ''
    try:
        scene.cloud.restart_compute(case.options(scene))
        case.run(scene)
    # Whatever it is, the next case is run.
    except Exception as exc:
        why = str(exc) or type(exc).__name__
        with log.open('a') as out:
            out.write(f'{case.name}:\n{traceback.format_exc()}\n')
    try:
        scene.tidy_up()
    except Exception as exc:
        why = why or f'cannot tidy up: {exc}'
    took = time.monotonic() - began
    print(f'{"FAIL" if why else "pass"} {case.name:20}{took:6.1f} s  '
          f'{why[:SHOWN]}'.rstrip(), flush=True)
    return not why
