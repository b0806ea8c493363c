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

"""A real Keystone: the services' project is not the instance's."""

import dataclasses

from tests.lab import keystone as keystone_module
from tests.volumes import scene

REFUSED = 3
# The project of the instance, and who signs in for Nova.
TENANT, NOVA = 'tenant', 'nova'


class ProjectsTestCase(scene.VolumeTest):

    def setUp(self):
        super().setUp()
        self.keystone = self.storage.start_keystone()
        self.keystone.grant(NOVA, keystone_module.SERVICE, 'service')
        self.keystone.grant('ann', TENANT, 'member')
        self.identity = self.keystone.admin.identity
        self.project = self.identity.find_project(TENANT)
        # By Keystone and its catalog, for Glance as for Cinder.
        self.options['nova_snap'] = {
            'auth_type': 'password', 'region_name': keystone_module.REGION,
            **self.keystone.credentials(NOVA, keystone_module.SERVICE)}
        self.options['cinder'] = {'os_region_name': keystone_module.REGION}
        self.options['glance'] = {'region_name': keystone_module.REGION}

    def tenants_guest(self):
        # An administrator may make a volume of another project's snapshot.
        token = f'ann:{self.project.id}:admin,member,reader'
        return self.guest_of_volumes(shared=True, token=token,
                                     nova=dataclasses.replace(
                                         scene.NOVA,
                                         project_id=self.project.id))

    def test_all_is_the_tenants(self):
        self.keystone.grant(NOVA, TENANT, 'member')
        image = self.create(self.tenants_guest())
        self.assertEqual(self.project.id, image['owner'])
        made = self.new_snapshots()
        self.assertEqual(
            [self.project.id] * 2,
            [one['os-extended-snapshot-attributes:project_id']
             for one in made])
        self.assert_nothing_left(image['id'])
        ended = self.child('image-delete', image['id'], '--yes')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assert_nothing_left()

    def test_without_a_role_there(self):
        self.identity.unassign_project_role_from_user(
            self.project, self.identity.find_user(NOVA),
            self.identity.find_role('member'))
        guest = self.tenants_guest()
        with self.not_frozen(guest):
            said = self.create(guest, expected=REFUSED)
        self.assertIn(f'--project {self.project.id}', said['stderr'])
        self.assertIn('member', said['stderr'])
        self.assert_nothing_left()
