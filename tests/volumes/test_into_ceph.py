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

"""Images of local disks, written into a real Ceph for a real Glance."""

import contextlib
import dataclasses
import hashlib

from nova_snap import errors
from nova_snap.host import rbd as rbd_module
from nova_snap.model import ceph as ceph_model
from nova_snap import units
from tests.functional import base
from tests.functional import watch
from tests.lab import ceph as ceph_module
from tests.lab.guest import copy as guest_copy
from tests.volumes import into_ceph

IMAGE_CREATE = ('image-create', '{}', 'image')
# Bytes per second: a kill finds some written.
SLOWLY = 4 * units.MiB
# Seconds for each operation of a Ceph that takes no write.
SHORT = 3


class WrittenTestCase(into_ceph.IntoCephTest):

    def exported(self, image_id):
        path = self.folder / 'exported'
        self.ceph.export(
            f'{image_id}@{ceph_model.GLANCE_SNAPSHOT}', path,
            ceph_module.IMAGES)
        return path

    def test_it_is_of_one_moment_and_boots(self):
        # Glance would hash the image when it is active.
        self.options['nova_snap']['location_hash'] = 'host'
        guest = self.agent_guest()
        seen, instant = base.look(guest), watch.Instant(guest)
        result = self.take(guest, base.Hooks({'backup_job.begin': instant}),
                           quiesce='require')
        self.assert_guest_untouched(guest, seen)
        (image,) = result.images
        self.assert_nothing_left(image.image_id)
        path = self.exported(image.image_id)
        self.assertLess(instant.check(path, 'raw'), guest.last_record())
        found = self.image(image.image_id)
        self.assertEqual(('active', 'raw', path.stat().st_size),
                         (found['status'], found['disk_format'],
                          found['size']))
        self.assertEqual(hashlib.sha512(path.read_bytes()).hexdigest(),
                         found['os_hash_value'])
        # As Glance sends it.
        guest_copy.assert_boots(
            self.lab.libvirtd, self.download(image.image_id), 'raw')

    def test_a_client_that_may_not_write_is_not_let_near_the_guest(self):
        guest = self.agent_guest()
        self.options['libvirt']['rbd_user'] = ceph_module.READER
        error = self.assertRaises(errors.ConfigError, self.take, guest)
        self.assertIn(f'profile rbd pool={ceph_module.IMAGES}', str(error))
        self.assert_nothing_left()


class FullTestCase(into_ceph.IntoCephTest):

    def node(self, around=None):
        node = super().node(around)
        return dataclasses.replace(node, world=dataclasses.replace(
            node.world, ceph=lambda client: rbd_module.Ceph(
                client.conf, client.user, connect_timeout=SHORT,
                operation_timeout=SHORT)))

    def test_an_osd_that_gets_full_is_named(self):
        guest = self.agent_guest()
        seen = base.look(guest)
        with contextlib.ExitStack() as full:
            def begin(call, *_):
                full.enter_context(self.ceph.full())
                return call()

            error = self.assertRaises(
                ceph_model.Unavailable, self.take, guest,
                base.Hooks({'backup_job.begin': begin}))
        self.assertIn('1 full osd(s)', str(error))
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left()


class KillsTestCase(into_ceph.IntoCephTest):

    def test_before_each_act_in_ceph(self):
        guest = self.agent_guest()
        self.sweep(guest, *self.image_create(guest, IMAGE_CREATE),
                   near='Ceph.')

    def test_while_it_writes(self):
        guest = self.agent_guest()
        self.limit(SLOWLY)
        # Ceph takes the dead client for alive for half a minute.
        self.kill_and_recover(
            guest, *self.image_create(guest, IMAGE_CREATE),
            inside='progress:upload')
