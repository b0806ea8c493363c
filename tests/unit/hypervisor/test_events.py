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

import ddt
import libvirt
import libvirt_qemu
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import events as events_module
from tests.unit.hypervisor import connection as fake_connection
from tests.unit.hypervisor import test_errors

Ending = events_module.Ending

UUID = fake_connection.UUID
SECONDS = 60

ENDED = events_module.JobEnd(Ending.ENDED)
UNKNOWN = events_module.JobEnd(Ending.UNKNOWN)


def failed(reason):
    return events_module.JobEnd(Ending.FAILED, reason)


class EventsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.handle = fake_connection.make_domain()
        self.first, self.second = self.libvirts = [
            fake_connection.make_connection(self.handle) for _ in range(2)]
        for number, connection in enumerate(self.libvirts):
            connection.domainEventRegisterAny.return_value = number
        self.host = fake_connection.make_host(*self.libvirts)
        self.clock = self.host.connection.clock
        self.qemu = self.host.connection.qemu
        self.qemu.qemuMonitorEventRegister.return_value = 9

    def ring(self, status=libvirt.VIR_DOMAIN_BLOCK_JOB_READY,
             connection=None):
        """Call what was registered, as libvirt's event loop does."""
        connection = connection or self.first
        [[domain, event, callback, opaque],
         _] = connection.domainEventRegisterAny.call_args
        self.assertIs(self.handle, domain)
        self.assertEqual(libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, event)
        callback(connection, self.handle, 'vda', 2, status, opaque)

    def canceled(self, **asked):
        self.ring(libvirt.VIR_DOMAIN_BLOCK_JOB_CANCELED, **asked)

    def tell(self, event='BLOCK_JOB_COMPLETED', **details):
        """Say what QEMU says."""
        [[connection, domain, names, callback, opaque, flags],
         _] = self.qemu.qemuMonitorEventRegister.call_args
        self.assertIs(self.handle, domain)
        self.assertTrue(flags & libvirt_qemu.
                        VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX)
        self.assertRegex(event, names)
        callback(connection, domain, event, 1_790_000_000, 1, json.dumps(
            {'device': 'copy-vda-libvirt-1-format', **details}), opaque)

    def restart(self):
        """Break the connection: the next one is another."""
        self.first.isAlive.return_value = False


@ddt.ddt
class ListenTestCase(EventsTestCase):

    def test_an_event_ends_a_wait(self):
        with self.host.block_job_events(UUID) as events:
            self.ring()
            events.wait(SECONDS)
        self.assertEqual([], self.clock.slept)

    def test_without_one_the_wait_ends_all_the_same(self):
        with self.host.block_job_events(UUID) as events:
            events.wait(SECONDS)
        self.assertEqual([SECONDS], self.clock.slept)

    @ddt.data(None, libvirt.VIR_ERR_INVALID_CONN)
    def test_it_listens_as_long_as_its_block(self, code):
        # A connection that broke took the registrations with it.
        error = code and test_errors.libvirt_error(code)
        self.first.domainEventDeregisterAny.side_effect = error
        self.qemu.qemuMonitorEventDeregister.side_effect = error
        with self.host.block_job_events(UUID):
            self.first.domainEventDeregisterAny.assert_not_called()
            self.qemu.qemuMonitorEventDeregister.assert_not_called()
        self.first.domainEventDeregisterAny.assert_called_once_with(0)
        self.qemu.qemuMonitorEventDeregister.assert_called_once_with(
            self.first, 9)

    def test_a_domain_that_is_gone_is_an_error_of_ours(self):
        self.first.lookupByUUIDString.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_NO_DOMAIN))
        self.assertRaises(errors.DomainGone,
                          self.host.block_job_events(UUID).__enter__)

    def test_a_libvirt_that_does_not_let_us_listen_is_an_error(self):
        self.first.domainEventRegisterAny.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED))
        error = self.assertRaises(
            errors.HypervisorError, self.host.block_job_events(
                UUID).__enter__)
        self.assertEqual(libvirt.VIR_ERR_ACCESS_DENIED, error.code)
        self.assertIn('Take the snapshot again', str(error))
        self.assertIn('domainEventRegisterAny', str(error))

    def test_without_qemus_word_it_does_not_listen_at_all(self):
        self.qemu.qemuMonitorEventRegister.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED))
        error = self.assertRaises(
            errors.HypervisorError, self.host.block_job_events(
                UUID).__enter__)
        self.assertIn('qemuMonitorEventRegister', str(error))
        self.first.domainEventDeregisterAny.assert_called_once_with(0)
        self.qemu.qemuMonitorEventDeregister.assert_not_called()

    def test_on_another_connection_it_listens_again(self):
        with self.host.block_job_events(UUID) as events:
            self.restart()
            events.wait(SECONDS)
            self.ring(connection=self.second)
            events.wait(SECONDS)
        self.assertEqual([SECONDS], self.clock.slept)
        self.second.domainEventDeregisterAny.assert_called_once_with(1)
        self.assertEqual(2, self.qemu.qemuMonitorEventRegister.call_count)

    def test_it_listens_where_libvirtd_restarts_at_that_moment(self):
        def register(*args):
            if args[0] is self.first:
                self.restart()
                raise test_errors.libvirt_error(libvirt.VIR_ERR_RPC)
            return 9

        self.qemu.qemuMonitorEventRegister.side_effect = register
        with self.host.block_job_events(UUID) as events:
            self.tell()
            self.canceled(connection=self.second)
            self.assertEqual(ENDED, events.ending('vda'))
        self.first.domainEventDeregisterAny.assert_called_once_with(0)

    def test_on_the_same_one_it_does_not(self):
        with self.host.block_job_events(UUID) as events:
            events.wait(SECONDS)
        self.assertEqual(1, self.first.domainEventRegisterAny.call_count)

    def test_it_is_tried_again_where_libvirt_has_not_found_the_guest_yet(
            self):
        self.second.lookupByUUIDString.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_NO_DOMAIN))
        with self.host.block_job_events(UUID) as events:
            self.restart()
            events.wait(SECONDS)
            self.second.domainEventRegisterAny.assert_not_called()
            self.second.lookupByUUIDString.side_effect = None
            events.wait(SECONDS)
            self.second.domainEventRegisterAny.assert_called_once()


