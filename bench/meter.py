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


"""What the lab's services and the guest used in the time of one snapshot."""

import collections.abc as cabc
import dataclasses
import os
import pathlib
import re
import threading
import time

import libvirt

from bench import marks
from tests.lab.guest import domain as guest_domain
from tests.lab import process

PROC = pathlib.Path('/proc')
TICKS = os.sysconf('SC_CLK_TCK')

# Of /proc/PID/stat, behind the name: utime, stime, cutime, cstime.
CPU_FIELDS = slice(11, 15)

# Seconds between two looks at the guest's console: what a time of its lines
# may be off.
POLL = 0.002
# Seconds in which the guest reports its load again.
REPORT_TIMEOUT = 60

LOAD = re.compile(rb'^LOAD (\d+) (\d+) (\d+)\r?\n', re.MULTILINE)
FROZEN = re.compile(rb'^GUEST fsfreeze (freeze|thaw)\r?\n', re.MULTILINE)


def cpu_seconds(pid: int) -> float:
    """Return what a process and its ended children used; 0 when it ended."""
    try:
        text = (PROC / str(pid) / 'stat').read_text()
    except OSError:
        return 0
    fields = text.rpartition(')')[2].split()[CPU_FIELDS]
    return sum(map(int, fields)) / TICKS


def with_children(pid: int) -> list[int]:
    """Return a process and its children."""
    children = PROC / str(pid) / 'task' / str(pid) / 'children'
    return [pid, *map(int, children.read_text().split())]


@dataclasses.dataclass(frozen=True)
class Use:
    """What was used up to one moment; a difference is of one time."""

    cpu_seconds: dict[str, float]
    qemu_read: int
    qemu_written: int

    def __sub__(self, other: 'Use') -> 'Use':
        return Use({name: seconds - other.cpu_seconds[name]
                    for name, seconds in self.cpu_seconds.items()},
                   self.qemu_read - other.qemu_read,
                   self.qemu_written - other.qemu_written)


class Meter:
    """Looks at the services that work on one guest."""

    def __init__(self, run_dir: pathlib.Path,
                 guest: guest_domain.Guest) -> None:
        self._domain = guest.domain
        self._services = pids(run_dir, guest)
        self._qemu = self._services.pop('qemu')

    def look(self) -> Use:
        """Return what was used until now.

        The guest's own bytes are left out of QEMU's.
        """
        used = {name: sum(map(cpu_seconds, with_children(pid)))
                for name, pid in self._services.items()}
        used['qemu'] = cpu_seconds(self._qemu)
        found = marks.io_of((PROC / str(self._qemu) / 'io').read_text())
        stats = self._blocks()
        return Use(used, found['read'] - stats[1],
                   found['written'] - stats[3])

    def _blocks(self) -> tuple[int, int, int, int, int]:
        stats: tuple[int, int, int, int, int] = self._domain.blockStats('vda')
        return stats


def pids(run_dir: pathlib.Path, guest: guest_domain.Guest) -> dict[str, int]:
    """Return the processes that work on a guest, by their names."""
    folder = guest.libvirtd.folder
    return {
        'qemu': int((folder / 'run' / 'qemu'
                     / f'{guest.spec.name}.pid').read_text()),
        'glance': (process.Daemon('glance', run_dir / 'services').pid
                   or process.Daemon('glance-ceph', run_dir / 'services').pid
                   or 0),
        'libvirtd': process.Daemon('libvirtd', folder).pid or 0}


def stall_seconds(said: bytes) -> float | None:
    """Return the longest write of those that a guest has reported."""
    longest = [int(micros) for _, _, micros in LOAD.findall(said)]
    return max(longest) / 1e6 if longest else None


class Console:
    """Follows what a guest says, and when, for the length of a block."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._start = path.stat().st_size
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._frozen_at: list[tuple[str, float]] = []

    def __enter__(self) -> 'Console':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def said(self) -> bytes:
        """Return what the guest has said since this object was made."""
        with self._path.open('rb') as file:
            file.seek(self._start)
            return file.read()

    def stall_seconds(self) -> float | None:
        """Return the longest write; wait for one that is not over.

        :raises LabError: when the guest reports no load any more
        """
        known = len(LOAD.findall(self.said()))
        process.wait_until(
            lambda: len(LOAD.findall(self.said())) > known,
            timeout=REPORT_TIMEOUT, what='a report of the guest\'s load')
        return stall_seconds(self.said())

    @property
    def frozen_seconds(self) -> float | None:
        """From the call of the agent's hook to the one after the thaw."""
        return frozen_seconds(self._frozen_at)

    def _follow(self) -> None:
        place = self._start
        rest = b''
        with self._path.open('rb') as file:
            while not self._ended.wait(POLL):
                file.seek(place)
                new = file.read()
                place += len(new)
                rest += new
                now = time.monotonic()
                for found in FROZEN.finditer(rest):
                    self._frozen_at.append((found[1].decode(), now))
                rest = rest[rest.rfind(b'\n') + 1:]


def frozen_seconds(events: cabc.Iterable[tuple[str, float]]) -> float | None:
    """Return how long file systems were frozen in all.

    :param events: ``freeze`` or ``thaw``, and when
    :returns: None where they were not
    """
    total, since = None, None
    for kind, when in events:
        if kind == 'freeze':
            since = when
        elif since is not None:
            total = (total or 0) + when - since
            since = None
    return total


def is_live(domain: libvirt.virDomain) -> bool:
    """Tell whether a guest runs, and is defined."""
    return bool(domain.isActive() and domain.isPersistent())
