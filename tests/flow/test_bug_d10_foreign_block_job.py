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

"""Upstream's first act is to abort the block job of the root disk.

Of any kind: a volume swap, a backup, a migration of storage.

:source: nova/virt/libvirt/driver.py _live_snapshot
"""

import ddt

from nova_snap import errors
from tests.fakes import disk as fake_disk
from tests.fakes import mirror as fake_mirror
from tests.flow import scene as flow_scene


@ddt.ddt
class ForeignJobTestCase(flow_scene.FlowTestCase):

    def theirs(self, job='copy'):
        path = str(self.fake.folder / 'theirs')
        fake_disk.DiskFile('qcow2', 0).save(path)
        return fake_mirror.FakeMirror(
            self.fake.disks[0], path, fake_mirror.MirrorLife(), 'qcow2',
            job=job)

    @ddt.data('copy', 'active-commit', 'pull')
    def test_it_is_refused_and_runs_on(self, job):
        self.fake.guest.create()
        theirs = self.fake.guest.mirrors['vda'] = self.theirs(job)
        process = self.fake.process()

        error = self.assertRaises(errors.InstanceBusy, self.take, process)

        self.assertIn('not ours to abort', str(error))
        self.assertIs(theirs, self.fake.guest.mirrors['vda'])
        self.assertEqual([], process.calls.changes())

    @ddt.data('undefineFlags', 'create', 'make_scratch')
    def test_it_began_after_the_plan_was_made(self, call):
        self.fake.guest.create()
        process = self.fake.process()
        theirs = self.theirs()
        process.calls.then(
            call, lambda: self.fake.guest.mirrors.update(vda=theirs))

        error = self.assertRaises(errors.HypervisorError, self.take, process)

        self.assertIn('already in active block job', str(error))
        self.assertIs(theirs, self.fake.guest.mirrors['vda'])
        self.assertTrue(self.fake.guest.isPersistent())
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.records())

    def test_recovery_ends_ours_and_no_other(self):
        self.fake.guest.create()
        self.die('blockRebase')
        self.fake.guest.blockJobAbort('vda')
        theirs = self.fake.guest.mirrors['vda'] = self.theirs()

        self.recover()

        self.assertIs(theirs, self.fake.guest.mirrors['vda'])
        self.assertEqual([], self.records())

    def test_stale_job_of_ours_is_ended(self):
        self.fake.guest.create()
        self.die('blockRebase')
        self.take(image_id='22222222-2222-4222-8222-222222222222')
        self.assertEqual({}, self.fake.guest.mirrors)
        self.assert_all_or_nothing()
