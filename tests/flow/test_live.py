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

import dataclasses

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import live
from nova_snap.model import consistency as consistency_model
from nova_snap.model.plan import plan as plan_model
from tests.fakes import disk as fake_disk
from tests.fakes import domain as fake_domain
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

SNAPSHOT = '<domainsnapshot><name>before</name></domainsnapshot>'
CHECKPOINT = '<domaincheckpoint><name>monday</name></domaincheckpoint>'

# The order of the flow: what is said first is done first.
FROZEN = [
    'journal write begin',
    'journal write CreateImage intent',
    'glance create',
    'journal write CreateImage done',
    'journal write MakeScratch intent',
    'files make_scratch',
    'journal write MakeScratch done',
    'qemu-img create delta.qcow2 base1 raw',
    'journal write StartMirror intent',
    # The definition is on the disk before it is taken away.
    'journal write UndefineDomain intent',
    'libvirt undefineFlags KEEP_NVRAM|KEEP_TPM',
    'journal write UndefineDomain done',
    'libvirt blockRebase vda delta.qcow2 0 '
    'SHALLOW|REUSE_EXT|COPY|BANDWIDTH_BYTES',
    'journal write StartMirror done',
    # At once, and not when the copy is done.
    'libvirt defineXML',
    'journal write UndefineDomain undone',
    'journal write BoundAgentWaits intent',
    'libvirt agentSetResponseTimeout 10',
    'libvirt getTime',
    'journal write BoundAgentWaits done, FreezeFilesystems intent',
    'libvirt fsFreeze',
    # The point in time.
    'libvirt blockJobAbort vda ASYNC',
    'libvirt agentSetResponseTimeout 10',
    'libvirt fsThaw',
    'libvirt agentSetResponseTimeout -2',
    'journal write FreezeFilesystems undone',
    'libvirt agentSetResponseTimeout -2',
    'journal write BoundAgentWaits undone',
    'journal write StartMirror undone',
    'files own delta.qcow2',
    'qemu-img convert delta.qcow2:qcow2 base1:raw image-vda:qcow2',
    'files remove delta.qcow2',
    # The room that it needs no more.
    'journal write',
    'glance set_properties nova_snap_consistency=frozen, '
    f'nova_snap_consistency_of={flow_scene.IMAGE}',
    'glance upload',
    'journal write commit',
    'files remove_scratch',
    'journal write MakeScratch undone',
    'journal remove',
]


