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

"""A full snapshots_directory leaves upstream's guest transient and frozen.

libvirt drops a mirror that fails; upstream takes a job that is not there for
one that is done, freezes the guest, fails to abort, and skips the definition
and the thaw.

:source: nova/virt/libvirt/guest.py is_job_complete
"""

import ddt

from nova_snap import errors
from tests.flow import scene as flow_scene


@ddt.ddt
class MirrorLostTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    # Looks: at the start, while it copies, when it is ready, at the abort.
    @ddt.data(1, 2, 3, 4, 5)
    def test_target_is_full(self, looks):
        self.fake.guest.mirror_life.ready_after = 4
        self.fake.guest.mirror_life.lost_after = looks
        process = self.fake.process()

        self.assertRaises(errors.MirrorFailed, self.take, process,
                          quiesce='require')

        self.assert_nothing_left(self.before)
        self.assertNotIn('convert', process.calls.names())

    @ddt.data('getTime', 'fsFreeze')
    def test_it_is_lost_when_it_was_ready(self, call):
        process = self.fake.process()
        process.calls.then(call, lambda: self.fake.guest.lose_mirror('vda'))

        error = self.assertRaises(errors.BlockJobLost, self.take, process,
                                  quiesce='require')

        self.assertIn('before it was told to', str(error))
        self.assert_nothing_left(self.before)

    def test_it_is_lost_in_the_last_moment(self):
        process = self.fake.process()
        process.calls.then('blockJobAbort',
                           lambda: self.fake.guest.lose_mirror('vda'),
                           flow_scene.When.BEFORE)

        self.assertRaises(errors.HypervisorError, self.take, process,
                          quiesce='require')

        self.assert_nothing_left(self.before)
