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
import json
import os

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.journal import record as record_model
from tests.fakes import calls as fake_calls
from tests.fakes import domain as fake_domain
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

Outcome = recovery.Outcome
SHUTOFF = libvirt.VIR_DOMAIN_SHUTOFF


class LeftTestCase(flow_scene.FlowTestCase):

    def test_status_says_it_and_changes_nothing(self):
        self.fake.guest.create()
        self.die('blockRebase')
        process = self.fake.process()

        (finding,) = recovery.status(process.node)

        self.assertEqual(Outcome.LEFT, finding.outcome)
        self.assertIn('nova-snap recover', finding.reason)
        self.assertEqual([], process.calls.changes())

    def test_frozen_guests_come_first_then_stopped_ones(self):
        process = self.fake.process()
        process.store.prepare()
        held = record_model.Phase.DONE
        for name, entries in (
                ('a-runs', [('StartMirror', held)]),
                ('b-thawed', [('FreezeFilesystems',
                               record_model.Phase.UNDONE)]),
                ('c-saved', [('DetachHostdev', held), ('SaveMemory', held)]),
                ('d-frozen', [('BoundAgentWaits', held),
                              ('FreezeFilesystems', held)])):
            process.store.write(record_model.Record(
                id=name, operation='live', instance_uuid=name,
                instance_name=name, images=[],
                host=process.node.world.settings.host,
                machine_id=process.node.machine_id,
                boot_id=process.node.boot_id, started_at='', entries=[
                    record_model.Entry(
                        kind=kind, role=record_model.Role.HOLD, phase=phase,
                        facts={}) for kind, phase in entries]))
        self.assertEqual(
            ['d-frozen', 'c-saved', 'a-runs', 'b-thawed'],
            [finding.record.id for finding in recovery.look(process.node)])

    def test_a_guest_is_thawed_before_its_mirror_is_ended(self):
        self.fake.guest.create()
        self.die('blockJobAbort', quiesce='require')
        process = self.fake.process()

        recovery.recover(process.node)

        self.assertEqual(
            ['libvirt agentSetResponseTimeout 10',
             'libvirt fsThaw',
             'libvirt agentSetResponseTimeout -2',
             'libvirt agentSetResponseTimeout -2',
             # It is on its way already, and waited for.
             'libvirt blockJobAbort vda ASYNC',
             'files remove_scratch',
             'glance delete',
             'journal remove'],
            [call for call in process.calls.changes()
             if not call.startswith('journal write')])

    def test_domain_is_defined_before_the_job_is_ended(self):
        self.fake.guest.create()
        self.die('blockRebase')
        process = self.fake.process()

        recovery.recover(process.node)

        self.assertEqual(['defineXML', 'blockJobAbort vda ASYNC'],
                         process.calls.of('libvirt'))

    def test_committed_it_is_finished(self):
        self.fake.guest.create()
        before = self.state()
        self.die('journal write commit')

        (finding,) = self.recover()

        self.assertEqual(Outcome.SETTLED, finding.outcome)
        self.assertIn('image stays', finding.reason)
        self.assert_guest_untouched(before)
        self.assertEqual(1, len(self.fake.glance.stored))
        self.assert_all_or_nothing()

    def test_nothing_was_left(self):
        self.assertEqual([], self.recover())

    def test_request_is_not_run_again(self):
        self.fake.guest.create()
        before = self.state()
        self.die('convert')
        self.recover()
        self.assert_nothing_left(before)

    def test_new_snapshot_settles_the_old_one_first(self):
        self.fake.guest.create()
        before = self.state()
        self.die('blockRebase')
        process = self.fake.process()

        self.take(process,
                  image_id='22222222-2222-4222-8222-222222222222')

        done = process.calls.changes()
        self.assertLess(done.index('journal remove'),
                        done.index('journal write begin'))
        self.assert_guest_untouched(before)
        self.assert_all_or_nothing()
        self.assertEqual(['22222222-2222-4222-8222-222222222222'],
                         list(self.fake.glance.stored))

    def test_new_snapshot_is_refused_while_the_old_one_cannot_be_settled(
            self):
        self.fake.guest.create()
        self.die('blockRebase')
        process = self.fake.process()
        process.calls.fail_named('blockJobAbort', None)

        error = self.assertRaises(errors.InstanceBusy, self.take, process)

        self.assertIn('earlier snapshot', str(error))
        self.assertNotIn('journal write begin', process.calls.changes())

    def test_owner_finished_while_we_waited_for_its_lock(self):
        self.fake.guest.create()
        self.die('convert')
        process = self.fake.process()
        (record_id,) = process.store.ids()
        status = recovery.status(process.node)
        self.fake.process().store.remove(record_id)
        finding = recovery.settle(process.node, status[0])
        self.assertEqual(Outcome.SETTLED, finding.outcome)

    def test_guest_that_goes_while_its_job_cannot_be_ended(self):
        self.fake.guest.create()
        self.die('blockRebase')
        process = self.fake.process()
        process.calls.then('blockJobAbort', self.fake.delete_guest,
                           flow_scene.When.BEFORE)
        process.calls.fail_named('blockJobAbort')

        (finding,) = recovery.recover(process.node)

        self.assertEqual(Outcome.SETTLED, finding.outcome)
        self.assertEqual([], self.records())

    def test_refused_definition_needs_a_second_run(self):
        self.fake.libvirtd.refuses_define_during_job = True
        self.fake.guest.create()
        before = self.state()
        self.die('blockRebase')
        self.assertEqual([Outcome.FAILED], self.outcomes())
        self.assertEqual([Outcome.SETTLED], self.outcomes())
        self.assert_nothing_left(before)


