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
from nova_snap.hypervisor import connection as connection_module
from tests.unit import clock as unit_clock
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

UUID = fake_connection.UUID


class Libvirtd:
    """A libvirtd that can be away.

    :ivar version: what a new connection says
    :ivar refusals: how many connections it refuses before it takes one
    """

    def __init__(self):
        self.connections = []
        self.refusals = 0
        self.version = 9_000_000

    def connect(self, uri):
        if self.refusals:
            self.refusals -= 1
            raise errors.HypervisorError(instance=uri, call='open',
                                         reason='connection refused')
        connection = fake_connection.make_connection(
            fake_connection.make_domain(), self.version)
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
        self.connection = connection_module.Connection(
            fake_connection.URI, connect=self.libvirtd.connect,
            clock=self.clock)

    def test_nothing_is_opened_before_it_is_asked_for(self):
        self.assertEqual([], self.libvirtd.connections)

    def test_one_is_kept_as_long_as_it_lives(self):
        self.assertIs(self.connection.get(), self.connection.get())

    def test_a_first_one_that_is_refused_is_an_error_at_once(self):
        self.libvirtd.refusals = 1
        self.assertRaises(errors.HypervisorError, self.connection.get)
        self.assertEqual([], self.clock.slept)

    def test_one_that_broke_is_opened_again(self):
        before = self.connection.get()
        self.libvirtd.restart(refusals=0)
        self.assertIsNot(before, self.connection.get())
        self.assertEqual([], self.clock.slept)

    def test_a_libvirtd_that_restarts_is_waited_for(self):
        self.connection.get()
        self.libvirtd.restart(refusals=20)
        self.assertTrue(self.connection.get().isAlive())
        self.assertEqual(20, len(self.clock.slept))

    def test_but_not_for_ever(self):
        self.connection.get()
        self.libvirtd.restart(refusals=100_000)
        started = self.clock.now
        self.assertRaises(errors.HypervisorError, self.connection.get)
        self.assertAlmostEqual(connection_module.RECONNECT_SECONDS,
                               self.clock.now - started, delta=1)

    def test_a_domain_that_is_held_can_be_let_go_after_a_restart(self):
        self.connection.call(UUID, 'fsFreeze', None, 0)
        self.libvirtd.restart(refusals=3)
        self.connection.call(UUID, 'fsThaw', None, 0)
        first, second = self.libvirtd.connections
        first.lookupByUUIDString.return_value.fsThaw.assert_not_called()
        second.lookupByUUIDString.return_value.fsThaw \
            .assert_called_once_with(None, 0)

    def test_another_libvirtd_may_have_another_version(self):
        self.assertEqual((9, 0, 0), self.connection.version())
        self.libvirtd.restart(refusals=0)
        self.libvirtd.version = 10_001_000
        self.assertEqual((10, 1, 0), self.connection.version())


@ddt.ddt
class CallsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.handle = fake_connection.make_domain()
        self.raw = fake_connection.make_connection(self.handle)
        self.connection = fake_connection.make_host(self.raw).connection

    def test_a_domain_is_looked_up_for_every_call(self):
        # A handle does not survive what happens to a domain.
        self.handle.ID.return_value = 3
        for _ in range(2):
            self.assertEqual(3, self.connection.call(UUID, 'ID'))
        self.assertEqual([mock.call(UUID)] * 2,
                         self.raw.lookupByUUIDString.call_args_list)

    def test_a_definition_is_handed_on(self):
        self.connection.define('<domain/>', UUID)
        self.raw.defineXML.assert_called_once_with('<domain/>')

    @ddt.named_data(
        ['a definition', 'defineXML',
         lambda connection: connection.define('<domain/>', UUID)],
        ['the version of libvirt', 'getLibVersion',
         lambda connection: connection.version()],
        ['the version of QEMU', 'getVersion',
         lambda connection: connection.qemu_version()],
    )
    def test_a_refusal_is_an_error_of_ours(self, call, ask):
        getattr(self.raw, call).side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_INTERNAL_ERROR)
        error = self.assertRaises(errors.HypervisorError, ask,
                                  self.connection)
        self.assertIn(call, str(error))

    def test_a_version_is_asked_once(self):
        self.raw.getLibVersion.return_value = 9_000_000
        self.raw.getVersion.return_value = 7_002_013
        for _ in range(2):
            self.assertEqual((9, 0, 0), self.connection.version())
            self.assertEqual((7, 2, 13), self.connection.qemu_version())
        self.raw.getLibVersion.assert_called_once_with()
        self.raw.getVersion.assert_called_once_with()


class EventLoopTestCase(base.BaseTestCase):
    """The one thread of the command's own."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.hypervisor.connection._loop_runs', False))
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
        connection_module.open_connection(fake_connection.URI)
        connection_module.open_connection(fake_connection.URI)
        self.assertTrue(self.turns.acquire(timeout=10))
        self.assertEqual(
            ['register', 'open', 'open'],
            [name for name, _, _ in order.mock_calls if '.' not in name
             and '(' not in name])

    def test_a_libvirtd_that_hangs_is_noticed(self):
        connection = connection_module.open_connection(fake_connection.URI)
        connection.setKeepAlive.assert_called_once_with(5, 3)

    def test_where_no_libvirt_answers(self):
        self.libvirt['open'].side_effect = test_errors.libvirt_error(
            libvirt.VIR_ERR_SYSTEM_ERROR, 'no socket')
        error = self.assertRaises(
            errors.HypervisorError, connection_module.open_connection,
            'qemu:///x')
        self.assertIn('qemu:///x', str(error))
        self.assertIn('no socket', str(error))
