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

"""Snapshots that a real Ceph makes, and a real Glance finds there."""

import hashlib

import ddt
import fixtures

from nova_snap import errors
from nova_snap.services import sessions
from tests.functional import base
from tests.lab import ceph as ceph_module
from tests.lab.guest import copy as guest_copy
from tests.lab import proxy
from tests.volumes import direct


@ddt.ddt
class DirectTestCase(direct.DirectTest):

    @ddt.data(1, 2)
    def test_nothing_is_uploaded(self, version):
        self.ceph.let_clone(version)
        guest = self.ceph_guest()
        before = base.look(guest)

        image = self.create(guest)

        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left(image['id'])
        self.assertNotIn('PUT', [one.method for one in self.between.seen])
        self.assertEqual(('active', 'raw', 'bare'), (
            image['status'], image['disk_format'],
            image['container_format']))
        (location,) = image['locations']
        self.assertTrue(location['url'].endswith(
            f'/{ceph_module.IMAGES}/{image["id"]}/snap'), location)
        self.assert_content(image)
        self.hashed(image['id'])
        # The image goes while the instance lives.
        self.delete_image(image['id'])
        self.assert_nothing_left()

    def test_the_instance_goes_while_the_image_lives_and_boots(self):
        guest = self.ceph_guest(shared=False)
        image = self.create(guest)
        guest.remove()

        self.assertEqual([], [
            disk for disk in self.ceph.images(ceph_module.DISKS)
            if disk == guest.disk])
        guest_copy.assert_boots(self.lab.libvirtd,
                                self.download(image['id']), 'raw',
                                recovered=False)

    def test_bug_u5_by_the_old_way_it_has_the_hash_of_its_data(self):
        self.forbid_locations()

        image = self.create(self.ceph_guest())

        self.assertNotIn('PUT', [one.method for one in self.between.seen])
        found = hashlib.sha512(self.download(image['id']).read_bytes())
        self.assertEqual(('sha512', found.hexdigest()), (
            image['os_hash_algo'], image['os_hash_value']))


class FallbackTestCase(direct.DirectTest):

    def assert_read(self, guest, **facts):
        before = base.look(guest)
        image = self.create(guest, **facts)
        self.assert_guest_untouched(guest, before)
        self.assertIn('PUT', [one.method for one in self.between.seen])
        self.assert_nothing_left(image['id'])
        self.assert_content(image)
        return image

    def test_bug_u6_glance_forbids_locations(self):
        self.forbid_locations()
        self.between.inject(proxy.Fault('PATCH', proxy.IMAGE, nth=1,
                                        status=403))

        self.assert_read(self.ceph_guest())

    def test_bug_u6_glance_forbids_it_after_the_clone(self):
        self.between.inject(proxy.Fault('POST', direct.NEW_WAY, nth=2,
                                        status=403))

        self.assert_read(self.ceph_guest())

    def test_glance_does_not_answer_after_the_clone(self):
        guest = self.ceph_guest()
        before = base.look(guest)
        self.between.inject(proxy.Fault('POST', direct.NEW_WAY, nth=2,
                                        drop_after=0))

        image = self.create(guest)

        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left(image['id'])
        self.assert_content(image)

    def test_capabilities_that_are_too_small_are_named(self):
        self.options['libvirt']['rbd_user'] = ceph_module.READER
        guest = self.ceph_guest()

        self.assertIn(f'profile rbd pool={ceph_module.IMAGES}',
                      self.planned(guest))


class FaultTestCase(direct.DirectTest):
    """What cannot be is said before the guest is touched, or undone."""

    def assert_refused(self, *words):
        guest = self.ceph_guest()
        before = base.look(guest)
        ended = self.child('image-create', guest.spec.name, 'image')
        self.assertNotEqual(0, ended.code)
        for word in words:
            self.assertIn(word, ended.stderr)
        self.assert_guest_untouched(guest, before)
        self.assert_nothing_left()

    def test_no_monitor_answers(self):
        config = self.folder / 'ceph.conf'
        config.write_text('[global]\nmon host = 127.0.0.1:1\nkeyring = '
                          f'{self.ceph.folder}/keyring\n')
        self.options['libvirt'].update(images_rbd_ceph_conf=str(config),
                                       rbd_connect_timeout='2')

        self.assert_refused('no monitor answers at 127.0.0.1:1')

    def test_a_key_that_is_wrong(self):
        """The guest's QEMU has another one, and reads the disk."""
        keyring = self.folder / 'keyring'
        keyring.write_text(f'[client.{ceph_module.CLIENT}]\n'
                           f'key = {ceph_module.WRONG_KEY}\n')
        config = self.folder / 'ceph.conf'
        config.write_text(f'{self.ceph.client_config()}'
                          f'keyring = {keyring}\n')
        self.options['libvirt']['images_rbd_ceph_conf'] = str(config)

        said = self.planned(self.ceph_guest())

        self.assertIn(f'ceph auth get client.{ceph_module.CLIENT}', said)
        self.assertIn('backup', said)

    def test_glance_is_down_from_the_clone_on(self):
        """What is in Ceph by then goes when Glance answers again."""
        guest = self.ceph_guest()
        before = base.look(guest)
        # It is waited for as long as for a hash that it computes.
        self.useFixture(fixtures.MockPatch(
            'nova_snap.services.sign_in.images_policy',
            return_value=sessions.Policy(
                num_retries=0, timeouts=sessions.Timeouts(finish=1))))
        self.between.inject(proxy.Fault('POST', direct.NEW_WAY, nth=2,
                                        refuses=True))

        error = self.assertRaises(errors.RollbackIncomplete, self.take,
                                  guest)

        self.assertIn('nova-snap recover', str(error))
        self.assert_guest_untouched(guest, before)
        (left,) = self.left()
        (clone,) = (set(self.ceph.images(ceph_module.IMAGES))
                    - self._data_before)
        self.assertIn(clone, str(left))
        self.between.clear()
        self.recover('settled')
        self.assert_nothing_left()

    def test_a_pool_that_is_none(self):
        self.options['nova_snap']['rbd_glance_pool'] = 'nowhere'

        self.assert_refused('[nova_snap]rbd_glance_pool', 'nowhere',
                            ceph_module.IMAGES)


class KillsTestCase(direct.DirectTest):

    def setUp(self):
        super().setUp()
        self.arguments = self.image_create(
            self.agent_guest(), ('image-create', '{}', 'image'))

    def test_before_each_act(self):
        self.ceph.let_clone(1)
        self.sweep(self.agent_guest(), *self.arguments)

    def test_before_each_act_of_the_second_version(self):
        self.ceph.let_clone(2)
        self.sweep(self.agent_guest(), *self.arguments, near='Ceph')
