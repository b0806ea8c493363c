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

"""The libvirt of this node: connection and domains.

A connection that breaks is opened again: a libvirtd that restarts while a
guest is held must not keep us from letting it go.
"""

import collections.abc as cabc
import contextlib
import dataclasses
import threading
import typing as ty

import libvirt
import libvirt_qemu

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import device_events as device_events_module
from nova_snap.hypervisor import domain as domain_module
from nova_snap.hypervisor import errors as hypervisor_errors
from nova_snap.hypervisor import events as events_module

# A restarted libvirtd with many guests needs some seconds to find them; a
# minute covers a busy node and still ends.
RECONNECT_SECONDS = 60.0
RECONNECT_PAUSE_SECONDS = 0.5
# Five seconds between probes, three without answer: a libvirtd that hangs is
# noticed after about twenty seconds.
KEEPALIVE_INTERVAL_SECONDS = 5
KEEPALIVE_COUNT = 3

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
        # libvirt prints its errors unless told not to; ours are raised.
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


class Host:
    """The domains of one libvirt.

    :param connect: opens a connection; called again when one breaks
    :param qemu: the module by which libvirt passes QEMU's own events on
    """

    def __init__(self, uri: str,
                 connect: cabc.Callable[[str], ty.Any] = open_connection,
                 clock: clock_module.Clock | None = None,
                 qemu: ty.Any = libvirt_qemu) -> None:
        self.uri = uri
        self._connect = connect
        self.clock = clock or clock_module.Clock()
        self._qemu = qemu
        self._connection: ty.Any = None

    def connection(self) -> ty.Any:
        """Return a connection that is alive.

        :raises HypervisorError: when none can be had within a minute
        """
        if self._connection is None:
            self._connection = self._connect(self.uri)
        elif not self._connection.isAlive():
            self._connection = self._reconnect()
        return self._connection

    def _reconnect(self) -> ty.Any:
        deadline = self.clock.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return self._connect(self.uri)
            except errors.HypervisorError:
                if self.clock.monotonic() > deadline:
                    raise
            self.clock.sleep(RECONNECT_PAUSE_SECONDS)

    def lookup(self, instance: str) -> 'domain_module.Domain':
        """Find an instance by libvirt name or UUID (which is Nova's).

        :raises InstanceNotFound: when there is none
        """
        connection = self.connection()
        for find in (connection.lookupByUUIDString, connection.lookupByName):
            try:
                return self.domain(find(instance).UUIDString())
            except libvirt.libvirtError as exc:
                if exc.get_error_code() not in (
                        libvirt.VIR_ERR_NO_DOMAIN,
                        libvirt.VIR_ERR_INVALID_ARG):
                    raise errors.HypervisorError(
                        instance=instance, call='lookup',
                        reason=str(exc)) from exc
        raise errors.InstanceNotFound(instance=instance, uri=self.uri)

    def domain(self, uuid: str) -> 'domain_module.Domain':
        """Return the domain of this UUID, which may be gone."""
        return domain_module.Domain(self, uuid)

    def domains(self) -> list['domain_module.Domain']:
        """Return all domains, running or not."""
        with hypervisor_errors.translated(self.uri, 'listAllDomains'):
            return [self.domain(d.UUIDString())
                    for d in self.connection().listAllDomains()]

    def define(self, xml: str, instance: str) -> None:
        """Define a domain, or give a running one its definition back.

        :raises HypervisorError: when libvirt does not accept the XML
        """
        with hypervisor_errors.translated(instance, 'defineXML'):
            self.connection().defineXML(xml)

    def block_job_events(
            self, uuid: str) -> contextlib.AbstractContextManager[
                events_module.BlockJobEvents]:
        """Listen to block jobs; to be entered before one is started."""
        return events_module.block_job_events(
            self.connection(),
            uuid,
            events_module.BlockJobEvents(self.clock),
            self._qemu,
        )

    def device_events(
            self, uuid: str) -> contextlib.AbstractContextManager[
                device_events_module.DeviceEvents]:
        """Listen to devices; to be entered before one is detached."""
        return device_events_module.device_events(self.connection(), uuid,
                                           device_events_module.DeviceEvents())

    def version(self) -> tuple[int, int, int]:
        """Return libvirt's version."""
        with hypervisor_errors.translated(self.uri, 'getLibVersion'):
            number = self.connection().getLibVersion()
        return number // 1_000_000, number // 1000 % 1000, number % 1000

    def qemu_version(self) -> tuple[int, int, int]:
        """Return the version of the hypervisor, QEMU."""
        with hypervisor_errors.translated(self.uri, 'getVersion'):
            number = self.connection().getVersion()
        return number // 1_000_000, number // 1000 % 1000, number % 1000