class EndingTestCase(EventsTestCase):
    """A mirror that is gone may have failed."""

    def ending(self, *told):
        with self.host.block_job_events(UUID) as events:
            for one in told:
                one()
            return events.ending('vda')

    def test_it_ended_well(self):
        self.assertEqual(ENDED, self.ending(self.tell, self.canceled))
        self.assertEqual([], self.clock.slept)

    def test_libvirt_hides_a_failure_and_qemu_tells(self):
        self.assertEqual(failed('No space left'), self.ending(
            lambda: self.tell(error='No space left'), self.canceled))

    def test_libvirt_tells_it(self):
        end = self.ending(
            lambda: self.ring(libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED))
        self.assertIs(Ending.FAILED, end.ending)
        self.assertIn('does not say why', end.reason)

    def test_libvirt_tells_it_and_qemu_does_not(self):
        end = self.ending(
            self.tell, lambda: self.ring(libvirt.VIR_DOMAIN_BLOCK_JOB_FAILED))
        self.assertIs(Ending.FAILED, end.ending)

    def test_cancelled_by_qemus_word_it_was_never_whole(self):
        end = self.ending(lambda: self.tell('BLOCK_JOB_CANCELLED'),
                          self.canceled)
        self.assertIs(Ending.FAILED, end.ending)
        self.assertIn('before it was ready', end.reason)

    def test_a_job_on_another_disk_is_not_ours(self):
        self.assertEqual(UNKNOWN, self.ending(lambda: self.tell(
            device='copy-vdb-libvirt-2-format', error='x'), self.canceled))

    def test_an_event_that_is_late_is_waited_for(self):
        with self.host.block_job_events(UUID) as events:
            inner = self.clock.sleep

            def sleep(seconds):
                inner(seconds)
                if len(self.clock.slept) == 3:
                    self.tell(error='late')
                    self.canceled()

            self.clock.sleep = sleep
            self.assertEqual(failed('late'), events.ending('vda'))
        self.assertEqual(3, len(self.clock.slept))

    def test_one_that_never_comes_is_waited_for_in_vain(self):
        self.assertEqual(UNKNOWN, self.ending())
        self.assertAlmostEqual(
            events_module.NEWS_SECONDS, sum(self.clock.slept))

    def test_libvirts_word_alone_does_not_say_that_it_ended_well(self):
        self.assertEqual(UNKNOWN, self.ending(self.canceled))

    def test_it_ended_while_no_connection_was_there(self):
        self.assertEqual(UNKNOWN, self.ending(self.restart))
        self.second.domainEventRegisterAny.assert_called_once()

    def test_it_ended_after_the_connection_was_there_again(self):
        with self.host.block_job_events(UUID) as events:
            self.restart()
            events.wait(SECONDS)
            self.tell()
            self.canceled(connection=self.second)
            self.assertEqual(ENDED, events.ending('vda'))


class DevicesTestCase(EventsTestCase):

    def event(self, which, alias):
        """Call the callback for one of libvirt's events."""
        for [domain, event, callback, opaque], _ in (
                self.first.domainEventRegisterAny.call_args_list):
            if event == which:
                callback(self.first, domain, alias, opaque)
                return
        self.fail('not registered')

    def test_a_device_that_is_released_ends_a_wait(self):
        with self.host.device_events(UUID) as events:
            self.event(libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, 'dev1')
            events.wait(SECONDS)
        self.assertEqual(([], set()), (self.clock.slept, events.refused))

    def test_one_that_is_not_is_kept_and_ends_it_too(self):
        with self.host.device_events(UUID) as events:
            self.event(libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                       'dev1')
            events.wait(SECONDS)
        self.assertEqual(([], {'dev1'}), (self.clock.slept, events.refused))

    def test_a_libvirt_that_does_not_let_us_listen_is_no_error(self):
        self.first.domainEventRegisterAny.side_effect = (
            test_errors.libvirt_error(libvirt.VIR_ERR_ACCESS_DENIED))
        with self.host.device_events(UUID) as events:
            events.wait(SECONDS)
        self.assertEqual([SECONDS], self.clock.slept)
