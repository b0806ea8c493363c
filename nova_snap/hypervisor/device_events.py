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


"""What libvirt tells of devices that a guest is asked to release."""

import contextlib
import typing as ty

import libvirt

from nova_snap import clock as clock_module
from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import listener


class DeviceEvents(listener.Listener):
    """Hears when a device was released, or was not.

    To be entered before a device is detached. Where libvirt does not let us
    listen, a guest that refuses is waited for as one that does not answer.

    :ivar refused: aliases of devices that the guest refuses to release;
        nothing but an event tells that
    :source: VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED
    """

    def __init__(self, connection: connection_module.Connection, uuid: str,
                 bell: clock_module.Bell) -> None:
        super().__init__(connection, uuid, bell)
        self.refused: set[str] = set()

    def __enter__(self) -> 'DeviceEvents':
        """Listen from here on, where libvirt lets us."""
        self._try_to_listen()
        return self

    def _register(self, connection: ty.Any, domain: ty.Any,
                  registered: contextlib.ExitStack) -> None:
        for event, call in (
                (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                 self._note_removed),
                (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                 self._note_refused)):
            self._register_event(connection, domain, registered, event, call)

    def _note_removed(self, *event: ty.Any) -> None:
        del event
        self._bell.ring()

    def _note_refused(self, *event: ty.Any) -> None:
        _, _, alias, _ = event
        self.refused.add(alias)
        self._bell.ring()
