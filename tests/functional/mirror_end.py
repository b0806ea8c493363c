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

"""How mirrors end on a storage that hangs, and then breaks or comes back.

The same tests for each door: a class that has them says how the node is made.
"""

import json
import socket
import time

from nova_snap import errors
from nova_snap import units
from tests.functional import base
from tests.lab import process

SIZE = units.GiB
# Bytes that the guest has written and the mirror has not, and seconds for it.
LAG = 64 * units.KiB
LAG_TIMEOUT = 120
# Seconds after the mirror was told to end.
HANGS_SECONDS = 3
# Seconds for a mirror to write what it has not, and for an answer of QEMU's.
END_TIMEOUT = 60
QEMU_TIMEOUT = 10
# libvirt has so much of a guest's name in those of its folders.
# :source: libvirt src/conf/domain_conf.c virDomainDefGetShortName
SHORT_NAME = 20


def are_over(guest):
    """Ask a guest's QEMU itself whether its block jobs have ended.

    Only while no libvirtd runs: QEMU answers one at a time.

    :source: QEMU docs/interop/qmp-spec.rst; qapi/job.json JobStatus
    """
    name = guest.spec.name[:SHORT_NAME]
    (monitor,) = (guest.libvirtd.folder / 'lib' / 'qemu').glob(
        f'domain-*-{name}/monitor.sock')
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(QEMU_TIMEOUT)
        asking.connect(str(monitor))
        with asking.makefile() as lines:
            for words in 'qmp_capabilities', 'query-jobs':
                asking.sendall(json.dumps({'execute': words}).encode())
                # What comes before is a greeting, or an event.
                answer = next(told['return'] for told
                              in map(json.loads, lines) if 'return' in told)
    return all(job['status'] == 'concluded' for job in answer)


class EndCases:
    """A guest that writes, and a mirror that lags when it is to end.

    To be mixed into a :class:`base.FunctionalTest`.
    """

    def setUp(self):
        super().setUp()
        self.storage = self.file_system('end', SIZE)
        self.options['libvirt']['snapshots_directory'] = str(
            self.storage.path)
        self.options['nova_snap']['space_reserve'] = '0'
        self.running = self.guest('qcow2', shared=True)
        self.before = base.look(self.running)

    def break_down(self):
        self.storage.break_down()
        # What waits fails now.
        self.storage.hang(False)

    def fails(self, then, before=lambda: None):
        """Take a snapshot, and return how the end of its mirror failed it.

        :param then: happens some seconds after the mirror was told to end,
            on a storage that hangs, between two calls of libvirt
        :param before: happens right before the mirror is to end
        """
        told, happened = [], []

        def listen(call, *_):
            events = call()
            wait = events.wait

            def happen_and_wait(seconds):
                if (told and not happened
                        and time.monotonic() - told[0] > HANGS_SECONDS):
                    happened.append(then)
                    then()
                wait(seconds)

            events.wait = happen_and_wait
            return events

        def hang(call, *_):
            # Once: what undoes the mirror may call it again.
            if not told:
                self.storage.hang(True)
                process.wait_until(self._lags, timeout=LAG_TIMEOUT,
                                   what='a mirror that lags behind')
                before()
                told.append(time.monotonic())
            return call()

        error = self.assertRaises(
            errors.SnapError, self.take, self.running,
            base.Hooks({'host.block_job_events': listen,
                        'block_device.abort': hang}))
        self.assertEqual([then], happened)
        if isinstance(error, errors.RollbackIncomplete):
            # Nothing can be removed from a storage that is broken.
            error = error.__cause__
        self.assertEqual(set(self._images_before), set(self.images()))
        self.assert_guest_untouched(self.running, self.before)
        return error

    def _lags(self):
        job = self.running.domain.blockJobInfo('vda')
        return job and job['end'] - job['cur'] >= LAG

    def test_one_that_breaks_makes_no_image(self):
        error = self.fails(self.break_down)
        self.assertIsInstance(error, errors.BlockJobLost)
        self.assertIn('its end went wrong', str(error))

    def test_nor_where_it_is_heard_on_another_connection(self):
        error = self.fails(self.break_down,
                           before=self.lab.libvirtd.restart)
        self.assertIsInstance(error, errors.BlockJobLost)
        self.assertIn('its end went wrong', str(error))

    def test_nor_one_that_ends_while_no_libvirtd_hears_it(self):
        def end():
            self.storage.hang(False)
            process.wait_until(lambda: are_over(self.running),
                               timeout=END_TIMEOUT,
                               what='the end of the mirror')

        error = self.fails(lambda: self.lab.libvirtd.restart(
            while_it_is_down=end))
        self.assertIsInstance(error, errors.BlockJobLost)
        self.assertIn('no event told how it ended', str(error))
        self.assertEqual([], list(self.storage.path.glob('nova_snap-*')))
        self.assertEqual([], list(self.journal.glob('records/*')))
