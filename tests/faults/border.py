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

"""Stand at the edge of the product, in a child: each call goes through here.

Nothing is listed. The edge is the libvirt binding, every part of the world
that the flows get (the fields of ``World`` and ``Node``), and what reads the
bytes: a method that one of them is given later is met like the others.
"""

import collections
import collections.abc as cabc
import contextlib
import functools
import inspect
import threading
import typing as ty

import libvirt
import libvirt_qemu

from nova_snap.host import locks as locks_module
from nova_snap.host import rbd as rbd_module
from nova_snap.journal import store as store_module
from nova_snap.steps import world as world_module
from nova_snap.transfer import disk as disk_module
from nova_snap.transfer import nbd
from nova_snap.transfer import source as source_module
from tests.faults import calls as calls_module

# Of the world's fields, what is no border: libvirt's is the binding, time
# and the door's own words are not outside. Of Ceph the field makes the way.
NO_BORDER = ('settings', 'host', 'clock', 'observer', 'disk_turn',
             'disk_work', 'why_away', 'ceph')
# Classes whose methods are called for pure reasons too often to be of use.
TRANSFERS = (nbd.Export, disk_module.DiskSource,
             source_module.FileSource)

BEFORE, AFTER = 'before', 'after'

# Called with a call and when; it may raise, or never return.
Meet = cabc.Callable[[calls_module.Call, str], None]


class Border:
    """Counts the calls, and tells of each of them before and after."""

    def __init__(self, meet: Meet) -> None:
        self._meet = meet
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()
        self._within = threading.local()
        self._phases: list[str] = []

    def install(self) -> None:
        """Put itself around all of it, for the life of this process."""
        for owner in (libvirt.virConnect, libvirt.virDomain):
            self._wrap_all(owner, calls_module.LIBVIRT, '')
        # Not every method's name says of what it is.
        owner = libvirt.virDomainCheckpoint
        self._wrap_all(owner, calls_module.LIBVIRT, f'{owner.__name__}.')
        self._wrap(libvirt, 'open', calls_module.LIBVIRT, '')
        for name in ('qemuAgentCommand', 'qemuMonitorEventRegister',
                     'qemuMonitorEventDeregister'):
            self._wrap(libvirt_qemu, name, calls_module.LIBVIRT, '')
        for owner in world_classes():
            self._wrap_all(owner, owner.__name__, f'{owner.__name__}.')
        for owner in TRANSFERS:
            self._wrap_all(owner, calls_module.TRANSFER,
                           f'{owner.__name__}.')

    def _wrap_all(self, owner: type, border: str, prefix: str) -> None:
        for name, value in list(vars(owner).items()):
            if not name.startswith('_') and inspect.isfunction(value):
                self._wrap(owner, name, border, prefix)

    def _wrap(self, owner: ty.Any, name: str, border: str,
              prefix: str) -> None:
        inner = getattr(owner, name)
        named = prefix + name

        @functools.wraps(inner)
        def through(*args: ty.Any, **kwargs: ty.Any) -> ty.Any:
            with self._entering(border) as outermost:
                if not outermost:
                    return inner(*args, **kwargs)
                call = self._count(border, named, args)
                self._meet(call, BEFORE)
                value = inner(*args, **kwargs)
                self._meet(call, AFTER)
                return value

        @contextlib.contextmanager
        @functools.wraps(inner)
        def around(*args: ty.Any, **kwargs: ty.Any) -> cabc.Iterator[ty.Any]:
            call = self._count(border, named, args)
            self._meet(call, BEFORE)
            with inner(*args, **kwargs) as value:
                self._meet(call, AFTER)
                yield value

        is_block = inspect.isgeneratorfunction(inspect.unwrap(inner)) and (
            inspect.unwrap(inner) is not inner)
        setattr(owner, name, around if is_block else through)

    @contextlib.contextmanager
    def _entering(self, border: str) -> cabc.Iterator[bool]:
        """Say whether no call of this border is under way in this thread."""
        depths = self._within.__dict__
        depth = depths.get(border, 0)
        depths[border] = depth + 1
        try:
            yield not depth
        finally:
            depths[border] = depth

    def _count(self, border: str, name: str,
               args: tuple[ty.Any, ...]) -> calls_module.Call:
        with self._lock:
            self._counts[name] += 1
            says = ''
            if name == 'Store.write':
                says = self._news(args[1])
            return calls_module.Call(border, name, self._counts[name], says)

    def _news(self, record: ty.Any) -> str:
        """Say what a write of the journal says that the last did not."""
        known, self._phases = self._phases, _phases(record)
        return ','.join(phase for phase in self._phases
                        if phase not in known) or 'record'


def world_classes() -> list[type]:
    """Return the classes of what the flows get, but for what is no border."""
    hints = ty.get_type_hints(world_module.World)
    return [*(kind for name, kind in hints.items() if name not in NO_BORDER),
            rbd_module.Ceph, store_module.Store, locks_module.Locks]


def _phases(record: ty.Any) -> list[str]:
    return ([f'{entry.kind}-{entry.phase}' for entry in record.entries]
            + ['committed'] * record.committed)
