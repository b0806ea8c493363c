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

"""quiesce() and unquiesce(), which nova-api asks for around its volumes."""

from unittest import mock

import ddt
from nova import exception

from tests.fakes import agent as fake_agent
from tests.with_nova import scene

LIMIT_SECONDS = 30


class QuiesceTestCase(scene.SceneTestCase):

    system_metadata = scene.QUIESCE

    def configure(self, folder):
        super().configure(folder)
        self.flags(quiesce_limit=LIMIT_SECONDS, freeze_timeout=5,
                   group='nova_snap')

    def setUp(self):
        super().setUp()
        self.driver = self.start_driver()

    def quiesce(self):
        self.driver.quiesce(self.context, self.instance,
                            self.instance.image_meta)

    def unquiesce(self):
        self.driver.unquiesce(self.context, self.instance,
                              self.instance.image_meta)

    @property
    def agent(self):
        return self.guest.agent

    def assert_fails(self, act, kind=scene.QUIESCE_FAILED):
        raised = self.assertRaises(kind, act)
        self.assertIs(kind, type(raised))
        return raised


@ddt.ddt
class ContractTestCase(QuiesceTestCase):

    def test_frozen_in_between(self):
        self.quiesce()
        self.assertTrue(self.agent.frozen)
        self.assertEqual(1, len(self.records()))
        self.unquiesce()
        self.assert_guest_whole()
        self.assert_settled()

    def test_no_wait_without_an_end(self):
        self.quiesce()
        self.unquiesce()
        self.assertIn('libvirt agentSetResponseTimeout 5',
                      self.calls.changes())
        # As libvirt has it by default: it is Nova's again.
        self.assertEqual(fake_agent.SET_TIME_OUT_BLOCK, self.agent.timeout)

    @ddt.data('quiesce', 'unquiesce')
    def test_no_qemu(self, act):
        self.flags(virt_type='lxc', group='libvirt')
        self.assert_fails(getattr(self, act),
                          exception.InstanceQuiesceNotSupported)

    @ddt.data('quiesce', 'unquiesce')
    def test_an_image_without_agent(self, act):
        del self.instance.system_metadata['image_hw_qemu_guest_agent']
        self.assert_fails(getattr(self, act),
                          exception.QemuGuestAgentNotEnabled)

    def test_an_agent_that_is_not_there(self):
        self.agent.channel = fake_agent.Channel.DISCONNECTED
        self.assert_fails(self.quiesce)
        self.assert_settled()

    def test_an_agent_that_refuses(self):
        self.agent.refuses = {'fsFreeze'}
        self.assert_fails(self.quiesce)
        self.assert_guest_whole()
        self.assert_settled()

    def test_an_agent_that_hangs(self):
        # The freeze is done after the wait for it has ended.
        self.agent.slow = {'fsFreeze': 8}
        self.assert_fails(self.quiesce)
        self.fake.clock.sleep(LIMIT_SECONDS)
        self.assertFalse(self.agent.frozen)

    def test_no_guest(self):
        self.guest.destroy()
        self.assert_fails(self.quiesce)

    def test_no_domain(self):
        self.fake.delete_guest()
        self.assert_fails(self.quiesce)

    def test_a_second_freeze_is_refused(self):
        self.quiesce()
        self.assert_fails(self.quiesce)
        self.unquiesce()
        self.assert_guest_whole()

    def test_no_snapshot_in_between(self):
        self.quiesce()
        self.assertRaises(exception.NovaException, self.snapshot,
                          self.driver)
        self.assertTrue(self.agent.frozen)
        self.unquiesce()
        self.snapshot(self.driver)
        self.assert_guest_whole()


class ThawTestCase(QuiesceTestCase):

    def test_a_thaw_is_tried_again(self):
        self.quiesce()
        self.calls.fail_named('fsThaw', times=2)
        self.unquiesce()
        self.assert_guest_whole()

    def test_a_thaw_that_never_comes(self):
        self.quiesce()
        self.agent.refuses = {'fsThaw'}
        self.assert_fails(self.unquiesce)
        # What is left is written down, and is tried again.
        self.assertEqual(1, len(self.records()))
        self.agent.refuses = set()
        self.driver._recovery.at_start()
        self.assert_guest_whole()
        self.assert_settled()

    def test_the_watchdog(self):
        self.quiesce()
        self.fake.clock.sleep(LIMIT_SECONDS - 1)
        self.assertTrue(self.agent.frozen)
        self.fake.clock.sleep(1)
        self.assert_guest_whole()
        self.assert_settled()
        self.assertIn('was thawed before it was asked for',
                      self.stdlog.logger.output)

    def test_too_late(self):
        self.quiesce()
        self.fake.clock.sleep(LIMIT_SECONDS)
        with mock.patch('nova_snap.driver.interface.LOG',
                        autospec=True) as log:
            self.assert_fails(self.unquiesce)
        log.error.assert_called_once()

    def test_not_frozen_at_all(self):
        self.assert_fails(self.unquiesce)

    def test_the_service_ends(self):
        self.quiesce()
        self.driver.cleanup_host(scene.HOST)
        self.assert_guest_whole()
        self.assert_settled()

    def test_it_is_thawed_before_the_service_waits_for_snapshots(self):
        self.quiesce()
        stop = self.driver._snap.work.stop

        def stop_thawed():
            self.assert_guest_whole()
            stop()

        with mock.patch.object(self.driver._snap.work, 'stop', stop_thawed):
            self.driver.cleanup_host(scene.HOST)

    def test_the_service_waits_no_longer_than_systemd_lets_it(self):
        self.assertEqual(20, self.driver._snap.work.stop_seconds)
        with mock.patch('nova_snap.host.systemd.stop_limit', autospec=True,
                        return_value=15.0):
            self.driver._snap.check()
        self.assertEqual(10.0, self.driver._snap.work.stop_seconds)

    def test_the_service_dies(self):
        self.quiesce()
        # The locks of a process end with it; the record does not.
        self.driver._quiesced._held.pop(scene.UUID).stack.pop_all()
        with mock.patch('nova_snap.host.locks.lockutils.lock',
                        autospec=True):
            self.start_driver()._recovery.at_start()
        self.assert_guest_whole()
        self.assert_settled()


class ManagerTestCase(QuiesceTestCase):
    """nova-compute's own methods, which answer nova-api."""

    def test_through_nova_compute(self):
        manager = self.start_manager()
        manager.quiesce_instance(self.context, self.instance)
        self.assertTrue(self.agent.frozen)
        manager.unquiesce_instance(self.context, self.instance, None)
        self.assert_guest_whole()
