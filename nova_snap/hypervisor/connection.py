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


"""The one connection to libvirt, and each call on it.

A connection that breaks is opened again: a libvirtd that restarts while a
guest is held must not keep us from letting it go.
"""

import collections.abc as cabc
import dataclasses
import threading
import typing as ty

import libvirt
import libvirt_qemu

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import errors as hypervisor_errors

# A restarted libvirtd with many guests needs some seconds to find them; a
# minute covers a busy node and still ends.
RECONNECT_SECONDS = 60.0
# Between two tries: the guest may be frozen for as long.
FIRST_TRY_SECONDS = 0.25
LONGEST_TRY_SECONDS = 1.0
# Five seconds between probes, three without answer: a libvirtd that hangs is
# noticed after about twenty seconds.
KEEPALIVE_INTERVAL_SECONDS = 5
KEEPALIVE_COUNT = 3

Version: ty.TypeAlias = tuple[int, int, int]

_LOOP = threading.Lock()
_loop_runs = False


def start_event_loop() -> None:
    """Run libvirt's event loop in a thread of its own, once.

    To be called before a connection is opened: libvirt looks for the loop
    only then. Not under nova-compute, which has its own.

    :source: virEventRegisterDefaultImpl
    """
    global _loop_runs
    with _LOOP:
        if _loop_runs:
            return
        # libvirt prints its errors by default; ours are raised.
        libvirt.registerErrorHandler(lambda context, error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_event_loop, name='libvirt-events',
                         daemon=True).start()
        _loop_runs = True


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def open_connection(uri: str) -> libvirt.virConnect:
    """Open the command's own connection.

    :raises HypervisorError: when no libvirt answers at this address
    """
    start_event_loop()
    try:
        with hypervisor_errors.translated(uri, 'open'):
            connection = libvirt.open(uri)
            connection.setKeepAlive(KEEPALIVE_INTERVAL_SECONDS,
                                    KEEPALIVE_COUNT)
    except errors.HypervisorError as exc:
        raise dataclasses.replace(
            exc, reason=f'{exc.reason}. Does libvirtd run, may this user '
                        'speak to it, and is [libvirt]connection_uri right?'
        ) from exc
    return connection


class Connection:
    """The connection to one libvirt.

    :param connect: opens one; called again when one breaks
    :ivar qemu: the module by which libvirt passes QEMU's own events on
    """

    def __init__(self, uri: str,
                 connect: cabc.Callable[[str], ty.Any] = open_connection,
                 clock: clock_module.Clock | None = None,
                 qemu: ty.Any = libvirt_qemu) -> None:
        self.uri = uri
        self.clock = clock or clock_module.Clock()
        self.qemu = qemu
        self._connect = connect
        self._opened: ty.Any = None
        # What libvirt said of itself, and on which connection.
        self._versions: tuple[ty.Any, dict[str, Version]] = (None, {})

    def get(self) -> ty.Any:
        """Return libvirt's connection, alive.

        Another one after a restart of libvirtd: what was registered on the
        one before is gone.

        :raises HypervisorError: when none can be had within a minute
        """
        if self._opened is None:
            self._opened = self._connect(self.uri)
        elif not self._opened.isAlive():
            self._opened = self._open_again()
        return self._opened

    def _open_again(self) -> ty.Any:
        failure: errors.HypervisorError | None = None
        for _ in self.clock.looks(RECONNECT_SECONDS,
                                  first_pause=FIRST_TRY_SECONDS,
                                  longest_pause=LONGEST_TRY_SECONDS):
            try:
                return self._connect(self.uri)
            except errors.HypervisorError as exc:
                failure = exc
        assert failure is not None
        raise failure

    def call(self, uuid: str, call: str, *args: ty.Any) -> ty.Any:
        """Make a call on a domain, which is looked up anew.

        A handle does not survive a restart of libvirtd, or a domain that was
        undefined and defined again.

        :param call: libvirt's name of the method
        :raises DomainGone: when libvirt does not know the domain
        :raises HypervisorError: when libvirt refuses
        """
        with hypervisor_errors.translated(uuid, call):
            handle = self.get().lookupByUUIDString(uuid)
            return getattr(handle, call)(*args)

    def define(self, xml: str, instance: str) -> None:
        """Define a domain, or give a running one its definition back.

        :raises HypervisorError: when libvirt does not accept the XML
        """
        with hypervisor_errors.translated(instance, 'defineXML'):
            self.get().defineXML(xml)

    def version(self) -> Version:
        """Return libvirt's version, asked once a connection."""
        return self._version('getLibVersion')

    def qemu_version(self) -> Version:
        """Return the version of the hypervisor, QEMU; asked once, too."""
        return self._version('getVersion')

    def _version(self, call: str) -> Version:
        with hypervisor_errors.translated(self.uri, call):
            connection = self.get()
            asked, known = self._versions
            if asked is not connection:
                known = {}
                self._versions = (connection, known)
            if call not in known:
                number = getattr(connection, call)()
                known[call] = (number // 1_000_000, number // 1000 % 1000,
                               number % 1000)
            return known[call]


class OfDomain:
    """What libvirt has of one domain, which may be gone at any moment.

    :raises DomainGone: from every method, when libvirt does not know it
    :raises HypervisorError: from every method, when libvirt refuses
    """

    def __init__(self, connection: Connection, uuid: str) -> None:
        self._connection = connection
        self.uuid = uuid

    def _call(self, call: str, *args: ty.Any) -> ty.Any:
        return self._connection.call(self.uuid, call, *args)
