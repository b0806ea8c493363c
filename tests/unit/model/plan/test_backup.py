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

from nova_snap import errors
from nova_snap.model.plan import plan as plan_model
from tests.unit import data
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
        self.assertIn('it is not taken by a backup job: libvirt 7.1.0 has no',
                      str(made.remarks))

    def test_auto_says_nothing_where_cold_is_asked_for(self):
        made = self.plan(scene.facts(libvirt_version=TOO_OLD),
                         scene.request(cold=True), live_method='auto')
        self.assertNotIn('backup job', str(made.remarks))

    @ddt.named_data(
        ('a file', {}, 'auto', Method.LIVE),
        ('a block device', {'chain': (scene.BLOCK,)}, 'auto', Method.BACKUP),
        ('a file, as the operator wants it', {}, 'backup', Method.BACKUP))
    @ddt.unpack
    def test_with_a_scratch_across_a_network(self, about, live_method,
                                             method):
        """A guest waits for it, and where it need not, it must not."""
        made = self.plan(scene.facts(
            libvirt_version=SUPPORTED, network_file_system='nfs4', **about),
            live_method=live_method)
        self.assertEqual(method, made.method)
        self.assertIn('network file system (nfs4)', str(made.remarks))
        self.assertEqual(method == Method.LIVE,
                         'is not taken by a backup' in str(made.remarks))

    @ddt.named_data(
        ('an old QEMU', (8, 2, 9), {'has_iothread': True}, False),
        ('a new one', (9, 0, 0), {'has_iothread': True}, True),
        ('a disk that QEMU has no thread for', (7, 2, 22), {}, True))
    @ddt.unpack
    def test_a_disk_with_a_thread_of_its_own(self, version, about, can_be):
        """A QEMU that is too old would crash when it has been read."""
        guest = data.domain('agent-connected.live')
        guest = dataclasses.replace(guest, drives=(dataclasses.replace(
            guest.drives[0], **about),))
        facts = scene.facts(guest, libvirt_version=SUPPORTED,
                            qemu_version=version)
        self.assertEqual(Method.BACKUP if can_be else Method.LIVE,
                         self.plan(facts, live_method='auto').method)
        if not can_be:
            said = self.refusal(errors.Unsupported, facts)
            self.assertIn('QEMU 8.2.9 may crash', said)
            self.assertIn('iothread (vda)', said)

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


@ddt.ddt
class ColdTestCase(scene.PlanTestCase):
    """A cold guest whose disk is streamed goes on before that is read."""

    def plan(self, about=None, **options):
        facts = scene.facts(**{
            'guest': 'root-user.live', 'libvirt_version': SUPPORTED,
            **(about or {})})
        return super().plan(facts, scene.request(cold=True),
                            **{'upload': 'stream', **options})

    def test_a_backup_job_holds_its_disk(self):
        made = self.plan()
        self.assertEqual((Method.COLD, True, True),
                         (made.method, made.is_held, made.is_streamed))
        self.assertEqual(0, made.need.least)
        self.assertLess(0, made.need.likely)
        self.assertIn('it stands still for the moment in which a backup job '
                      'begins', '\n'.join(made.sentences()))

    @ddt.named_data(
        ('a file is sent', {}, {'upload': 'file'}),
        ('libvirt is too old', {'libvirt_version': TOO_OLD}, {}),
        ('no running guest may have a job', {},
         {'disable_libvirt_livesnapshot': True}),
        ('it would wait for a network', {'network_file_system': 'nfs4'}, {}),
        ('libvirt would lose its agent', {'guest': 'agent-connected.live'},
         {}),
        ('its agent may come back', {'guest': 'agent-disconnected.live'}, {}),
        ('it has a channel of SPICE', {'guest': 'agent-absent.live'}, {}))
    @ddt.unpack
    def test_it_stands_still_where(self, about, options):
        made = self.plan(about, **options)
        self.assertEqual((Method.COLD, False, False),
                         (made.method, made.is_held, made.is_streamed))
        self.assertIn('it stands still while some 2.0 GiB of its disk are '
                      'read', '\n'.join(made.sentences()))
