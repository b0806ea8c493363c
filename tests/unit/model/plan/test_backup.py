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

import ddt

from nova_snap import errors
from nova_snap.model.plan import plan as plan_model
from tests.unit.model.plan import scene

Method = plan_model.Method
SUPPORTED = (7, 2, 0)
TOO_OLD = (7, 1, 0)


@ddt.ddt
class BackupTestCase(scene.PlanTestCase):

    def plan(self, facts=None, asked=None, **options):
        options.setdefault('live_method', 'backup')
        return super().plan(
            facts or scene.facts(libvirt_version=SUPPORTED), asked, **options)

    @ddt.named_data(
        ('a file', {}), ('a block device', {'chain': (scene.BLOCK,)}),
        ('a guest that is not defined', {'is_persistent': False}),
        ('a paused guest', {'state': scene.State.PAUSED}))
    def test_a_guest_that_has_a_process_is_taken_so(self, about):
        made = self.plan(scene.facts(libvirt_version=SUPPORTED, **about))
        self.assertEqual(Method.BACKUP, made.method)
        self.assertFalse(made.undefine)

    @ddt.named_data(
        ('off', {'state': scene.State.SHUTOFF}, {}, {}, Method.STOPPED),
        ('cold is asked for', {}, {'cold': True}, {}, Method.COLD),
        ('live is switched off', {}, {},
         {'disable_libvirt_livesnapshot': True}, Method.COLD),
        ('disks are encrypted', {}, {},
         {'ephemeral_storage_encryption': True}, Method.COLD))
    @ddt.unpack
    def test_other_guests_are_taken_as_ever(self, about, asked, options,
                                            method):
        made = self.plan(scene.facts(libvirt_version=SUPPORTED, **about),
                         scene.request(**asked), **options)
        self.assertEqual(method, made.method)

    def test_a_libvirt_that_is_too_old_is_named(self):
        error = self.assertRaises(
            errors.Unsupported, self.plan,
            scene.facts(libvirt_version=TOO_OLD))
        self.assertIn('libvirt 7.1.0 has no backup jobs; 7.2.0 has',
                      str(error))
        self.assertIn('"auto"', str(error))

    @ddt.named_data(
        ('a file', {}, Method.LIVE),
        ('a block device', {'chain': (scene.BLOCK,)}, Method.COLD))
    @ddt.unpack
    def test_auto_takes_another_way_there(self, about, method):
        made = self.plan(
            scene.facts(libvirt_version=TOO_OLD, **about),
            live_method='auto')
        self.assertEqual(method, made.method)

    def test_the_image_is_streamed_whatever_upload_says(self):
        self.assertTrue(self.plan(upload='file').is_streamed)

    @ddt.data('vmdk', 'vdi')
    def test_one_that_cannot_be_laid_out_is_not(self, image_format):
        made = self.plan(asked=scene.request(image_format=image_format))
        self.assertFalse(made.is_streamed)

    def test_room_is_reserved_for_what_the_guest_overwrites_alone(self):
        made = self.plan()
        self.assertEqual(0, made.need.least)
        self.assertLess(0, made.need.likely)
        self.assertLess(made.need.likely,
                        self.plan(live_method='rebase').need.likely)

    def test_the_guest_is_frozen_as_in_a_live_snapshot(self):
        made = self.plan(asked=scene.request(quiesce='require'))
        self.assertTrue(made.requires_freeze)

    def test_it_says_what_happens(self):
        said = '\n'.join(self.plan().sentences())
        self.assertIn('backup snapshot of', said)
        self.assertIn('stays defined', said)
        self.assertIn('made while it is sent', said)