class HostRebootedTestCase(flow_scene.FlowTestCase):
    """The host went down with us, at every call."""

    def rebooted(self, **asked):
        """Yield a node that went down at each call, and was recovered."""
        self.fake.guest.create()
        before = self.state()
        counted = self.fake.process()
        self.take(counted, **asked)
        for call in counted.calls.made:
            self.fake = self.make_node(self.spec)
            self.fake.guest.create()
            before = self.state()
            process = self.fake.process()
            process.calls.kill(call.number, flow_scene.When.AFTER)
            try:
                self.take(process, **asked)
            except (fake_calls.Killed, errors.SnapError):
                pass
            self.fake.reboot_host()
            self.assertEqual(set(), set(self.outcomes())
                             - {Outcome.SETTLED}, str(call))
            self.assertEqual([], self.records())
            self.assert_all_or_nothing()
            yield call, before

    def test_live_the_guest_is_defined_and_off(self):
        for call, before in self.rebooted(quiesce='want'):
            guest = self.fake.libvirtd.domains.get(fake_node.UUID)
            self.assertIsNotNone(guest, str(call))
            self.assertEqual(before.persistent, guest.persistent, str(call))
            self.assertEqual(SHUTOFF, guest.now)
            self.assertEqual([], list(self.fake.snapshots.iterdir()))

    def test_cold_a_saved_guest_is_started(self):
        for call, before in self.rebooted(cold=True):
            guest = self.fake.guest
            self.assertEqual(before.persistent, guest.persistent)
            self.assertIsNone(guest.saved, str(call))
            self.assertEqual([], list(self.fake.snapshots.iterdir()))


class UndefineTestCase(flow_scene.FlowTestCase):
    """What recovery makes of a domain that is not as it was left."""

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.fake.guest.setAutostart(1)
        self.before = self.state()
        self.die('undefineFlags')

    def test_transient_it_is_defined(self):
        self.recover()
        self.assert_nothing_left(self.before)

    def test_gone_it_is_defined(self):
        self.fake.power_off_guest()
        self.assertEqual({}, self.fake.libvirtd.domains)
        self.recover()
        self.fake.guest = self.fake.libvirtd.domains[fake_node.UUID]
        self.assert_nothing_left(dataclasses.replace(
            self.before, is_active=False, now=SHUTOFF))

    def test_gone_with_its_disk_it_is_not_defined(self):
        self.fake.delete_guest()
        self.recover()
        self.assertEqual({}, self.fake.libvirtd.domains)
        self.assertEqual([], self.records())

    def test_defined_by_another_client_it_is_theirs(self):
        self.fake.hard_reboot_guest()
        theirs = dataclasses.replace(self.state(), files=())
        self.recover()
        self.assert_nothing_left(theirs)

    def test_defined_by_us_without_the_rest(self):
        self.fake.libvirtd.define(self.before.persistent)
        self.assertFalse(self.fake.guest.is_set_to_autostart)
        self.recover()
        self.assert_nothing_left(self.before)


