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

"""The snapshot of a volume-backed instance, from the request to the image."""

import dataclasses
import json
import pathlib

import ddt
import libvirt

from nova_snap import errors
from nova_snap.flows import snapshot
from tests.fakes import agent as fake_agent
from tests.fakes import disk as fake_disk
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

VOLUMES = list(map(fake_node.volume_id, range(2)))


class VolumesTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(nova=True, volumes=2)

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()
        self.cinder = self.fake.cinder

    def change(self, number, **changes):
        """Change what Cinder says of a volume."""
        key = VOLUMES[number]
        self.cinder.volumes[key] = dataclasses.replace(
            self.cinder.volumes[key], **changes)

    def refuse(self, error, *words, **asked):
        process = self.fake.process()
        raised = self.assertRaises(error, self.take, process, **asked)
        for word in words:
            self.assertIn(word, str(raised))
        self.assertEqual([], process.calls.changes())
        self.assertEqual({}, self.cinder.snapshots)
        self.assert_nothing_left(self.before)


@ddt.ddt
class TakeTestCase(VolumesTestCase):

    def test_each_step_in_its_order(self):
        process = self.fake.process()
        self.take(process, quiesce='require')
        done = [what for what in process.calls.changes()
                if not what.startswith('journal')]
        self.assertEqual([
            'libvirt agentSetResponseTimeout 10',
            'libvirt getTime',
            'libvirt fsFreeze',
            f'cinder create_snapshot {VOLUMES[0]}',
            f'cinder create_snapshot {VOLUMES[1]}',
            'libvirt agentSetResponseTimeout 10',
            'libvirt fsThaw',
            'libvirt agentSetResponseTimeout -2',
            'libvirt agentSetResponseTimeout -2',
            'glance create',
            'glance upload'], done)

    def test_the_image_boots_from_what_was_made(self):
        result = self.take(properties={'colour': 'blue'})
        self.assert_all_or_nothing()
        self.assertEqual('volumes', result.plan.method)
        self.assertEqual(tuple(self.cinder.snapshots),
                         result.volume_snapshots)
        [stored] = self.fake.glance.stored.values()
        self.assertEqual(('active', b'', 'raw', 'bare', fake_node.PROJECT),
                         (stored.status, stored.data,
                          *(stored[name] for name in (
                              'disk_format', 'container_format', 'owner'))))
        self.assertEqual(
            {'os_distro': 'debian', 'colour': 'blue', 'bdm_v2': 'True',
             'root_device_name': '/dev/vda', 'base_image_ref': '',
             'nova_snap_consistency': 'none',
             'nova_snap_consistency_of': flow_scene.IMAGE,
             'owner_user_name': 'admin',
             'owner_project_name': 'admin'},
            {name: value for name, value in stored.properties.items()
             if name != 'block_device_mapping'})
        self.assertEqual(
            [(0, '/dev/vda', 1), (None, '/dev/vdb', 2)],
            [(one['boot_index'], one['device_name'], one['volume_size'])
             for one in json.loads(
                 stored.properties['block_device_mapping'])])

    def test_the_snapshots_are_called_as_nova_calls_them(self):
        self.take()
        self.assertEqual(
            {'snapshot for nightly'},
            {one.name for one in self.cinder.snapshots.values()})

    def test_the_agent_is_asked_only_where_the_image_says_so(self):
        process = self.fake.process()
        self.assertEqual('none', self.take(process).consistency)
        self.assertNotIn('fsFreeze', process.calls.names())

    def test_an_agent_that_does_not_answer(self):
        self.fake.guest.agent.hung = True
        result = self.take(quiesce='want')
        self.assertEqual('none', result.consistency)
        self.fake.guest.agent.hung = False
        self.assert_all_or_nothing()

    def test_an_agent_that_does_not_answer_and_must(self):
        self.fake.guest.agent.hung = True
        self.assertRaises(errors.QuiesceFailed, self.take, quiesce='require')
        self.fake.guest.agent.hung = False
        self.assertEqual({}, self.cinder.snapshots)
        self.assert_nothing_left(self.before)

    def test_one_that_is_off(self):
        self.fake.guest.destroy()
        result = self.take()
        self.assertEqual('as the guest left them when it was switched off',
                         result.file_systems)
        self.assert_all_or_nothing()

    def test_one_that_nova_suspended(self):
        self.fake.guest.managedSave()
        result = self.take()
        self.assertEqual('as after a power cut', result.file_systems)
        self.assertIs(False, self.fake.guest.saved)

    def test_one_that_is_paused(self):
        self.fake.guest.suspend()
        self.assertEqual('none', self.take(quiesce='want').consistency)
        self.assert_all_or_nothing()

    def test_how_far_it_is_is_told_in_bytes(self):
        self.take()
        phases = [said for said in self.fake.said
                  if said[0] == 'volumes' and said[2]]
        self.assertEqual([0, 2 ** 30, 3 * 2 ** 30],
                         [done for _, done, _ in phases])
        self.assertEqual({3 * 2 ** 30}, {total for *_, total in phases})

    def test_nothing_is_written_on_the_node(self):
        # A snapshots_directory that cannot be used is no reason to refuse.
        self.fake.snapshots.rmdir()
        self.addCleanup(self.fake.snapshots.mkdir)
        self.take()

    def test_what_a_guest_wrote_into_its_volume_is_not_looked_at(self):
        process = self.fake.process()
        self.take(process)
        self.assertNotIn('info', process.calls.names())
        self.assertEqual([], process.calls.of('qemu-img'))


