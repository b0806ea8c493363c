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

"""The whole flow, and a guest booted from what it made."""

import json

from nova_snap.model import block_device
from tests.functional import base
from tests.lab import proof
from tests.lab import records
from tests.volumes import scene


class VolumeBackedTestCase(scene.VolumeTest):

    def test_frozen_both_volumes_are_of_one_moment(self):
        guest = self.guest_of_volumes()
        before = base.look(guest)
        image = self.create(guest, 'two volumes')
        earliest, latest = scene.freeze_of(guest.console())
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left(image['id'])
        self.assertEqual('frozen', image['nova_snap_consistency'])

        last = records.check_sequence(records.interleave(self.areas(image)))
        proof.check_instant(last, reported_before=earliest,
                            reported_after=latest)
        found = self.boot_image(image)
        self.assertTrue(found.mounted and found.data_ok, found)
        # A frozen file system needs no replay of its journal.
        self.assertFalse(found.recovered or found.errors, found)
        self.assertTrue(found.records_ok, found)
        self.assertEqual(last + 1, found.records)

    def test_without_an_agent_each_is_consistent_for_itself(self):
        guest = self.guest_of_volumes(agent=None)
        before = base.look(guest)
        reported_before = guest.last_record()
        image = self.create(guest)
        reported_after = guest.last_record()
        self.assert_guest_untouched(guest, before)
        self.assertEqual('none', image['nova_snap_consistency'])
        areas = self.areas(image)
        for number, area in enumerate(areas):
            last = records.check_sequence(
                records.renumber(area, number, len(areas)))
            proof.check_instant(
                len(areas) * last + number,
                reported_before=reported_before - len(areas),
                reported_after=reported_after + len(areas))
        # Of which moment the two are together, nothing is said.
        found = self.boot_image(image)
        self.assertTrue(found.mounted and found.data_ok, found)
        self.assertTrue(found.recovered, found)
        self.assertFalse(found.errors, found)

    def test_what_the_image_and_the_snapshots_say(self):
        guest = self.guest_of_volumes(shared=True)
        image = self.create(guest, 'web', '--property', 'colour=blue')
        self.assertEqual(
            (0, 'active', 'raw', 'bare', 'True', '/dev/vda', 'blue'),
            tuple(image[key] for key in (
                'size', 'status', 'disk_format', 'container_format', 'bdm_v2',
                'root_device_name', 'colour')))
        # From the image that the root volume was made from, by Cinder's word.
        self.assertEqual(('lab', scene.NOVA.project_id),
                         (image['os_distro'], image['owner']))
        snapshots = {one['volume_id']: one for one in self.new_snapshots()}
        self.assertEqual(set(guest.volume_ids), set(snapshots))
        self.assertEqual(
            [(index, f'/dev/{target}', snapshots[volume_id]['id'])
             for index, target, volume_id in zip(
                 (0, None), ('vda', 'vdb'), guest.volume_ids, strict=True)],
            [(entry['boot_index'], entry['device_name'],
              entry['snapshot_id']) for entry in scene.mapping(image)])
        for entry in scene.mapping(image):
            self.assertEqual(set(block_device.KEYS), set(entry))
            self.assertEqual(
                ('snapshot', 'volume', 1, 'disk', 'virtio', False),
                tuple(entry[key] for key in (
                    'source_type', 'destination_type', 'volume_size',
                    'device_type', 'disk_bus', 'delete_on_termination')))
        for one in snapshots.values():
            self.assertEqual(('snapshot for web', 'available'),
                             (one['name'], one['status']))
            self.assertEqual(
                scene.NOVA.project_id,
                one['os-extended-snapshot-attributes:project_id'])
        self.assert_nothing_left(image['id'])

    def test_a_dry_run_asks_and_changes_nothing(self):
        guest = self.guest_of_volumes(shared=True)
        before = base.look(guest)
        with self.not_frozen(guest):
            ended = self.child('image-create', guest.spec.name, 'image',
                               '--dry-run')
        self.assertEqual((0, ('end',)), (ended.code, ended.events),
                         ended.stderr)
        for volume_id in guest.volume_ids:
            self.assertIn(f'volume {volume_id}, 1 GiB', ended.stdout)
        self.assertEqual([], [seen for seen in self.between.seen
                              if seen.method != 'GET'])
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left()

    def test_the_snapshots_go_with_the_image(self):
        guest = self.guest_of_volumes(shared=True)
        image = self.create(guest)
        ended = self.child('image-delete', image['id'])
        self.assertEqual(3, ended.code, ended.stdout)
        self.assertIn('--yes', ended.stderr)
        self.assert_nothing_left(image['id'])

        ended = self.child('image-delete', image['id'], '--yes', '--json')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertEqual(
            [entry['snapshot_id'] for entry in scene.mapping(image)],
            json.loads(ended.stdout)['volume_snapshots'])
        self.assert_nothing_left()
        for volume_id in guest.volume_ids:
            self.assertEqual(
                [], self.storage.ceph.snapshots(f'volume-{volume_id}'))

    def test_one_that_was_deleted_before(self):
        guest = self.guest_of_volumes(shared=True)
        image = self.create(guest)
        first = scene.mapping(image)[0]['snapshot_id']
        self.cinder.delete('snapshot', first)
        ended = self.child('image-delete', image['id'], '--yes', '--json')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertEqual([first], json.loads(ended.stdout)['gone_before'])
        self.assert_nothing_left()

    def test_one_that_a_volume_depends_on(self):
        """Ceph keeps the snapshot that a volume is a clone of."""
        guest = self.guest_of_volumes(shared=True)
        image = self.create(guest)
        made = self.cinder.make(
            'volume', size=1,
            snapshot_id=scene.mapping(image)[0]['snapshot_id'])
        self.addCleanup(self.cinder.delete, 'volume', made)
        ended = self.child('image-delete', image['id'], '--yes')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assert_nothing_left()
        self.assertEqual('available',
                         self.cinder.show('volume', made)['status'])
