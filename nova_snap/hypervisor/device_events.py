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

"""What libvirt tells of devices that a guest is asked to release.

An event ends a wait early; what is true is read from the domain. One thing
is told by an event alone: that the guest refuses.
"""

import collections.abc as cabc
import contextlib
import threading
import typing as ty

import libvirt
from oslo_log import log as logging

LOG = logging.getLogger(__name__)


class DeviceEvents:
    """A bell that rings when a device was released, or was not.

    Where nobody rings it, it is a clock.

    :ivar refused: aliases of devices that the guest refuses to release
    """

    def __init__(self) -> None:
        self._bell = threading.Event()
        self.refused: set[str] = set()

    def note_removed(self, *event: ty.Any) -> None:
        """Wake the waiter; this is libvirt's callback."""
        del event
        self._bell.set()

    def note_refused(self, *event: ty.Any) -> None:
        """Keep which one is not released; this is libvirt's callback."""
        _, _, alias, _ = event
        self.refused.add(alias)
        self._bell.set()

    def wait(self, seconds: float) -> None:
        """Wait for the bell, at most so long."""
        self._bell.wait(seconds)
        self._bell.clear()


@contextlib.contextmanager
def device_events(connection: ty.Any, uuid: str,
                  bell: DeviceEvents) -> cabc.Iterator[DeviceEvents]:
    """Listen from here on; to be entered before a device is detached.

    Where libvirt does not let us listen nobody rings, and a guest that
    refuses is waited for as one that does not answer.

    :source: virConnectDomainEventRegisterAny,
        VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED
    """
    with contextlib.ExitStack() as stack:
        try:
            domain = connection.lookupByUUIDString(uuid)
            for event, call in (
                    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                     bell.note_removed),
                    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                     bell.note_refused)):
                number = connection.domainEventRegisterAny(domain, event,
                                                           call, None)
                stack.callback(_deregister, connection, number)
        except libvirt.libvirtError as exc:
            LOG.debug('Nobody tells us what becomes of a device: %s', exc)
        yield bell


def _deregister(connection: ty.Any, number: int) -> None:
    # A connection that broke meanwhile took the registration with it.
    with contextlib.suppress(libvirt.libvirtError):
        connection.domainEventDeregisterAny(number)
