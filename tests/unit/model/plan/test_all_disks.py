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
from nova_snap.model import image_set
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import image_format as format_plan
from nova_snap.model.plan import plan as plan_model
from tests.unit import data
from tests.unit.model.plan import scene

SET = '5e7a0000-0000-4000-8000-000000000000'
Method = plan_model.Method
SUPPORTED = (7, 2, 0)


def guest(*others, nova=False, root=None):
    """Return a guest with more drives than the root disk."""
    model = (scene.novas_guest() if nova
             else data.domain('agent-connected.live'))
    drives = tuple(dataclasses.replace(
        model.drives[0], **{'target_dev': f'vd{"bcdef"[number]}',
                            'source_path': f'/srv/other{number}',
                            'backing': (), **other})
                   for number, other in enumerate(others))
    first = dataclasses.replace(model.drives[0], **(root or {}))
    return dataclasses.replace(model, drives=(first, *drives))


def facts(model, targets=('vda', 'vdb'), **changes):
    """Return what is known when these disks of a guest are wanted."""
    disks = tuple(plan_model.DiskFacts(
        disk, chain=(disk.active_layer,), files=((1, number),),
        virtual_size=scene.SIZE, allocations=(scene.ACTIVE,))
        for number, disk in enumerate(
            model.disk(target) for target in targets))
    return scene.facts(model, disks=disks, **{
        'libvirt_version': SUPPORTED, **changes})


def request(**asked):
    return scene.request(set_id=SET, **asked)


@ddt.ddt
class SetTestCase(scene.PlanTestCase):

    def plan(self, facts, asked=None, **options):
        return super().plan(facts, asked or request(), **options)

    def test_each_disk_is_an_image_that_names_its_set_and_its_place(self):
        made = self.plan(facts(guest({})))
        self.assertEqual(['vda', 'vdb'],
                         [disk.target_dev for disk in made.disks])
        self.assertEqual(
            [image_set.Place(SET, target, ('vda', 'vdb'))
             for target in ('vda', 'vdb')],
            [image.place for image in made.images])

    def test_the_root_disk_has_the_image_and_the_name_asked_for(self):
        first, second = self.plan(facts(guest({}))).images
        self.assertEqual(('an-image', 'a-snapshot'),
                         (first.image_id, first.name))
        self.assertEqual('a-snapshot-vdb', second.name)
        self.assertNotEqual(first.image_id, second.image_id)

    def test_the_same_facts_give_the_same_images(self):
        self.assertEqual(self.plan(facts(guest({}))),
                         self.plan(facts(guest({}))))

    def test_another_set_has_other_images(self):
        one, other = (
            self.plan(facts(guest({})), request()).images[1].image_id,
            self.plan(facts(guest({})), dataclasses.replace(
                request(), set_id=SET.replace('5', '6'))).images[1].image_id)
        self.assertNotEqual(one, other)

    def test_a_name_that_gets_too_long_is_refused(self):
        said = self.refusal(errors.Refused, facts(guest({})),
                            request(name='x' * 253))
        self.assertIn('257 characters', said)

    def test_one_image_alone_has_no_place(self):
        made = self.plan(scene.facts(guest({})), scene.request())
        self.assertEqual([None], [image.place for image in made.images])

    @ddt.data('rebase', 'copy', 'backup', 'auto')
    def test_a_running_guest_is_taken_by_a_backup_job(self, live_method):
        made = self.plan(facts(guest({})), live_method=live_method)
        self.assertEqual(Method.BACKUP, made.method)
        self.assertFalse(made.undefine)

    def test_where_that_cannot_be_it_is_refused_by_name(self):
        said = self.refusal(
            errors.Unsupported,
            facts(guest({}), libvirt_version=(7, 1, 0)))
        self.assertIn('libvirt 7.1.0 has no backup jobs', said)
        self.assertIn('--cold', said)

    @ddt.named_data(
        ('off', {'state': scene.State.SHUTOFF}, {}, {}, Method.STOPPED),
        ('cold is asked for', {}, {'cold': True}, {}, Method.COLD),
        ('live is switched off', {}, {},
         {'disable_libvirt_livesnapshot': True}, Method.COLD))
    @ddt.unpack
    def test_a_guest_that_stands_still(self, about, asked, options, method):
        made = self.plan(facts(guest({}), **about), request(**asked),
                         **options)
        self.assertEqual(method, made.method)
        self.assertEqual(2, len(made.images))

    @ddt.named_data(
        ('on the net', {'source_type': 'network', 'protocol': 'iscsi'}),
        ('of vhost-user', {'source_type': 'vhostuser'}),
        ('of NVMe', {'source_type': 'nvme'}),
        ('shareable', {'is_shareable': True}),
        ('encrypted', {'encrypted': True}),
        ('transient', {'is_transient': True}))
    def test_one_that_cannot_be_read_refuses_all(self, about):
        said = self.refusal(errors.Unsupported, facts(guest(about)))
        self.assertIn('its disk vdb is', said)

    def test_a_block_job_on_any_of_them_is_named(self):
        known = facts(guest({}))
        disks = (known.disks[0], dataclasses.replace(
            known.disks[1], block_job='a block job runs on disk vdb'))
        said = self.refusal(errors.InstanceBusy,
                            dataclasses.replace(known, disks=disks))
        self.assertIn('vdb', said)

    def test_it_is_said_which_image_is_of_which_disk(self):
        said = '\n'.join(self.plan(facts(guest({}))).sentences())
        for words in ('image a-snapshot of vda: image format',
                      'image a-snapshot-vdb of vdb: image format',
                      'while its disks are read'):
            self.assertIn(words, said)


