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

"""Run nova-snap in children to which one thing happens at one call.

``python -m tests.faults.child`` reads one order a line, as JSON, and answers
each with one: how the child ended. What is loaded once serves all children,
and each is a process of its own that runs the real command's main().
"""

import dataclasses
import os
import signal
import socket
import sys
import threading
import traceback
import typing as ty

import libvirt

from nova_snap.cmd import main as main_module
from nova_snap import errors
from nova_snap.host import files as files_module
from nova_snap.model import ceph as ceph_model
from nova_snap.services import sessions
from tests.faults import border as border_module
from tests.faults import calls as calls_module
from tests.lab import forks

# No child lives longer: it is ended by SIGALRM, and something has no end.
LIFE_SECONDS = 120
# For the one who is asked to act.
ACT_SECONDS = 100
# Seconds; see nova_snap/services/sessions.py. A case that waits for one of
# them must not cost minutes.
TIMEOUTS = {'answer': 5, 'stall': 4, 'finish': 6, 'settle': 8, 'let_go': 4}
# In the place of a call's name: any that changes the world.
ANY_ACT = 'act'


@dataclasses.dataclass
class Order:
    """One run of the command.

    :ivar argv: what follows ``nova-snap``
    :ivar folder: here go ``stdout``, ``stderr`` and ``calls``
    :ivar at: the call at which it happens, as ``blockJobAbort.1``
    :ivar when: before it or after it
    :ivar kind: of what happens: a method of :class:`Strike`; none for none
    :ivar value: how, for that method
    :ivar lasts: it happens at each call of this name from that one on
    :ivar socket: where others are asked to act
    :ivar boot: another boot of the machine than the real one
    """

    argv: list[str]
    folder: str
    at: str = ''
    when: str = ''
    kind: str = ''
    value: ty.Any = None
    lasts: bool = False
    socket: str = ''
    boot: str = ''


class Strike:
    """Writes down every call, and lets the thing happen at the one."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._name, _, ordinal = order.at.rpartition('.')
        self._ordinal = int(ordinal or 0)
        self._acts = 0
        # Open for the life of this process, which is short.
        self._calls = open(  # noqa: SIM115
            os.path.join(order.folder, 'calls'), 'w', buffering=1)

    def meet(self, call: calls_module.Call, when: str) -> None:
        """Take note of a call, and do what was ordered for it."""
        if when == border_module.BEFORE:
            print(call.line(), file=self._calls)
            self._acts += not call.is_look
        order = self._order
        name, ordinal = call.name, call.ordinal
        if self._name == ANY_ACT and not call.is_look:
            name, ordinal = ANY_ACT, self._acts
        if when == order.when and name == self._name and (
                ordinal == self._ordinal
                or (order.lasts and ordinal > self._ordinal)):
            self._note()
            getattr(self, f'_{order.kind}')(call)

    def _note(self) -> None:
        """Leave word that it has happened."""
        with open(os.path.join(self._order.folder, 'struck'), 'w'):
            pass

    def _signal(self, call: calls_module.Call) -> None:
        os.kill(os.getpid(), self._order.value)

    def _libvirt(self, call: calls_module.Call) -> None:
        """Fail as libvirt does, with an error code."""
        error = libvirt.libvirtError('it is the campaign')
        error.err = (self._order.value, 0, 'it is the campaign',
                     libvirt.VIR_ERR_ERROR, '', '', '', 0, 0)
        raise error

    def _fail(self, call: calls_module.Call) -> None:
        """Fail as that part of the world does."""
        reason = 'it is the campaign'
        makers: dict[str, ty.Callable[[], Exception]] = {
            'Images': lambda: errors.ImageServiceUnavailable(
                call=call.name, reason=reason),
            'Volumes': lambda: errors.VolumeServiceUnavailable(
                call=call.name, reason=reason),
            'Store': lambda: errors.JournalError(reason=reason),
            'Ceph': lambda: self._ceph_error(call, 'Unavailable'),
            'Locks': lambda: errors.JournalError(reason=reason),
            'transfer': lambda: errors.StorageError(reason=reason)}
        make = makers.get(call.border, makers['transfer'])
        raise make()

    def _ceph(self, call: calls_module.Call) -> None:
        """Fail as Ceph does, in one of its ways."""
        raise self._ceph_error(call, self._order.value)

    def _ceph_error(self, call: calls_module.Call,
                    kind: str) -> ceph_model.CephError:
        made: ceph_model.CephError = getattr(ceph_model, kind)(
            call=call.name, name='it', client='client.campaign',
            reason='it is the campaign')
        return made

    def _hang(self, call: calls_module.Call) -> None:
        """Do not return."""
        threading.Event().wait()

    def _torn(self, call: calls_module.Call) -> None:
        """Die while the text of a record is half written.

        :source: nova_snap/journal/store.py: the file is renamed when whole
        """
        def cut(source: ty.Any, *args: ty.Any, **kwargs: ty.Any) -> None:
            descriptor = os.open(source, os.O_RDWR,
                                 dir_fd=kwargs.get('src_dir_fd'))
            os.ftruncate(descriptor,
                         int(os.fstat(descriptor).st_size * order.value))
            os.fsync(descriptor)
            os.kill(os.getpid(), signal.SIGKILL)

        order = self._order
        os.replace = cut  # type: ignore[assignment]

    def _ask(self, call: calls_module.Call) -> None:
        """Have the campaign act, and wait until it has."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(ACT_SECONDS)
            asking.connect(self._order.socket)
            asking.sendall(f'{self._order.value}\n'.encode())
            asking.recv(1)


def _shorten_timeouts() -> None:
    for name, value in TIMEOUTS.items():
        setattr(sessions.Timeouts, name, value)
    sessions.Timeouts.__init__.__defaults__ = (  # type: ignore
        *TIMEOUTS.values(),)
    sessions.Policy.__init__.__defaults__ = (  # type: ignore
        *sessions.Policy.__init__.__defaults__[:-1], sessions.Timeouts())


def run(order: Order) -> ty.NoReturn:
    """Run the command in this process, which ends here."""
    code = 1
    signal.alarm(LIFE_SECONDS)
    try:
        forks.to_files(order.folder)
        if order.boot:
            files_module.boot_id = (  # type: ignore[assignment]
                lambda: order.boot)
        _shorten_timeouts()
        border_module.Border(Strike(order).meet).install()
        code = main_module.main(order.argv)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may return from here
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


if __name__ == '__main__':
    forks.serve(lambda order: run(Order(**order)))
