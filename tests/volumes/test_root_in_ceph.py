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

"""Root disks in Ceph that are read by way of QEMU, on the real ones."""

import ddt

from nova_snap import errors
from tests.functional import base
from tests.functional import watch
from tests.lab import ceph as ceph_module
from tests.lab.guest import ceph as guest_ceph
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain
from tests.lab import proof
from tests.volumes import scene

SHUT_DOWN_TIMEOUT = 60


@ddt.ddt
class ReadTestCase(base.FunctionalTest):

    def setUp(self):
        self.ceph = scene.storage().ceph
        super().setUp()
        self.options['libvirt'] |= {
            'rbd_user': ceph_module.CLIENT,
            'images_rbd_ceph_conf': str(self.ceph.config_file)}

    def guest_in_ceph(self):
        """Return the guest that the tests of this class share, running."""
        guest = self._shared.get(type(self))
        if guest is None:
            guest = guest_ceph.CephGuest.make(
                self.lab.libvirtd, self.ceph, agent='run',
                nova=guest_domain.NovaMetadata())
            self._shared[type(self)] = guest
            self.addClassCleanup(guest.remove)
            guest.define()
        return guest if guest.domain.isActive() else guest.boot()

    def exported(self, guest):
        """Fetch its disk from Ceph, with no QEMU in between."""
        path = self.folder / 'exported'
        self.ceph.export(guest.disk, path, ceph_module.DISKS)
        return path

    def test_running_it_is_read_by_its_own_qemu(self):
        guest = self.guest_in_ceph()
        seen, instant = base.look(guest), watch.Instant(guest)
        # Nothing here needs a key, but for the guest's QEMU.
        self.options['libvirt']['rbd_user'] = 'stranger'
        result = self.take(guest, base.Hooks({'backup_job.begin': instant}),
                           quiesce='require')
        self.assertEqual(('backup', 'frozen'),
                         (result.plan.method, result.consistency))
        self.assert_guest_untouched(guest, seen)
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        path = self.download(image.image_id)
        self.assertLess(instant.check(path, 'raw'), guest.last_record())
        guest_copy.assert_boots(self.lab.libvirtd, path, 'raw')

    def test_saved_it_is_read_by_qemu_img(self):
        guest = self.guest_in_ceph()
        seen, before = base.look(guest), guest.last_record()
        result = self.take(guest, cold=True)
        self.assertEqual('cold', result.plan.method)
        self.assert_guest_untouched(guest, seen, same_process=False)
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        proof.assert_point_in_time(
            self.download(image.image_id), 'raw', reported_before=before,
            reported_after=guest.last_record())

    @ddt.data(('file', 'raw'), ('stream', 'raw'), ('stream', 'qcow2'))
    @ddt.unpack
    def test_switched_off_it_is_the_disk(self, upload, image_format):
        guest = self.guest_in_ceph()
        guest.shut_down(SHUT_DOWN_TIMEOUT)
        self.options['nova_snap']['upload'] = upload
        # Else Ceph makes a snapshot of it, which is read.
        result = self.take(guest, image_format=image_format, cold=True)
        self.assertEqual(('stopped', upload == 'stream'),
                         (result.plan.method, result.plan.is_streamed))
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        proof.assert_same_content(
            self.download(image.image_id), image_format,
            self.exported(guest), 'raw')

    @ddt.data(
        ({'rbd_user': 'stranger'}, 'ceph.client.stranger.keyring'),
        ({'images_rbd_ceph_conf': '/nowhere/ceph.conf'},
         'images_rbd_ceph_conf'))
    @ddt.unpack
    def test_what_is_missing_on_the_host_is_named(self, options, remedy):
        guest = self.guest_in_ceph()
        guest.shut_down(SHUT_DOWN_TIMEOUT)
        self.options['libvirt'] |= options
        error = self.assertRaises(errors.StorageError, self.take, guest)
        self.assertIn(remedy, str(error))
        self.assert_nothing_left()