class OrderTestCase(flow_scene.FlowTestCase):

    def test_frozen_guest(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()

        result = self.take(process, quiesce='require')

        self.assertEqual(FROZEN, process.calls.changes())
        self.assertEqual(consistency_model.FROZEN, result.consistency)
        self.assertEqual('frozen', result.file_systems)
        self.assertEqual(flow_scene.IMAGE, result.images[0].image_id)
        self.assertEqual('active', result.images[0].status)
        self.assertEqual(plan_model.Method.LIVE, result.plan.method)
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    def test_guest_that_is_not_frozen(self):
        self.fake.guest.create()
        process = self.fake.process()

        result = self.take(process)

        self.assertEqual(
            ['undefineFlags KEEP_NVRAM|KEEP_TPM',
             'blockRebase vda delta.qcow2 0 '
             'SHALLOW|REUSE_EXT|COPY|BANDWIDTH_BYTES',
             'defineXML',
             'blockJobAbort vda ASYNC'],
            process.calls.of('libvirt'))
        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assert_all_or_nothing()

    def test_copy_method_never_undefines(self):
        self.fake.guest.create()
        self.fake.set(live_method='copy')
        process = self.fake.process()

        self.take(process)

        self.assertEqual(
            ['blockCopy vda delta.qcow2 0 SHALLOW|REUSE_EXT|TRANSIENT_JOB',
             'blockJobAbort vda ASYNC'],
            process.calls.of('libvirt'))
        self.assert_all_or_nothing()

    def test_transient_domain_is_never_defined(self):
        self.fake.guest.create()
        self.fake.guest.undefineFlags(0)
        before = self.state()
        process = self.fake.process()

        self.take(process)

        self.assertEqual(
            ['blockRebase vda delta.qcow2 0 '
             'SHALLOW|REUSE_EXT|COPY|BANDWIDTH_BYTES',
             'blockJobAbort vda ASYNC'],
            process.calls.of('libvirt'))
        self.assert_guest_untouched(before)

    def test_transient_domain_with_copy_method(self):
        self.fake.set(live_method='copy')
        self.fake.guest.create()
        self.fake.guest.undefineFlags(0)
        before = self.state()

        self.take()

        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_libvirt_that_knows_no_keep_tpm(self):
        self.fake.libvirtd.version = 8_000_000
        self.fake.guest.create()
        process = self.fake.process()

        self.take(process)

        self.assertIn('undefineFlags KEEP_NVRAM',
                      process.calls.of('libvirt'))

    def test_bandwidth_is_bytes_for_mirror_and_copy(self):
        for method, call in (
                ('rebase', 'blockRebase vda delta.qcow2 1000 '
                           'SHALLOW|REUSE_EXT|COPY|BANDWIDTH_BYTES'),
                ('copy', 'blockCopy vda delta.qcow2 1000 '
                         'SHALLOW|REUSE_EXT|TRANSIENT_JOB')):
            self.fake = self.make_node(self.spec)
            self.fake.set(live_method=method, bandwidth=1000)
            self.fake.guest.create()
            process = self.fake.process()
            self.take(process)
            self.assertIn(call, process.calls.of('libvirt'))


@ddt.ddt
class StatesTestCase(flow_scene.FlowTestCase):

    @ddt.data(libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED,
              libvirt.VIR_DOMAIN_PMSUSPENDED)
    def test_it_is_taken_and_the_guest_stays_so(self, state):
        self.fake.guest.create()
        self.fake.guest.now = state
        before = self.state()

        result = self.take()

        self.assertEqual(plan_model.Method.LIVE, result.plan.method)
        self.assert_guest_untouched(before)
        self.assertEqual(1, self.fake.guest.starts)
        self.assert_all_or_nothing()

    @ddt.data(libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED)
    def test_who_cannot_answer_is_not_asked(self, state):
        self.fake.guest.create()
        self.fake.guest.now = state
        process = self.fake.process()

        result = self.take(process, quiesce='want')

        self.assertEqual(consistency_model.NOT_FROZEN, result.consistency)
        self.assertNotIn('fsFreeze', process.calls.names())

    def test_guest_that_waits_for_its_disk_runs(self):
        self.fake.guest.create()
        self.fake.guest.now = libvirt.VIR_DOMAIN_BLOCKED
        self.assertEqual(plan_model.Method.LIVE, self.take().plan.method)


class DefinitionTestCase(flow_scene.FlowTestCase):

    def test_all_of_it_comes_back(self):
        self.fake.guest.create()
        self.fake.guest.setAutostart(1)
        self.fake.guest.snapshots.append(fake_domain.Metadata(SNAPSHOT))
        self.fake.guest.checkpoints.append(
            fake_domain.Metadata(CHECKPOINT))
        before = self.state()

        self.take()

        self.assert_guest_untouched(before)
        self.assertIn(fake_node.PASSWORD, self.fake.guest.persistent)

    def test_metadata_is_given_back_when_the_domain_was_gone(self):
        # Off in the moment without a definition, it is gone with all that
        # libvirt had of it.
        self.fake.guest.create()
        self.fake.guest.setAutostart(1)
        self.fake.guest.snapshots.append(fake_domain.Metadata(SNAPSHOT))
        self.fake.guest.checkpoints.append(
            fake_domain.Metadata(CHECKPOINT))
        before = self.state()
        process = self.fake.process()
        process.calls.then('undefineFlags', self.fake.power_off_guest)

        self.assertRaises(errors.SnapError, self.take, process)

        self.fake.guest = self.fake.libvirtd.domains[fake_node.UUID]
        self.assert_guest_untouched(dataclasses.replace(
            before, is_active=False, now=libvirt.VIR_DOMAIN_SHUTOFF))

    def test_refused_while_the_job_runs_it_is_done_after_the_thaw(self):
        self.fake.libvirtd.refuses_define_during_job = True
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()

        self.take(process, quiesce='require')

        said = process.calls.of('libvirt')
        self.assertEqual(2, said.count('defineXML'))
        self.assertLess(said.index('fsThaw'),
                        len(said) - 1 - said[::-1].index('defineXML'))
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual([], self.records())

    def test_refused_while_the_job_runs_and_the_mirror_fails(self):
        self.fake.libvirtd.refuses_define_during_job = True
        self.fake.guest.mirror_life.lost_after = 2
        self.fake.guest.create()
        before = self.state()

        self.assertRaises(errors.BlockJobLost, self.take)

        self.assert_nothing_left(before)

    def test_nvram_is_kept(self):
        self.fake = self.make_node(dataclasses.replace(
            self.spec, nvram='<nvram>/var/lib/libvirt/nvram</nvram>'))
        self.fake.guest.create()
        before = self.state()
        self.take()
        self.assert_guest_untouched(before)
        self.assertFalse(self.fake.guest.has_lost_nvram)


@ddt.ddt
class MirrorTestCase(flow_scene.FlowTestCase):

    def test_format_of_the_mirror_is_asserted(self):
        # What was made is a qcow2 file; something put another one there.
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()

        def replace():
            (scratch,) = self.fake.snapshots.iterdir()
            fake_disk.DiskFile('raw', fake_node.DISK_BYTES).save(
                str(scratch / live.DELTA_NAME))

        process.calls.then('qemu-img create delta.qcow2 base1 raw', replace)

        error = self.assertRaises(errors.MirrorFailed, self.take, process)

        self.assertIn('raw', str(error))
        self.assert_nothing_left(before)

    @ddt.data('rebase', 'copy')
    def test_qemu_that_is_forbidden_to_write_there(self, live_method):
        # As SELinux and AppArmor do, which no look at a mode foretells.
        self.fake.guest.create()
        before = self.state()
        self.fake.guest.mirror_life.is_denied = True
        self.fake.set(live_method=live_method)

        error = self.assertRaises(errors.MirrorFailed, self.take)

        for words in ('Permission denied', str(self.fake.snapshots),
                      f'restorecon -R {self.fake.snapshots})',
                      f'(echo "{self.fake.snapshots}/** rwk," >> '
                      '/etc/apparmor.d/local/abstractions/libvirt-qemu)'):
            self.assertIn(words, str(error))
        self.assert_nothing_left(before)

    def fail_when_off(self, process):
        """Take a snapshot that must say that the guest is off."""
        error = self.assertRaises(errors.BlockJobLost, self.take, process,
                                  quiesce='want')
        self.assertIn('switched off', str(error))
        self.assertNotIn('full', str(error))
        self.assertNotIn('not running', str(error))

    @ddt.data('defineXML', 'fsFreeze')
    def test_guest_that_is_off_is_said_to_be(self, call):
        self.fake.guest.create()
        process = self.fake.process()
        process.calls.then(call, self.fake.power_off_guest)
        self.fail_when_off(process)

    def test_guest_that_is_off_between_two_looks_is_said_to_be(self):
        self.fake.guest.create()
        process = self.fake.process()
        # The first of these is the plan's.
        process.calls.then('defineXML', lambda: process.calls.then(
            'blockJobInfo', self.fake.power_off_guest, flow_scene.When.BEFORE))
        self.fail_when_off(process)

    def test_guest_that_is_off_before_it_is_ready(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.then('defineXML', self.fake.power_off_guest)

        self.assertRaises(errors.BlockJobLost, self.take, process)

        self.assert_nothing_left(dataclasses.replace(
            before, is_active=False, now=libvirt.VIR_DOMAIN_SHUTOFF))

    def test_libvirtd_restarts_while_it_copies(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        process.calls.then('defineXML', self.fake.libvirtd.restart)

        self.take(process)

        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()

    def test_progress_is_told(self):
        self.fake.guest.create()
        self.take()
        phases = [phase for phase, _done, _total in self.fake.said]
        self.assertEqual(['mirror', 'convert', 'before upload', 'upload',
                          'before commit'],
                         list(dict.fromkeys(phases)))


class ImageTestCase(flow_scene.FlowTestCase):

    def test_it_is_the_disk_at_the_abort(self):
        self.fake.guest.create()
        self.take()
        (moment,) = self.fake.libvirtd.moments
        self.assertEqual(moment.content, self.image().clusters)
        # The guest went on.
        self.assertNotEqual(moment.content, self.fake.guest.content())

    def test_every_format(self):
        for image_format in plan_model.IMAGE_FORMATS:
            self.fake = self.make_node(self.spec)
            self.fake.guest.create()
            self.take(image_format=image_format)
            self.assertEqual(image_format, self.image().format)
            self.assert_all_or_nothing()

    def test_raw_disk(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            driver_format='raw', layers=1))
        self.fake.guest.create()
        process = self.fake.process()

        self.take(process)

        self.assertEqual('raw', self.image().format)
        self.assertIn('convert delta.qcow2:qcow2 image-vda:raw',
                      process.calls.of('qemu-img'))
        self.assert_all_or_nothing()

    def test_delta_is_given_back_before_the_upload(self):
        self.fake.guest.create()
        process = self.fake.process()
        seen = []
        process.calls.then(
            'upload', lambda: seen.extend(
                path.name for scratch in self.fake.snapshots.iterdir()
                for path in scratch.iterdir()),
            when=flow_scene.When.BEFORE)

        self.take(process)

        self.assertEqual(['image-vda'], seen)
