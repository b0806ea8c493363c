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

"""Two disks of a real guest at one moment, each an image of its own."""

import dataclasses
import json
import signal
import uuid

from nova_snap.model import image_set
from nova_snap import units
from tests.functional import base
from tests.functional import watch
from tests.lab.guest import build as guest_build
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof
from tests.lab import records

DISK_XML = """<disk type='file' device='disk'>
  <driver name='qemu' type='{}' cache='none'/>
  <source file='{}'/><target dev='{}' bus='virtio'/>
</disk>"""
# Bytes per second: the upload of the second disk lasts some seconds.
SLOWLY = 4 * units.MiB


class AllDisksTest(base.FunctionalTest):
    """The guest writes its records to both disks in turn.

    :ivar load: what it writes to both besides
    """

    load = ''

    def setUp(self):
        super().setUp()
        guest = guest_domain.Guest.create(self.lab.libvirtd, 'qcow2',
                                          agent='run', load=self.load)
        self.addCleanup(guest.remove)
        second = guest.folder / 'second'
        with second.open('wb') as file:
            file.truncate(2 * guest_build.RECORDS_SIZE)
        if self.load:
            guest_disk.add_load(second, 'raw')
        guest.spec = dataclasses.replace(guest.spec, volumes=(
            DISK_XML.format('qcow2', guest.spec.disk.path, 'vda'),
            DISK_XML.format('raw', second, 'vdb')))
        self.running = guest.boot()
        self.before = base.look(guest)

    def last_record(self, first, second):
        """Prove that two images are of one moment; the last record in it."""
        paths = [self.download(image_id) for image_id in (first, second)]
        proof.assert_sound(paths[0], 'qcow2')
        area = proof.read_records(paths[0], 'qcow2')
        return records.check_sequence(records.interleave(
            [area, records.read_device(paths[1], len(area))]))

    def create(self, *arguments):
        """Run the command and return its images."""
        done = self.nova_snap('image-create', '--all-disks', '--json',
                              *arguments, self.running.spec.name, 'both')
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)['images']


class BusyTestCase(AllDisksTest):
    """Both disks are written to all the time, past the guest's cache."""

    load = guest_disk.LOAD

    def take_frozen_or_not(self, quiesce):
        """Prove that both disks are as they were when the job began."""
        instant = watch.Instant(self.running)
        result = self.take(
            self.running, base.Hooks({'backup_job.begin': instant}),
            set_id=str(uuid.uuid4()), quiesce=quiesce)
        self.assertEqual('backup', result.plan.method)
        ids = [image.image_id for image in result.images]
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(*ids)
        proof.check_instant(
            self.last_record(*ids), reported_before=instant.before,
            reported_after=instant.after)
        return result

    def test_running_they_are_of_one_moment(self):
        self.take_frozen_or_not(None)

    def test_frozen_they_are_of_one_moment(self):
        result = self.take_frozen_or_not('require')
        self.assertEqual('frozen', result.consistency)


class AllDisksTestCase(AllDisksTest):

    def test_off_and_deleted_as_one(self):
        self.running.shut_down()
        first, second = self.create()
        last = self.last_record(first['image_id'], second['image_id'])
        self.assertLessEqual(self.running.last_record(), last)
        self.assertEqual(['both', 'both-vdb'],
                         [image['name'] for image in (first, second)])
        places = [image_set.said(image['image_id'], image['properties'])
                  for image in (first, second)]
        self.assertEqual(['vda', 'vdb'], [place.disk for place in places])
        (disks,) = {place.disks for place in places}
        self.assertEqual(('vda', 'vdb'), disks)
        deleted = self.nova_snap('image-delete', '--yes',
                                 second['image_id'])
        self.assertEqual(0, deleted.returncode, deleted.stderr)
        self.assert_nothing_left()

    def test_cold_they_are_of_one_moment(self):
        first, second = self.create('--cold')
        self.last_record(first['image_id'], second['image_id'])
        self.assert_guest_untouched(self.running, self.before,
                                    same_process=False)
        self.assert_nothing_left(first['image_id'], second['image_id'])

    def is_half_way(self):
        """Tell whether the first image is whole and the second is sent."""
        made = self.images().keys() - self._images_before
        return {'active', 'saving'} == {
            self.image(image_id)['status'] for image_id in made}

    def test_killed_between_the_images_none_of_them_stays(self):
        self.options['nova_snap']['bandwidth'] = str(SLOWLY)
        with self.start_nova_snap('image-create', '--all-disks',
                                  self.running.spec.name,
                                  'killed') as command:
            process.wait_until(self.is_half_way,
                               timeout=base.COMMAND_TIMEOUT,
                               what='the second upload')
            command.send_signal(signal.SIGKILL)
            command.communicate(timeout=base.COMMAND_TIMEOUT)
        self.assertIn('nova_snap-', self.running.domain.backupGetXMLDesc())
        recovered = self.nova_snap('recover')
        self.assertEqual(0, recovered.returncode, recovered.stderr)
        self.assert_nothing_left()
        self.assert_guest_untouched(self.running, self.before)