@ddt.ddt
class RefusedTestCase(VolumesTestCase):

    def test_a_plan_asks_and_changes_nothing(self):
        process = self.fake.process()
        plan = snapshot.plan(process.node, flow_scene.request())
        self.assertEqual(VOLUMES, [one.volume.volume_id
                                   for one in plan.volumes])
        self.assertEqual([], process.calls.changes())

    def test_over_quota_nothing_is_frozen(self):
        self.cinder.maximum = 1
        self.refuse(errors.Refused, '1 too many', quiesce='require')

    def test_credentials_that_cannot_act_in_the_project(self):
        self.cinder.foreign_projects.add(fake_node.PROJECT)
        self.refuse(errors.Refused, 'role member', fake_node.PROJECT)

    def test_a_volume_that_cinder_does_not_show(self):
        del self.cinder.volumes[VOLUMES[1]]
        self.refuse(errors.Unsupported, VOLUMES[1], 'disk vdb',
                    'role member')

    def test_a_volume_of_another_project(self):
        self.change(1, project_id='theirs')
        self.refuse(errors.Unsupported, 'theirs')

    def test_a_volume_in_another_state(self):
        self.change(0, status='migrating')
        self.refuse(errors.Unsupported, 'migrating')

    @ddt.data('glance', 'cinder')
    def test_a_service_that_is_down(self, outside):
        process = self.fake.process()
        process.calls.fail_outside(outside)
        self.assertRaises(errors.Retriable, self.take, process)
        self.assertEqual([], process.calls.changes())
        self.assert_nothing_left(self.before)

    def test_a_property_that_is_not_the_operator_s(self):
        self.refuse(errors.Refused, 'bdm_v2', properties={'bdm_v2': 'x'})

    def test_a_guest_that_is_crashed(self):
        self.fake.guest.now = libvirt.VIR_DOMAIN_CRASHED
        self.before = self.state()
        self.refuse(errors.InstanceBusy, 'crashed')


class ChangedTestCase(VolumesTestCase):

    def test_a_volume_that_goes_while_it_is_prepared(self):
        process = self.fake.process()

        def detach():
            guest = self.fake.guest
            head, _, tail = guest.live.partition('<disk ')
            first, _, second = tail.partition('</disk>')
            _, _, rest = second.partition('</disk>')
            guest.live = f'{head}<disk {first}</disk>{rest}'

        process.calls.then('journal write begin', detach)
        error = self.assertRaises(errors.StorageError, self.take, process)
        self.assertIn('volumes of instance-00000009 were changed',
                      str(error))
        self.assertEqual({}, self.cinder.snapshots)
        self.assertEqual([], self.records())


class LocalTestCase(VolumesTestCase):
    """A swap disk next to the volumes."""

    def make_node(self, spec):
        fake = super().make_node(spec)
        swap = pathlib.Path(fake.folder, 'disk.swap')
        fake_disk.DiskFile('raw', 2 ** 29).save(str(swap))
        fake.guest.persistent = fake.guest.persistent.replace(
            '<graphics', "<disk type='file' device='disk'>"
            f"<driver name='qemu' type='raw'/><source file='{swap}'/>"
            "<target dev='vdz' bus='virtio'/></disk><graphics")
        return fake

    def test_it_is_made_anew_for_each_guest(self):
        plan = self.take().plan
        self.assert_all_or_nothing()
        [entry] = plan.local_entries
        self.assertEqual(('swap', 'blank'),
                         (entry['guest_format'], entry['source_type']))
        self.assertIn('vdz', ' '.join(plan.remarks))


class FilesTestCase(VolumesTestCase):
    """Volumes of a file-based backend: Nova snapshots them for Cinder."""

    spec = fake_node.GuestSpec(nova=True, volumes=2, volume_type='file')

    def test_without_a_nova_compute(self):
        self.refuse(errors.Unsupported, 'no nova-compute runs')

    def test_nova_freezes_for_each_by_itself(self):
        self.fake.nova_compute_runs = True
        process = self.fake.process()
        result = self.take(process, quiesce='want')
        self.assertEqual('none', result.consistency)
        self.assertNotIn('fsFreeze', process.calls.names())
        self.assert_all_or_nothing()

    def test_one_moment_is_asked_for(self):
        self.fake.nova_compute_runs = True
        self.refuse(errors.Unsupported, 'vda, vdb', quiesce='require')


class ImageSaysTestCase(VolumesTestCase):

    spec = fake_node.GuestSpec(
        nova=True, volumes=2, properties={'hw_qemu_guest_agent': 'True',
                                          'os_require_quiesce': 'True'})

    def test_it_is_frozen(self):
        self.assertEqual('frozen', self.take().consistency)
        self.assert_all_or_nothing()

    def test_it_cannot_be_frozen(self):
        self.fake.guest.agent.channel = fake_agent.Channel.DISCONNECTED
        self.refuse(errors.Unsupported, 'os_require_quiesce')