class WantedTestCase(scene.PlanTestCase):
    """Which disks are wanted, and what is said of the others."""

    def wanted(self, model):
        return [disk.target_dev for disk
                in disk_plan.wanted(request(), model)]

    def test_all_disks_of_this_host_the_root_disk_first(self):
        model = guest({'boot_order': 1}, {'device': 'lun',
                                          'source_type': 'block'})
        self.assertEqual(['vdb', 'vda', 'vdc'], self.wanted(model))

    def test_what_is_left_out_is_said(self):
        model = guest(
            {'serial': '70000000-0000-4000-8000-000000000001'},
            {'device': 'cdrom'}, {'device': 'floppy'},
            {'source_path': '/var/lib/nova/instances/x/disk.config'}, {},
            nova=True)
        self.assertEqual(['vda', 'vdf'], self.wanted(model))
        made = self.plan(facts(model, ('vda', 'vdf')), request())
        self.assertIn('left out: vdb (a Cinder volume), vdc (a cdrom), '
                      'vdd (a floppy), vde (a config drive)', made.remarks)

    def test_nothing_is_said_where_nothing_is_left_out(self):
        self.assertEqual((), self.plan(facts(guest({})), request()).remarks)

    def test_a_serial_is_no_volume_where_nova_is_not(self):
        self.assertEqual(['vda', 'vdb'],
                         self.wanted(guest({'serial': 'a-serial'})))

    def test_a_root_disk_that_is_a_volume_is_left_out_too(self):
        model = guest({}, nova=True, root={
            'serial': '70000000-0000-4000-8000-000000000000'})
        self.assertEqual(['vdb'], self.wanted(model))
        (image,) = self.plan(facts(model, ('vdb',)), request()).images
        self.assertEqual('a-snapshot-vdb', image.name)
        self.assertFalse(disk_plan.is_volume_backed(request(), model))

    def test_a_guest_of_volumes_alone_is_refused(self):
        model = guest(nova=True, root={
            'serial': '70000000-0000-4000-8000-000000000000'})
        said = self.refusal(errors.Unsupported, facts(model, ()), request())
        self.assertIn('--all-disks', said)


class RawTestCase(scene.PlanTestCase):

    def test_the_remedy_for_a_raw_disk_is_for_the_set(self):
        image = self.plan(facts(guest({})), request()).images[1]
        self.assertIn(
            'nova-snap image-create web a-snapshot --format qcow2 '
            '--all-disks"', format_plan.as_qcow2('web', image))
