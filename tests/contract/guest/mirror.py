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

"""Copy jobs: what they need, how they end."""

import libvirt

from nova_snap import errors
from nova_snap.hypervisor import events as events_module
from tests.contract.guest import contract

Ending = events_module.Ending

ACTIVE = libvirt.VIR_ERR_BLOCK_COPY_ACTIVE
INVALID_ARG = libvirt.VIR_ERR_INVALID_ARG


class MirrorContract(contract.Contract):

    def assert_runs(self, path):
        mirror = self.device.mirror()
        self.assertEqual((path, 'qcow2', 'copy'),
                         (mirror.path, mirror.format, mirror.job))
        self.assertEqual('copy', self.device.job().kind)

    def assert_none_runs(self):
        self.assertIsNone(self.device.mirror())
        self.assertIsNone(self.device.job())

    def test_none_runs(self):
        self.assert_none_runs()
        refused = contract.refused(INVALID_ARG, self.device.abort)
        self.assertIn('does not have an active block job', str(refused))

    def test_defined_it_is_not_rebased(self):
        refused = self.assert_invalid(
            self.device.rebase_to_copy, self.side.make_delta(), 0)
        self.assertIn('domain is not transient', str(refused))
        self.assert_none_runs()

    def test_rebased_and_defined_again_the_job_runs_on(self):
        path = self.side.make_delta()
        before = self.domain.definition()
        self.domain.undefine()
        self.device.rebase_to_copy(path, 0)
        self.assert_runs(path)

        self.domain.define_again(before)

        self.assert_runs(path)
        self.assertEqual(before, self.domain.definition())
        self.wait_ready(path)
        self.assertTrue(self.device.mirror().ready)
        self.device.abort()
        self.assert_none_runs()
        contract.refused(INVALID_ARG, self.device.abort)

    def test_copied_it_stays_defined(self):
        path = self.side.make_delta()
        self.device.copy_transient(path, 0)
        self.assert_runs(path)
        self.assertTrue(self.domain.is_persistent())
        self.wait_ready(path)
        self.device.abort()
        self.assert_none_runs()

    def test_transient_it_is_copied_too(self):
        path = self.side.make_delta()
        self.domain.undefine()
        self.device.copy_transient(path, 0)
        self.assert_runs(path)

    def test_while_it_runs_there_is_no_other_and_no_save(self):
        self.device.copy_transient(self.side.make_delta(), 0)
        other = self.side.make_delta()
        contract.refused(ACTIVE, self.device.copy_transient, other, 0)
        self.assert_invalid(self.domain.managed_save)
        self.domain.undefine()
        contract.refused(ACTIVE, self.device.rebase_to_copy, other, 0)

    def test_it_is_ended_before_it_is_ready(self):
        path = self.side.make_delta()
        self.device.copy_transient(path, contract.SLOW)
        self.assertFalse(self.device.mirror().ready)
        self.device.abort()
        self.assert_none_runs()

    def test_what_it_leaves_is_the_disk(self):
        path = self.side.make_delta()
        self.side.theirs().suspend()
        self.device.copy_transient(path, 0)
        self.wait_ready(path)
        self.device.abort()
        self.side.theirs().destroy()
        self.assertTrue(self.side.is_copy(path))

    def test_what_it_leaves_too_early_is_not(self):
        path = self.side.make_delta()
        self.side.theirs().suspend()
        self.device.copy_transient(path, contract.SLOW)
        self.device.abort()
        self.side.theirs().destroy()
        self.assertFalse(self.side.is_copy(path))

    def test_into_a_full_file_system_it_vanishes(self):
        before = self.domain.definition()
        with self.side.full_delta() as path:
            self.domain.undefine()
            self.device.rebase_to_copy(path, 0)
            self.assertRaises(errors.BlockJobLost, self._watch, path)
            self.assert_none_runs()
            contract.refused(INVALID_ARG, self.device.abort)
        self.assertTrue(self.domain.is_active())
        self.assertFalse(self.domain.is_persistent())
        self.domain.define_again(before)

    def _watch(self, path):
        """Look at it until it is gone; it may be ready first."""
        while True:
            self.wait_ready(path)
            self.side.clock.sleep(0.1)

    def test_only_one_can_listen(self):
        def listen():
            with self.side.host.block_job_events(self.side.uuid):
                pass

        with self.side.host.block_job_events(self.side.uuid):
            contract.refused(INVALID_ARG, listen)
        listen()

    def test_how_it_ended_is_told(self):
        path = self.side.make_delta()
        with self.side.host.block_job_events(self.side.uuid) as events:
            self.device.copy_transient(path, 0)
            self.wait_ready(path, events)
            self.device.abort(wait=events.wait)
            self.assertEqual(events_module.JobEnd(Ending.ENDED),
                             events.ending(contract.DISK))

    def test_it_fails_after_it_was_told_to_end(self):
        with (self.side.storage() as storage,
              self.side.host.block_job_events(self.side.uuid) as events):
            self.device.copy_transient(storage.delta, 0)
            self.wait_ready(storage.delta, events)
            storage.hang(True)
            self.side.wait_for_lag()
            looks = []

            def wait(seconds):
                looks.append(self.device.mirror())
                if len(looks) == 1:
                    storage.break_down()
                events.wait(seconds)

            # It looks as if it had ended well.
            self.device.abort(wait=wait)
            self.assertTrue(looks[0].is_ending)
            self.assert_none_runs()
            end = events.ending(contract.DISK)
            self.assertIs(Ending.FAILED, end.ending)
            self.assertTrue(end.reason)
        self.assertTrue(self.domain.is_active())

    def test_while_its_storage_hangs_it_does_not_end(self):
        with self.side.storage() as storage:
            self.device.copy_transient(storage.delta, 0)
            self.wait_ready(storage.delta)
            storage.hang(True)
            self.side.wait_for_lag()
            for _ in range(2):
                # The second time libvirt says no: it was told before.
                self.assertRaises(
                    errors.MirrorTimeout, self.device.abort,
                    timeout=contract.HANG_SECONDS)
                mirror = self.device.mirror()
                self.assertEqual((storage.delta, False, True),
                                 (mirror.path, mirror.ready,
                                  mirror.is_ending))
            self.assertTrue(self.domain.is_active())
            storage.hang(False)
            # As it was told.
            while self.device.mirror() is not None:
                self.side.clock.sleep(0.1)
            self.assert_none_runs()

    def test_the_file_says_what_format_is_written(self):
        path = self.side.make_raw_file()
        self.domain.undefine()
        self.device.rebase_to_copy(path, 0)
        self.assertEqual('raw', self.device.mirror().format)

    def test_file_that_is_not_there(self):
        contract.refused(libvirt.VIR_ERR_SYSTEM_ERROR,
                         self.device.copy_transient, '/nowhere/delta', 0)
        self.assert_none_runs()

    def test_disk_that_is_not_there(self):
        other = self.domain.block_device('vdz')
        contract.refused(INVALID_ARG, other.copy_transient,
                         self.side.make_delta(), 0)

    def test_size_of_the_disk(self):
        size, allocated = self.domain.block_sizes(contract.DISK)
        self.assertLess(0, size)
        self.assertLessEqual(0, allocated)

    def test_powered_off_it_is_gone_and_the_domain_is_not(self):
        path = self.side.make_delta()
        before = self.domain.definition()
        self.domain.undefine()
        self.device.rebase_to_copy(path, 0)
        self.domain.define_again(before)

        self.side.theirs().destroy()

        self.assertIsNone(self.device.mirror())
        self.assert_invalid(self.device.job)
        self.assertEqual(before, self.domain.definition())

    def test_off_there_is_none(self):
        self.side.theirs().destroy()
        path = self.side.make_delta()
        for call, *args in (
                (self.device.copy_transient, path, 0),
                (self.device.rebase_to_copy, path, 0),
                (self.device.abort,),
                (self.device.job,)):
            self.assert_invalid(call, *args)
        self.assertIsNone(self.device.mirror())

    def test_it_runs_on_while_libvirtd_restarts(self):
        path = self.side.make_delta()
        self.device.copy_transient(path, 0)
        self.side.restart_libvirtd()
        self.assert_runs(path)
        self.wait_ready(path)
        self.device.abort()
        self.assert_none_runs()

    def test_undefined_while_it_runs(self):
        path = self.side.make_delta()
        self.device.copy_transient(path, 0)
        self.domain.undefine()
        self.assert_runs(path)
