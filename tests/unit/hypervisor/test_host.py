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

import threading
from unittest import mock

import ddt
import fixtures
import libvirt
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import host as host_module
from tests.unit import clock as unit_clock
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

UUID = fake_connection.UUID


class Libvirtd:
    """A libvirtd that can be away.

    :ivar refusals: how many connections it refuses before it takes one
    """

    def __init__(self):
        self.connections = []
        self.refusals = 0

    def connect(self, uri):
        if self.refusals:
            self.refusals -= 1
            raise errors.HypervisorError(instance=uri, call='open',
                                         reason='connection refused')
        connection = fake_connection.make_connection(
            fake_connection.make_domain())
        self.connections.append(connection)
        return connection

    def restart(self, refusals):
        """Break all connections, and take none for a while."""
        for connection in self.connections:
            connection.isAlive.return_value = False
        self.refusals = refusals


class ConnectionTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.libvirtd = Libvirtd()
        self.clock = unit_clock.Clock()
        self.host = host_module.Host(fake_connection.URI,
                                     connect=self.libvirtd.connect,
                                     clock=self.clock)

    def test_nothing_is_opened_before_it_is_asked_for(self):
        self.assertEqual([], self.libvirtd.connections)

    def test_one_is_kept_as_long_as_it_lives(self):
        self.assertIs(self.host.connection(), self.host.connection())

    def test_a_first_one_that_is_refused_is_an_error_at_once(self):
        self.libvirtd.refusals = 1
        self.assertRaises(errors.HypervisorError, self.host.connection)
        self.assertEqual([], self.clock.slept)

    def test_one_that_broke_is_opened_again(self):
        before = self.host.connection()
        self.libvirtd.restart(refusals=0)
        self.assertIsNot(before, self.host.connection())
        self.assertEqual([], self.clock.slept)

    def test_a_libvirtd_that_restarts_is_waited_for(self):
        self.host.connection()
        self.libvirtd.restart(refusals=20)
        self.assertTrue(self.host.connection().isAlive())
        self.assertEqual(20, len(self.clock.slept))

    def test_but_not_for_ever(self):
        self.host.connection()
        self.libvirtd.restart(refusals=100_000)
        started = self.clock.now
        self.assertRaises(errors.HypervisorError, self.host.connection)
        self.assertAlmostEqual(host_module.RECONNECT_SECONDS,
                               self.clock.now - started, delta=1)

    def test_a_domain_that_is_held_can_be_let_go_after_a_restart(self):
        domain = self.host.domain(UUID)
        domain.freeze()
        self.libvirtd.restart(refusals=3)
        domain.thaw()
        first, second = self.libvirtd.connections
        first.lookupByUUIDString.return_value.fsThaw.assert_not_called()
        second.lookupByUUIDString.return_value.fsThaw \
            .assert_called_once_with(None, 0)


@ddt.ddt
class LookupTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.connection = fake_connection.make_connection(
            fake_connection.make_domain())
        self.host = fake_connection.make_host(self.connection)

    def refuse(self, call, code):
        getattr(self.connection, call).side_effect = (
            test_errors.libvirt_error(getattr(libvirt, code)))

    def test_by_uuid(self):
        self.assertEqual(UUID, self.host.lookup(UUID).uuid)
        self.connection.lookupByName.assert_not_called()

    @ddt.named_data(
        ['a word that is no UUID', 'VIR_ERR_INVALID_ARG'],
        ['a name that looks like a UUID', 'VIR_ERR_NO_DOMAIN'],
    )
    def test_by_name(self, code):
        self.refuse('lookupByUUIDString', code)
        self.assertEqual(UUID, self.host.lookup('guest').uuid)
        self.connection.lookupByName.assert_called_once_with('guest')

    def test_unknown(self):
        self.refuse('lookupByUUIDString', 'VIR_ERR_INVALID_ARG')
        self.refuse('lookupByName', 'VIR_ERR_NO_DOMAIN')
        error = self.assertRaises(errors.InstanceNotFound, self.host.lookup,
                                  'guest')
        self.assertIn('guest', str(error))
        self.assertIn(fake_connection.URI, str(error))
        self.assertIn('nova-snap list', str(error))

    @ddt.data('lookupByUUIDString', 'lookupByName')
    def test_a_libvirt_that_fails_does_not_say_unknown(self, call):
        self.refuse('lookupByUUIDString', 'VIR_ERR_INVALID_ARG')
        self.refuse(call, 'VIR_ERR_RPC')
        error = self.assertRaises(errors.HypervisorError, self.host.lookup,
                                  'guest')
        self.assertNotIsInstance(error, errors.InstanceNotFound)

    def test_all(self):
        self.connection.listAllDomains.return_value = [
            fake_connection.make_domain()]
        self.assertEqual([UUID], [domain.uuid for domain
                                  in self.host.domains()])

    @ddt.named_data(
        ['all', 'listAllDomains', lambda host: host.domains()],
        ['a definition', 'defineXML',
         lambda host: host.define('<domain/>', UUID)],
        ['the version of libvirt', 'getLibVersion',
         lambda host: host.version()],
        ['the version of QEMU', 'getVersion',
         lambda host: host.qemu_version()],
    )
    def test_a_refusal_is_an_error_of_ours(self, call, ask):
        self.refuse(call, 'VIR_ERR_INTERNAL_ERROR')
        error = self.assertRaises(errors.HypervisorError, ask, self.host)
        self.assertIn(call, str(error))

    def test_versions(self):
        self.connection.getLibVersion.return_value = 9_000_000
        self.connection.getVersion.return_value = 7_002_013
        self.assertEqual((9, 0, 0), self.host.version())
        self.assertEqual((7, 2, 13), self.host.qemu_version())


class EventLoopTestCase(base.BaseTestCase):
    """The one thread of the command's own."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.hypervisor.host._loop_runs', False))
        self.turns = threading.Semaphore(0)
        forever = threading.Event()
        self.addCleanup(forever.set)

        def turn():
            self.turns.release()
            # One that ends its loop would spin in a thread that stays.
            if forever.wait():
                raise SystemExit

        self.libvirt = {
            name: self.useFixture(fixtures.MockPatchObject(
                libvirt, name, autospec=True, **options)).mock
            for name, options in (
                ('registerErrorHandler', {}),
                ('virEventRegisterDefaultImpl', {}),
                ('virEventRunDefaultImpl', {'side_effect': turn}),
                ('open', {}))}

    def test_it_runs_before_the_connection_is_opened_and_once(self):
        order = mock.Mock()
        order.attach_mock(self.libvirt['virEventRegisterDefaultImpl'],
                          'register')
        order.attach_mock(self.libvirt['open'], 'open')
        host_module.open_connection(fake_connection.URI)
        host_module.open_connection(fake_connection.URI)
        self.assertTrue(self.turns.acquire(timeout=10))
        self.assertEqual(
            ['register', 'open', 'open'],
            [name for name, _, _ in order.mock_calls if '.' not in name
             and '(' not in name])

    def test_a_libvirtd_that_hangs_is_noticed(self):
        connection = host_module.open_connection(fake_connection.URI)
        connection.setKeepAlive.assert_called_once_with(5, 3)

    def test_where_no_libvirt_answers(self):
        self.libvirt['open'].side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_SYSTEM_ERROR, 'no socket')
        error = self.assertRaises(errors.HypervisorError,
                                  host_module.open_connection, 'qemu:///x')
        self.assertIn('qemu:///x', str(error))
        self.assertIn('no socket', str(error))
