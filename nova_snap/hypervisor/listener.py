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


"""What listens to libvirt's events of one domain.

An event ends a wait early; what is true is read from the domain. What an
event alone tells is for those that are made of this.
"""

import abc
import collections.abc as cabc
import contextlib
import types
import typing as ty

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import errors as hypervisor_errors

LOG = logging.getLogger(__name__)


class Listener(abc.ABC):
    """Hears what libvirt tells, from the start of its block to the end.

    libvirt calls the callbacks in a thread of its own, where nothing may be
    done but to keep what was told: under nova-compute not even a log.

    :param bell: rung at each event
    :source: nova/virt/libvirt/host.py _native_thread
    """

    def __init__(self, connection: connection_module.Connection, uuid: str,
                 bell: clock_module.Bell) -> None:
        self._connection = connection
        self._uuid = uuid
        self._bell = bell
        # The connection of libvirt's on which this listens.
        self._heard_on: ty.Any = None
        self._registered = contextlib.ExitStack()

    def __enter__(self) -> 'Listener':
        """Listen from here on.

        :raises DomainGone: when libvirt does not know the domain
        :raises HypervisorError: when libvirt does not let us listen
        :source: virConnectDomainEventRegisterAny
        """
        self._listen()
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        self._registered.close()

    def wait(self, seconds: float) -> None:
        """Wait so long, or less when something is heard.

        Where libvirt's connection is another one by then, listen on that;
        what was told between the two is lost.
        """
        self._bell.wait(seconds)
        self._try_to_listen()

    def _try_to_listen(self) -> None:
        """Listen, if this does not and libvirt lets it."""
        try:
            if self._connection.get() is not self._heard_on:
                self._listen()
        except errors.HypervisorError as exc:
            LOG.debug('No events of domain %s are heard: %s', self._uuid, exc)

    def _listen(self) -> None:
        connection = self._connection.get()
        try:
            self._listen_on(connection)
        except errors.HypervisorError:
            another = self._connection.get()
            if another is connection:
                raise
            # libvirtd was restarted while this began to listen.
            self._listen_on(another)

    def _listen_on(self, connection: ty.Any) -> None:
        # A connection that broke took the registrations with it.
        self._registered.close()
        with hypervisor_errors.translated(self._uuid,
                                          'domainEventRegisterAny'):
            domain = connection.lookupByUUIDString(self._uuid)
            with contextlib.ExitStack() as registered:
                self._register(connection, domain, registered)
                self._registered = registered.pop_all()
            self._heard_on = connection

    @abc.abstractmethod
    def _register(self, connection: ty.Any, domain: ty.Any,
                  registered: contextlib.ExitStack) -> None:
        """Register the callbacks, and in the stack their end."""

    def _register_event(self, connection: ty.Any, domain: ty.Any,
                        registered: contextlib.ExitStack, event: int,
                        call: cabc.Callable[..., None]) -> None:
        number = connection.domainEventRegisterAny(domain, event, call, None)
        registered.callback(deregister, connection.domainEventDeregisterAny,
                            number)


def deregister(call: cabc.Callable[..., ty.Any], *args: ty.Any) -> None:
    """Let a registration go, which may be gone with its connection."""
    with contextlib.suppress(*hypervisor_errors.RAISED):
        call(*args)