@ddt.ddt
class ForeignTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.die('blockRebase')
        self.before = self.state()
        (self.record_id,) = self.records()

    def assert_untouched(self, word):
        process = self.fake.process()
        path = process.store.path / f'{self.record_id}.json'
        text = path.read_text()

        (finding,) = recovery.recover(process.node, nova_is_stopped=True)

        self.assertEqual(Outcome.FOREIGN, finding.outcome)
        self.assertIn(word, finding.reason)
        self.assertEqual([], process.calls.changes())
        self.assertEqual(text, path.read_text())
        self.assertEqual(self.before, self.state())

    def rewrite(self, **values):
        path = self.fake.process().store.path / f'{self.record_id}.json'
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, **values}))

    def test_of_another_host(self):
        self.rewrite(host='node-2')
        self.assert_untouched('node-2')

    def test_of_another_machine(self):
        self.fake.machine_id = 'another'
        self.assert_untouched(fake_node.MACHINE_ID)

    def test_of_another_release(self):
        self.rewrite(version=99)
        self.assert_untouched('99')

    @ddt.data('', '{', '[]', '{"version": 1}')
    def test_that_cannot_be_read(self, text):
        path = self.fake.process().store.path / f'{self.record_id}.json'
        path.write_text(text)
        self.assert_untouched(self.record_id)

    def test_with_a_step_that_this_release_does_not_know(self):
        self.rewrite(entries=[{'kind': 'FoldPaper', 'role': 'hold',
                               'phase': 'done', 'facts': {}}])
        (finding,) = self.recover()
        self.assertEqual(Outcome.FAILED, finding.outcome)
        self.assertIn('FoldPaper', finding.reason)
        self.assertEqual([self.record_id], self.records())

    def test_it_does_not_stop_the_others(self):
        self.fake.process().store.path.joinpath(
            '00000000-broken.json').write_text('{')
        self.assertEqual({Outcome.FOREIGN, Outcome.SETTLED},
                         set(self.outcomes()))

    def test_it_does_not_stop_a_new_snapshot(self):
        # It says nothing about this node's guests.
        self.rewrite(host='node-2')
        self.fake.guest.blockJobAbort('vda')
        self.fake.libvirtd.define(self.fake.xml)
        self.fake.glance.stored.clear()
        self.take(image_id='22222222-2222-4222-8222-222222222222')
        self.assertEqual([self.record_id], self.records())


class SeveralTestCase(flow_scene.FlowTestCase):

    def test_one_that_cannot_be_settled_does_not_stop_the_others(self):
        self.fake.guest.create()
        self.die('blockRebase')
        lock = self.fake.folder / 'journal' / 'locks' / fake_node.UUID
        lock.mkdir()
        (finding,) = self.recover()
        self.assertEqual(Outcome.FAILED, finding.outcome)
        self.assertIn('lock', finding.reason)

    def test_lock_files_of_dead_owners_go(self):
        self.fake.guest.create()
        self.die('blockRebase')
        locks = self.fake.folder / 'journal' / 'locks'
        for name in (fake_node.UUID, 'another'):
            (locks / name).touch()
        self.recover()
        self.assertEqual([], list(locks.iterdir()))

    def test_record_with_secrets_is_for_its_owner_alone(self):
        self.fake.guest.create()
        self.die('undefineFlags')
        store = self.fake.process().store
        (path,) = store.path.iterdir()
        self.assertIn(fake_node.PASSWORD, path.read_text())
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        self.assertEqual(0o700, store.path.stat().st_mode & 0o777)
        self.assertEqual(os.geteuid(), path.stat().st_uid)


class MetadataTestCase(flow_scene.FlowTestCase):

    def test_it_is_given_back(self):
        self.fake.guest.create()
        for known, kind in ((self.fake.guest.snapshots, 'snapshot'),
                            (self.fake.guest.checkpoints, 'checkpoint')):
            for name in ('one', 'two'):
                known.append(fake_domain.Metadata(
                    f'<domain{kind}><name>{name}</name></domain{kind}>'))
        before = self.state()
        self.die('undefineFlags')
        self.fake.power_off_guest()

        self.recover()

        self.fake.guest = self.fake.libvirtd.domains[fake_node.UUID]
        self.assert_nothing_left(dataclasses.replace(
            before, is_active=False, now=SHUTOFF))
