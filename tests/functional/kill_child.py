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

"""Run nova-snap in children that kill themselves at a point named before.

``python -m tests.functional.kill_child`` reads one order a line, as JSON, and
answers each with one: how the child ended. What is loaded once serves all
children, and each is a process of its own that runs the real command's
main() to its end or dies by SIGKILL: no ``finally`` and no ``atexit`` runs.

All that a flow does to the world outside passes one of the hooks below. An
*event* is one such act: a libvirt call that changes something, a write of
the journal, a file made or removed, a request to Glance that changes
something. Between the end of one event and the start of the next nothing
outside changes, so a kill before each event, and one after the last, meet
every state in which a process can die between two acts. A kill *inside* an
act is ordered by name.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
import typing as ty

from nova_snap.cmd import main as main_module
from nova_snap.cmd import show
from nova_snap.host import files as files_module
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.host import rbd as rbd_module
from nova_snap.hypervisor import checkpoint as checkpoint_module
from nova_snap.hypervisor import connection as connection_module
from nova_snap.journal import checkpoints as checkpoints_module
from nova_snap.journal import store as store_module
from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services.glance import images as images_module
from tests.functional import disguise
from tests.lab import forks

# Calls that change nothing. One that is not named here counts as an act, so
# a new one adds kills until this list is changed.
LIBVIRT_READS = frozenset((
    'UUIDString', 'name', 'ID', 'backupGetXMLDesc', 'isActive', 'isPersistent',
    'hasManagedSaveImage', 'state', 'XMLDesc', 'jobStats', 'autostart',
    'listAllSnapshots', 'listAllCheckpoints', 'blockInfo', 'blockJobInfo',
    'getTime'))
ACTORS: dict[type, frozenset[str]] = {
    # The rest of it passes the connection.
    checkpoint_module.Checkpoints: frozenset((
        'drop', 'has_others', 'hide', 'show')),
    checkpoints_module.Checkpoints: frozenset(('guests', 'read')),
    files_module.Files: frozenset((
        'allocated_bytes', 'changed_at', 'exists', 'file_id', 'file_system',
        'first_bytes', 'free_bytes', 'head_of_cached', 'is_block_device',
        'is_held', 'is_missing', 'shows_locks', 'written_bytes')),
    qemu_img_module.QemuImg: frozenset((
        'first_bytes', 'info', 'is_cut_short', 'measure')),
    images_module.Images: frozenset((
        'check', 'find', 'get', 'location_way', 'stores',
        'why_no_location')),
    rbd_module.Ceph: frozenset((
        'check_writable', 'find', 'flattening', 'fsid', 'opened',
        'sha512')),
    volumes_module.Volumes: frozenset((
        'check', 'project_id', 'acting_in', 'volume', 'limits', 'snapshot',
        'find_snapshot')),
}

# Between two looks at what the act has done so far.
LOOK_SECONDS = 0.002
# No child lives longer: it is ended by SIGALRM.
LIFE_SECONDS = 180

Look = cabc.Callable[[], ty.Any]


@dataclasses.dataclass
class Order:
    """One run of the command.

    :ivar argv: what follows ``nova-snap``
    :ivar folder: here go ``stdout``, ``stderr`` and ``events``
    :ivar before: kill before this event, counted from 0; None for never
    :ivar inside: kill in the middle of an act: ``progress:PHASE``,
        ``rename:N`` (of the journal's Nth write) or ``call:NAME``
    :ivar console: of the guest, which tells when its agent freezes
    :ivar disguised: the guest's network cards pass for SR-IOV ports
    """

    argv: list[str]
    folder: str
    before: int | None = None
    inside: str = ''
    console: str = ''
    disguised: bool = False


def die() -> None:
    """End this process as the kernel ends one that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


class Tap:
    """Writes down every event and ends the process before one of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        # Open for the life of this process, which is short.
        self._events = open(  # noqa: SIM115
            os.path.join(order.folder, 'events'), 'w', buffering=1)
        self._count = 0
        self._phases: list[str] = []
        self._renames = 0

    def event(self, name: str) -> None:
        """Take note that an act is about to begin."""
        if self._order.before == self._count:
            die()
        self._count += 1
        print(name, file=self._events)

    def install(self) -> None:
        """Put the hooks in, at the edge of the product."""
        for actor, reads in ACTORS.items():
            for name in vars(actor):
                if not name.startswith('_') and name not in reads:
                    self._wrap(actor, name, self._name)
        self._wrap(store_module.Store, 'write', self._name_write)
        self._wrap(store_module.Store, 'remove', self._name)
        self._watch_reads()
        self._wrap(connection_module.Connection, 'define', self._name_define)
        self._wrap(connection_module.Connection, 'call', self._name_call)
        if self._order.inside:
            self._install_inside(*self._order.inside.split(':'))

    def _wrap(self, owner: type, attribute: str,
              name: cabc.Callable[..., str]) -> None:
        inner = getattr(owner, attribute)

        @functools.wraps(inner)
        def wrapper(itself: ty.Any, *args: ty.Any, **kwargs: ty.Any) -> ty.Any:
            if what := name(f'{owner.__name__}.{attribute}', *args):
                self.event(what)
            return inner(itself, *args, **kwargs)

        setattr(owner, attribute, wrapper)

    @staticmethod
    def _name(name: str, *args: ty.Any) -> str:
        return name

    @staticmethod
    def _name_define(name: str, *args: ty.Any) -> str:
        return 'libvirt defineXML'

    @staticmethod
    def _name_call(name: str, uuid: str, call: str, *args: ty.Any) -> str:
        return '' if call in LIBVIRT_READS else f'libvirt {call}'

    def _name_write(self, name: str, record: ty.Any) -> str:
        """Say what a write of the journal says that the last did not."""
        known, self._phases = self._phases, _phases(record)
        new = [phase for phase in self._phases if phase not in known]
        return f'write {", ".join(new) or "record"}'

    def _watch_reads(self) -> None:
        read = store_module.Store.read

        @functools.wraps(read)
        def watched(itself: store_module.Store, record_id: str) -> ty.Any:
            record = read(itself, record_id)
            self._phases = _phases(record)
            return record

        store_module.Store.read = watched  # type: ignore[method-assign]

    def _install_inside(self, kind: str, what: str) -> None:
        if kind == 'progress':
            self._kill_in_progress(what)
        elif kind == 'rename':
            self._kill_at_rename(int(what))
        else:
            self._kill_in_call(what)

    def _kill_in_progress(self, phase: str) -> None:
        """Kill when some bytes of a phase are done, and not all."""
        def advances(itself: show.Progress, done: int, total: int) -> None:
            if itself._phase == phase and 0 < done < total:
                die()

        show.Progress.advances = advances  # type: ignore[method-assign]

    def _kill_at_rename(self, number: int) -> None:
        """Kill when the record's new text is there but has no name yet."""
        replace = os.replace

        def counted(*args: ty.Any, **kwargs: ty.Any) -> None:
            if self._renames == number:
                die()
            self._renames += 1
            replace(*args, **kwargs)

        os.replace = counted  # type: ignore[assignment]

    def _kill_in_call(self, name: str) -> None:
        """Kill while libvirt is at work on a call."""
        inner = connection_module.Connection.call

        @functools.wraps(inner)
        def watched(itself: connection_module.Connection, uuid: str,
                    call: str, *args: ty.Any) -> ty.Any:
            if call == name:
                handle = itself.get().lookupByUUIDString(uuid)
                threading.Thread(target=_die_when, daemon=True,
                                 args=(self._look_into(name, handle),)
                                 ).start()
            return inner(itself, uuid, call, *args)

        connection_module.Connection.call = (  # type: ignore[method-assign]
            watched)

    def _look_into(self, name: str, handle: ty.Any) -> Look:
        """Return what tells that libvirt has begun with a call."""
        console = pathlib.Path(self._order.console)
        said = console.read_text(errors='replace').count('fsfreeze freeze')
        looks: dict[str, Look] = {
            'managedSave': lambda: handle.jobStats(0).get('type'),
            'createWithFlags': handle.isActive,
            'fsFreeze': lambda: console.read_text(errors='replace').count(
                'fsfreeze freeze') > said,
        }
        return looks[name]


def _phases(record: ty.Any) -> list[str]:
    return ([f'{entry.kind} {entry.phase}' for entry in record.entries]
            + ['committed'] * record.committed)


def _die_when(begun: Look) -> None:
    while not begun():
        time.sleep(LOOK_SECONDS)
    die()


def run(order: Order) -> ty.NoReturn:
    """Run the command in this process, which ends here."""
    code = 1
    signal.alarm(LIFE_SECONDS)
    try:
        forks.to_files(order.folder)
        if order.disguised:
            disguise.put_on()
        tap = Tap(order)
        tap.install()
        code = main_module.main(order.argv)
        # A kill after the last event.
        tap.event('end')
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may return from here
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == '__main__':
    forks.serve(lambda order: run(Order(**order)))
