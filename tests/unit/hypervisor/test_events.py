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

import json
import threading

import ddt
import libvirt
import libvirt_qemu
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import events as events_module
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

UUID = fake_connection.UUID
# Longer than any of these tests: to wait for it is to fail.
LONG_SECONDS = 60


class EventsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.handle = fake_connection.make_domain()
        self.connection = fake_connection.make_connection(self.handle)
        self.connection.domainEventRegisterAny.return_value = 7
        self.host = fake_connection.make_host(self.connection)

    def ring(self, status=libvirt.VIR_DOMAIN_BLOCK_JOB_READY):
        """Call what was registered, as libvirt's event loop does."""
        [[domain, event, callback, opaque],
         _] = self.connection.domainEventRegisterAny.call_args
        self.assertIs(self.handle, domain)
        self.assertEqual(libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, event)
        callback(self.connection, self.handle, 'vda', 2, status, opaque)

    def test_an_event_ends_a_wait(self):
        with self.host.block_job_events(UUID) as bell:
            thread = threading.Thread(target=self.ring)
            thread.start()
            bell.wait(LONG_SECONDS)
            thread.join()

    def test_one_that_came_before_the_wait_is_not_missed(self):
        with self.host.block_job_events(UUID) as bell:
            self.ring()
            bell.wait(LONG_SECONDS)

    def test_without_one_the_wait_ends_all_the_same(self):
        with self.host.block_job_events(UUID) as bell:
            self.ring()
            bell.wait(LONG_SECONDS)
            bell.wait(0)

    def test_it_listens_as_long_as_its_block(self):
        with self.host.block_job_events(UUID):
            self.connection.domainEventDeregisterAny.assert_not_called()
        self.connection.domainEventDeregisterAny.assert_called_once_with(7)

    def test_a_connection_that_broke_meanwhile_is_no_error(self):
        self.connection.domainEventDeregisterAny.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_INVALID_CONN))
        with self.host.block_job_events(UUID):
            pass

    def test_a_domain_that_is_gone_is_an_error_of_ours(self):
        self.connection.lookupByUUIDString.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_NO_DOMAIN))
        self.assertRaises(errors.DomainGone,
                          self.host.block_job_events(UUID).__enter__)

    def test_a_libvirt_that_lets_nobody_listen_is_told_with_a_remedy(self):
        self.connection.domainEventRegisterAny.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED))
        error = self.assertRaises(
            errors.HypervisorError, self.host.block_job_events(
                UUID).__enter__)
        self.assertEqual(libvirt.VIR_ERR_ACCESS_DENIED, error.code)
        self.assertIn('Take the snapshot again', str(error))
        self.assertIn('domainEventRegisterAny', str(error))


@ddt.ddt
class FailureTestCase(EventsTestCase):
    """A mirror that is gone may have failed."""

    def tell(self, event='BLOCK_JOB_COMPLETED', **details):
        """Say what QEMU says."""
        [[connection, domain, names, callback, opaque, flags],
         _] = self.qemu.qemuMonitorEventRegister.call_args
        self.assertEqual((self.connection, self.handle),
                         (connection, domain))
        self.assertTrue(flags & libvirt_qemu.
                        VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX)
        self.assertRegex(event, names)
        callback(connection, domain, event, 1_790_000_000, 1, json.dumps(
            {'device': 'copy-vda-libvirt-1-format', **details}), opaque)

    def setUp(self):
        super().setUp()
        self.qemu = self.host.connection.qemu
        self.qemu.qemuMonitorEventRegister.return_value = 9
        self.clock = self.host.connection.clock

    def failure(self, *told):
        with self.host.block_job_events(UUID) as bell:
            bell.wait = self.clock.sleep
            for one in told:
                one()
            return bell.failure('vda')

    def canceled(self):
        self.ring(libvirt.VIR_DOMAIN_BLOCK_JOB_CANCELED)

    def test_it_did_not(self):
        self.assertIsNone(self.failure(self.tell, self.canceled))
        self.assertEqual([], self.clock.slept)

    def test_libvirt_hides_it_and_qemu_tells(self):
        self.assertEqual('No space left', self.failure(
            lambda: self.tell(error='No space left'), self.canceled))

    def test_libvirt_tells(self):
        self.assertIn('does not say why', self.failure(
            lambda: self.ring(libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED)))

    def test_cancelled_by_qemus_word_it_was_never_whole(self):
        self.assertIn('before it was ready', self.failure(
            lambda: self.tell('BLOCK_JOB_CANCELLED'), self.canceled))

    def test_a_job_on_another_disk_is_not_ours(self):
        self.assertIsNone(self.failure(lambda: self.tell(
            device='copy-vdb-libvirt-2-format', error='x'), self.canceled))

    def test_an_event_that_is_late_is_waited_for(self):
        with self.host.block_job_events(UUID) as bell:
            def wait(seconds):
                self.tell(error='late')
                self.canceled()

            bell.wait = wait
            self.assertEqual('late', bell.failure('vda'))

    def test_one_that_never_comes_is_not(self):
        self.assertIsNone(self.failure())
        self.assertAlmostEqual(
            events_module.NEWS_SECONDS, sum(self.clock.slept), delta=0.1
        )

    def test_where_nobody_rings_nothing_is_waited_for(self):
        bell = events_module.BlockJobEvents(self.clock)
        self.assertIsNone(bell.failure('vda'))
        self.assertEqual([], self.clock.slept)

    def test_a_libvirt_that_passes_nothing_on_is_no_error(self):
        self.qemu.qemuMonitorEventRegister.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED))
        self.assertIsNone(self.failure(self.canceled))
        self.qemu.qemuMonitorEventDeregister.assert_not_called()

    @ddt.data(None, libvirt.VIR_ERR_INVALID_CONN)
    def test_it_listens_as_long_as_its_block(self, code):
        if code is not None:
            self.qemu.qemuMonitorEventDeregister.side_effect = (
                test_errors.libvirt_error(code))
        with self.host.block_job_events(UUID):
            self.qemu.qemuMonitorEventDeregister.assert_not_called()
        self.qemu.qemuMonitorEventDeregister.assert_called_once_with(
            self.connection, 9)
