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

"""libvirt's own classes with nothing behind them.

For the calls that are made, word by word. What libvirt answers to them, and
what it refuses, is in tests/fakes and tests/functional.
"""

from unittest import mock

import libvirt
import libvirt_qemu

from nova_snap.hypervisor import connection as connection_module
from nova_snap.hypervisor import host as host_module
from tests.unit import clock as unit_clock

UUID = '5f1c1f70-7f0a-4b0e-9d62-0c5d3a8f1e11'
URI = 'qemu:///system'


def make_domain():
    """Return a domain of libvirt's class."""
    domain = mock.Mock(spec=libvirt.virDomain)
    domain.UUIDString.return_value = UUID
    # How many file systems there were.
    domain.fsFreeze.return_value = domain.fsThaw.return_value = 1
    return domain


def make_connection(domain=None, version=9_000_000):
    """Return a connection of libvirt's class that is alive."""
    connection = mock.Mock(spec=libvirt.virConnect)
    connection.isAlive.return_value = True
    connection.getLibVersion.return_value = version
    connection.lookupByUUIDString.return_value = domain
    connection.lookupByName.return_value = domain
    return connection


def make_host(*connections):
    """Return a host that is reached by this connection.

    :param connections: where it breaks, by those after it
    """
    left = iter(connections)
    return host_module.Host(connection_module.Connection(
        URI, connect=lambda uri: next(left), clock=unit_clock.Clock(),
        qemu=mock.Mock(spec=libvirt_qemu)))
