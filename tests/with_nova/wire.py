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

"""libvirt's wire below Nova's own Host and Guest.

What is asked of a domain is answered by the fakes that our flow tests have;
what is asked of the node, by Nova's own fixture.
"""

# ruff: noqa: N802, N803 - libvirt's names

from nova.tests.fixtures import libvirt as fakelibvirt

from tests.fakes import libvirtd as fake_libvirtd
from tests.fakes import refusal

URI = 'qemu:///system'
_QEMU = fake_libvirtd.FakeQemuModule()
_UNAME = fakelibvirt.os_uname('Linux', '', '6.1.0', '', 'x86_64')
# What Nova and we ask of the node, other than of its domains, and where: the
# node is the one that Nova's fixture describes, and no event comes from it.
NODE = (
    ('os.uname', lambda: _UNAME),
    ('libvirt_qemu.qemuAgentCommand', _QEMU.qemuAgentCommand),
    ('libvirt_qemu.qemuMonitorEventRegister', _QEMU.qemuMonitorEventRegister),
    ('libvirt_qemu.qemuMonitorEventDeregister',
     _QEMU.qemuMonitorEventDeregister),
    ('nova.compute.utils.get_machine_ips', list),
    ('nova.virt.libvirt.host.Host._init_events', lambda host: None),
    # It waits for ever where a test lets Nova start no thread: Nova 26.
    ('nova.virt.libvirt.host.Host._conn_event_thread', lambda host: None),
    ('nova.virt.libvirt.host.Host._log_host_capabilities', lambda xml: None))


class Connection(fake_libvirtd.FakeConnection):
    """Nova's one connection.

    :ivar listeners: the events of all guests that Nova listens to; none of
        them comes
    """

    def __init__(self, libvirtd, calls):
        super().__init__(libvirtd, calls)
        self._node = fakelibvirt.Connection(URI)
        self.listeners = []

    def __getattr__(self, name):
        return getattr(self._node, name)

    def domainEventRegisterAny(self, dom, eventID, cb, opaque):
        if dom is not None:
            return super().domainEventRegisterAny(dom, eventID, cb, opaque)
        self.listeners.append(eventID)
        return -len(self.listeners)


class Libvirtd:
    """Opens connections, and counts them.

    :ivar opened: the addresses that a connection was opened to
    :ivar refused: connections that are refused before the next one is opened
    """

    def __init__(self, libvirtd, calls):
        self._libvirtd = libvirtd
        self._calls = calls
        self.opened = []
        self.refused = 0

    def open_auth(self, uri, auth, flags):
        """Stand for libvirt.openAuth."""
        if self.refused:
            self.refused -= 1
            raise refusal.down()
        self.opened.append(uri)
        return Connection(self._libvirtd, self._calls)
