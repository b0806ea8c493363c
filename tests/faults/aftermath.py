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

"""What is done between the death of a snapshot and its recovery."""

import concurrent.futures
import os
import pathlib
import signal

from tests.faults import border as border_module
from tests.faults import child
from tests.faults import children as children_module
from tests.faults import trial as trial_module
from tests.lab.guest import domain as guest_domain
from tests.lab import process

# Another boot of the machine than the real one.
OTHER_BOOT = '00000000-0000-4000-8000-000000000001'
# Acts of one recovery; none has so many.
MOST_ACTS = 40
# How the images of a next snapshot are named.
NEXT = 'next'
# Seconds for a process that was killed.
DEATH_TIMEOUT = 10


class Aftermath:
    """Each public method is one aftermath.

    :ivar images: that an aftermath has made itself
    """

    def __init__(self, trial: trial_module.Trial) -> None:
        self._trial = trial
        self.images = 0
        self.said: list[str] = []

    def kill_recoveries(self) -> None:
        """Kill a recovery before its first act, the next before its second.

        Until one ends by itself.
        """
        for number in range(1, MOST_ACTS):
            ended = self._trial.recover(at=f'{child.ANY_ACT}.{number}',
                                        when=border_module.BEFORE,
                                        kind='signal', value=signal.SIGKILL)
            if ended.code != children_module.KILLED:
                return

    def recover_twice_at_once(self) -> None:
        """Run two recoveries at the same time."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(self._trial.recover, range(2)))
        self.said += [f'left: a recovery ended with {ended.code}: '
                      f'{ended.stderr}' for ended in ends if ended.code]

    def take_the_next(self) -> None:
        """Take another snapshot: it settles what is there."""
        ended = self._trial.take(image=NEXT)
        self.images += self._trial.flow.images
        if ended.code:
            self.said.append(f'left: the next snapshot ended with '
                             f'{ended.code}: {ended.stderr}')

    def truncate_record(self) -> None:
        """Cut the record in half, recover, and make it whole again."""
        for path in self._trial.scene.records.glob('*.json'):
            whole = path.read_bytes()
            path.write_bytes(whole[:len(whole) // 2])
            ended = self._trial.recover()
            if ended.code not in (0, 1, 3, 4) or (
                    'Traceback' in ended.stderr):
                self.said.append(f'left: recovery of half a record ended '
                                 f'with {ended.code}: {ended.stderr}')
            if not path.exists():
                self.said.append('lost: half a record was removed')
            path.write_bytes(whole)

    def lose_power(self) -> None:
        """Switch the machine off and on: no QEMU process lives on."""
        libvirtd, guest = self._trial.scene.libvirtd, self._trial.guest
        self._trial.boot = OTHER_BOOT
        status = (libvirtd.folder / 'run' / 'qemu'
                  / f'{guest.spec.name}.xml')
        for pid in qemus(guest):
            os.kill(pid, signal.SIGKILL)
        process.wait_until(lambda: not qemus(guest),
                           timeout=DEATH_TIMEOUT, what='the end of QEMU')
        libvirtd.restart()
        status.unlink(missing_ok=True)


def qemus(guest: guest_domain.Guest) -> list[int]:
    """Return the process of a guest, if it has one."""
    return [pid for pid, words in process.command_lines().items()
            if f'guest={guest.spec.name},' in words
            and pathlib.Path(f'/proc/{pid}').exists()]
