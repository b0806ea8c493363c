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

"""The mapping and the record, compared with those of a real Nova 34."""

import dataclasses
import json

import ddt
from oslotest import base

from nova_snap import errors
from nova_snap.model import block_device
from nova_snap.model import domain as domain_model
from nova_snap.model import image as image_model
from nova_snap.model.plan import disk as disk_plan
from nova_snap.model.plan import plan as plan_model
from nova_snap.model.plan import volumes as volumes_plan
from nova_snap.model import request as request_model
from nova_snap.model import room as room_model
from nova_snap.model import volume_image
from nova_snap.model import volumes as volumes_model
from nova_snap import units
from tests.unit import data

*_, RECORD = json.loads(data.text(
    'nova34', 'nova34-volume-backed.images.json'))['image']
MAPPING = json.loads(RECORD['block_device_mapping'])

# What Cinder keeps of the image that the root volume was made from: the
# recorded guest was booted from such an image.
IMAGE_METADATA = {
    'image_id': 'ours', 'image_name': 'cirros', 'size': '16300544',
    'checksum': 'c', 'container_format': 'bare', 'disk_format': 'qcow2',
    'min_disk': '0', 'min_ram': '0', 'signature_verified': 'False',
    'kernel_id': RECORD['kernel_id'], 'ramdisk_id': RECORD['ramdisk_id'],
    'os_command_line': RECORD['os_command_line']}

# What Nova has from its database alone.
UNKNOWN = {'boot_roles'}

# Nova writes this one as it is called at the moment.
ASKED = request_model.RequestedImage(RECORD['id'], 'bfv-1')
REQUEST = request_model.Request(
    data.nova34_domain('volume-backed.live').uuid, (ASKED,),
    properties={'colour': 'blue'})

SWAP = domain_model.Disk(
    target_dev='vdc', source_type='file', source_path='/i/u/disk.swap',
    driver_format='raw', serial=None, encrypted=False, has_slices=False,
    backing=(), mirror=None, bus='virtio')
EPHEMERAL = dataclasses.replace(SWAP, target_dev='vdb',
                                source_path='/i/u/disk.eph0')


def _request(name=ASKED.name, made_by=ASKED.made_by, **changes):
    return dataclasses.replace(
        REQUEST, images=(dataclasses.replace(ASKED, name=name,
                                             made_by=made_by),), **changes)


def _volume(disk, **changes):
    return dataclasses.replace(volumes_model.Volume(
        volume_id=disk.volume_id, name='', description=None, status='in-use',
        size_gib=1, project_id='c7e3e11fa81048d9865ef08026b4db9c',
        attachments={
            REQUEST.instance_uuid: f'/dev/{disk.target_dev}'},
        image_metadata=IMAGE_METADATA), **changes)


def _attached(domain):
    return tuple(volumes_plan.AttachedVolume(disk, _volume(disk))
                 for disk in volumes_plan.attached_disks(domain))


def _guest(domain, **changes):
    return dataclasses.replace(plan_model.Facts(
        domain=domain, state=domain_model.State.RUNNING, qemu_id=3,
        is_persistent=True, has_managed_save=False, job=None,
        disks=_disks(domain, changes.pop('block_job', None)),
        room=room_model.Room('/srv', 0),
        nova_compute_runs=True), **changes)


def _disks(domain, block_job):
    if domain.root_disk is None:
        return ()
    return (plan_model.DiskFacts(domain.root_disk, block_job=block_job),)


def _facts(domain, **changes):
    return dataclasses.replace(
        volumes_plan.VolumeFacts(
            guest=_guest(domain),
            volumes=_attached(domain),
            local_sizes={},
            limits=volumes_model.SnapshotLimits(0, -1),
            project_id=None,
        ),
        **changes,
    )


@ddt.ddt
class LikeNovaTestCase(base.BaseTestCase):

    @ddt.data('volume-backed.live', 'volume-backed.inactive')
    def test_the_mapping_is_what_nova_34_wrote(self, name):
        domain = data.nova34_domain(name)
        plan = volumes_plan.make_plan(REQUEST, _facts(domain))
        self.assertEqual(MAPPING, plan.mapping(
            [entry['snapshot_id'] for entry in MAPPING]))
        self.assertEqual(RECORD['root_device_name'], plan.root_device_name)

    def test_the_record_is_what_nova_34_wrote(self):
        domain = data.nova34_domain('volume-backed.live')
        plan = volumes_plan.make_plan(REQUEST, _facts(domain))
        spec = volume_image.spec(REQUEST, ASKED, domain.nova, IMAGE_METADATA,
                                 frozenset())
        ours = {**spec.properties, **block_device.properties(
            plan.mapping([entry['snapshot_id'] for entry in MAPPING]),
            plan.root_device_name)}
        theirs = image_model.Image.from_glance(RECORD)
        self.assertEqual(MAPPING, json.loads(
            ours.pop(block_device.MAPPING_PROPERTY)))
        self.assertEqual(
            {name: value for name, value in theirs.properties.items()
             if name not in UNKNOWN | {block_device.MAPPING_PROPERTY}}, ours)
        for name in ('name', 'disk_format', 'container_format', 'min_disk',
                     'min_ram', 'owner', 'visibility'):
            self.assertEqual(getattr(theirs, name), getattr(spec, name), name)

    def test_what_cinder_was_told_of_a_device_goes_before_libvirt(self):
        [root, *_] = _attached(data.nova34_domain('volume-backed.live'))
        for recorded, name in (('/dev/sda', '/dev/sda'), ('xvda',
                                                          '/dev/xvda'),
                               ('', '/dev/vda')):
            attached = dataclasses.replace(root, volume=dataclasses.replace(
                root.volume, attachments={'here': recorded}))
            self.assertEqual(name, block_device.of_volume(
                attached, 'here', 's', is_root=True)['device_name'])


@ddt.ddt
class LocalDiskTestCase(base.BaseTestCase):

    @ddt.data(
        (SWAP, 512 * units.MiB, ('swap', 512)),
        (EPHEMERAL, 3 * units.GiB, (None, 3)),
        (dataclasses.replace(SWAP, source_path='/dev/vg/u_disk.swap'),
         units.GiB, ('swap', 1024)))
    @ddt.unpack
    def test_a_disk_becomes_the_entry_that_nova_writes(
        self, disk, size, expected
    ):
        entry = block_device.of_local_disk(disk, size)
        self.assertEqual(expected, (entry['guest_format'],
                                    entry['volume_size']))
        self.assertEqual(
            ('blank', 'local', -1, True, 'disk', 'virtio',
             f'/dev/{disk.target_dev}', None),
            tuple(entry[key] for key in (
                'source_type', 'destination_type', 'boot_index',
                'delete_on_termination', 'device_type', 'disk_bus',
                'device_name', 'snapshot_id')))
        self.assertEqual(set(MAPPING[0]), set(entry))

    def test_none_for_what_nova_makes_no_entry_of(self):
        self.assertIsNone(block_device.of_local_disk(dataclasses.replace(
            SWAP, source_path='/srv/theirs'), 1))

    def test_they_come_before_the_volumes_as_nova_has_them(self):
        domain = data.nova34_domain('volume-backed.live')
        domain = dataclasses.replace(domain, drives=(
            *domain.disks, EPHEMERAL, SWAP, dataclasses.replace(
                SWAP, source_path='/i/u/disk.config'), dataclasses.replace(
                SWAP, target_dev='vdx', source_path='/srv/theirs')))
        plan = volumes_plan.make_plan(REQUEST, _facts(domain, local_sizes={
            'vdb': units.GiB, 'vdc': units.MiB}))
        self.assertEqual(
            ['local', 'local', 'volume', 'volume'],
            [entry['destination_type'] for entry in plan.mapping('st')])
        said = ' '.join(plan.remarks)
        self.assertIn('vdb is made empty', said)
        self.assertIn('vdx is no volume', said)
        self.assertNotIn('config', said)


@ddt.ddt
class NamedTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['nothing', {}, None],
        ['no JSON', {'block_device_mapping': 'x'}, None],
        ['no list', {'block_device_mapping': '{}'}, None],
        ['what is strange', {'block_device_mapping': json.dumps([
            1, {}, {'snapshot_id': 's'}, {'source_type': 'snapshot'},
            {'source_type': 'snapshot', 'snapshot_id': 7},
            {'source_type': 'volume', 'volume_id': 'v'}])}, None],
        ['one twice', {'block_device_mapping': json.dumps([
            {'source_type': 'snapshot', 'snapshot_id': 's'}] * 2)}, ('s',)],
        ['what nova wrote', RECORD, tuple(entry['snapshot_id']
                                          for entry in MAPPING)])
    def test_the_snapshots_of_an_image(self, properties, expected):
        self.assertEqual(expected, block_device.snapshots_named(properties))


@ddt.ddt
class PlanTestCase(base.BaseTestCase):

    domain = dataclasses.replace(
        data.nova34_domain('volume-backed.live'), agent='connected',
        drives=tuple(dataclasses.replace(disk, source_type='block')
                    for disk in data.nova34_domain('volume-backed.live')
                    .disks))

    def refusal(self, kind, facts, **asked):
        request = _request(**asked)

        def plan():
            volumes_plan.refuse_early(request, facts.guest)
            volumes_plan.make_plan(request, facts)

        return str(self.assertRaises(kind, plan))

    def one(self, **changes):
        """Change the second volume."""
        first, second = _attached(self.domain)
        return _facts(self.domain, volumes=(first, dataclasses.replace(
            second, volume=dataclasses.replace(second.volume, **changes))))

    @ddt.data(
        ({'status': 'retyping'}, 'is retyping in Cinder'),
        ({'attachments': {'another': '/dev/vdb'}}, 'attached to another'))
    @ddt.unpack
    def test_a_volume_that_is(self, changes, words):
        said = self.refusal(errors.Unsupported, self.one(**changes))
        self.assertIn(words, said)
        self.assertIn('(disk vdb)', said)

    def test_a_volume_of_another_project(self):
        facts = dataclasses.replace(self.one(project_id='theirs'),
                                    project_id=_attached(self.domain)[0]
                                    .volume.project_id)
        said = self.refusal(errors.Unsupported, facts)
        self.assertIn('belongs to project theirs', said)
        self.assertIn('role member', said)

    def test_a_volume_that_cinder_does_not_know_to_be_attached(self):
        plan = volumes_plan.make_plan(REQUEST, self.one(
            attachments={}, status='available'))
        self.assertIn('does not know that volume 727e86ca',
                      ' '.join(plan.remarks))

    def test_more_snapshots_than_the_quota_allows_are_refused(self):
        said = self.refusal(errors.Refused, _facts(
            self.domain, limits=volumes_model.SnapshotLimits(9, 10)))
        for word in ('2 snapshots', '9 of the 10', '1 too many',
                     '"openstack quota set --snapshots 11 '):
            self.assertIn(word, said)

    @ddt.data(
        ({'image_format': 'raw'}, '--format'),
        ({'cold': True}, '--cold'),
        ({'name': ''}, 'is empty'),
        (
            {'made_by': request_model.Party.NOVA},
            'openstack server image create',
        ),
    )
    @ddt.unpack
    def test_what_cannot_be_asked_for(self, asked, words):
        self.assertIn(words, self.refusal(
            errors.Refused, _facts(self.domain), **asked))

    def test_a_guest_in_rescue_is_refused(self):
        self.assertIn(
            f'"openstack server unrescue {self.domain.uuid}"',
            self.refusal(errors.Unsupported, _facts(dataclasses.replace(
                self.domain, is_rescued=True))))

    def test_one_that_is_busy(self):
        facts = _facts(self.domain, guest=_guest(self.domain,
                                                 job='migration'))
        self.assertIn('migration', self.refusal(errors.InstanceBusy, facts))

    def test_a_root_disk_that_does_not_say_which_volume_it_is(self):
        domain = dataclasses.replace(
            self.domain, drives=data.domain('lun-root.live').disks)
        error = self.assertRaises(errors.Unsupported,
                                  volumes_plan.attached_disks, domain)
        self.assertIn('alias', str(error))

    def test_a_lun_is_known_by_its_alias(self):
        [lun, *_] = data.domain('lun-root.live').disks
        domain = dataclasses.replace(self.domain, drives=(
            dataclasses.replace(lun, alias='ua-a-volume'),))
        self.assertTrue(disk_plan.is_volume_backed(REQUEST, domain))
        [found] = volumes_plan.attached_disks(domain)
        self.assertEqual('a-volume', found.volume_id)

    def test_a_disc_may_be_a_volume(self):
        disc = dataclasses.replace(self.domain.disks[1], device='cdrom')
        domain = dataclasses.replace(
            self.domain, drives=(self.domain.disks[0], disc))
        entries = volumes_plan.make_plan(
            REQUEST, _facts(domain)).mapping('ab')
        self.assertEqual(['disk', 'cdrom'],
                         [entry['device_type'] for entry in entries])

    @ddt.named_data(
        ['nothing', {}, {}, (False, False)],
        ['want', {}, {'quiesce': 'want'}, (True, False)],
        ['require', {}, {'quiesce': 'require'}, (True, True)],
        ['off', {'state': domain_model.State.SHUTOFF}, {'quiesce': 'want'},
         (False, False)],
        ['paused', {'state': domain_model.State.PAUSED}, {'quiesce': 'want'},
         (False, False)])
    def test_the_guest_is_frozen_as_it_is_asked_for(
        self, guest, asked, expected
    ):
        plan = volumes_plan.make_plan(
            _request(**asked), _facts(
                self.domain, guest=_guest(self.domain, **guest)))
        self.assertEqual(expected, (plan.wants_freeze, plan.requires_freeze))

    def test_a_freeze_that_is_required_of_one_that_is_off(self):
        facts = _facts(self.domain, guest=_guest(
            self.domain, state=domain_model.State.SHUTOFF))
        self.refusal(errors.Unsupported, facts, quiesce='require')

    def test_the_image_of_one_that_is_off_may_ask_for_it(self):
        nova = dataclasses.replace(self.domain.nova, image_properties={
            'os_require_quiesce': 'True', 'hw_qemu_guest_agent': 'True'})
        domain = dataclasses.replace(self.domain, nova=nova)
        off = volumes_plan.make_plan(REQUEST, _facts(domain, guest=_guest(
            domain, state=domain_model.State.SHUTOFF)))
        self.assertFalse(off.requires_freeze)
        runs = volumes_plan.make_plan(REQUEST, _facts(domain))
        self.assertTrue(runs.requires_freeze)


class FileTestCase(base.BaseTestCase):
    """Volumes that are files: Nova snapshots them for Cinder."""

    domain = dataclasses.replace(
        data.nova34_domain('volume-backed.live'), agent='connected')

    def plan(self, guest=(), **asked):
        return volumes_plan.make_plan(
            _request(**asked), _facts(
                self.domain, guest=_guest(self.domain, **dict(guest))))

    def test_nova_freezes_for_each_of_them(self):
        plan = self.plan(quiesce='want')
        self.assertFalse(plan.wants_freeze)
        self.assertIn('not of one moment', ' '.join(plan.remarks))

    def test_one_moment_is_asked_for(self):
        error = self.assertRaises(errors.Unsupported, self.plan,
                                  quiesce='require')
        self.assertIn('disks vda, vdb are files', str(error))

    def test_there_is_no_nova_compute(self):
        error = self.assertRaises(errors.Unsupported, self.plan,
                                  {'nova_compute_runs': False})
        self.assertIn('no nova-compute runs on this host', str(error))


class SentencesTestCase(base.BaseTestCase):

    def test_it_says_what_will_happen(self):
        said = '\n'.join(volumes_plan.make_plan(
            REQUEST, _facts(PlanTestCase.domain)).sentences())
        for word in ('snapshot of the volumes of instance-0000000a',
                     'disk vda: volume 73aff132', 'disk vdb: volume 727e86ca',
                     '1 GiB', 'not frozen', 'image-delete',
                     'belongs to Nova'):
            self.assertIn(word, said)


class SpecTestCase(base.BaseTestCase):

    def spec(self, metadata=IMAGE_METADATA, non_inheritable=frozenset(),
             **asked):
        return volume_image.spec(
            _request(**asked), ASKED,
            data.nova34_domain('volume-backed.live').nova, metadata,
            non_inheritable)

    def test_what_is_not_inherited(self):
        found = self.spec({
            **IMAGE_METADATA, 'cinder_encryption_key_id': 'k',
            'os_glance_importing': 'x', 'mine': 'm', 'bdm_v2': 'True',
            'block_device_mapping': '[]', 'root_device_name': '/dev/sda'},
            non_inheritable={'mine'}).properties
        self.assertEqual(set(), {
            'cinder_encryption_key_id', 'os_glance_importing', 'mine',
            'block_device_mapping', 'bdm_v2', 'root_device_name',
            'img_bdm_v2', 'img_root_device_name', 'image_id', 'checksum',
            'size'} & set(found))

    def test_the_first_image_stays_named(self):
        found = self.spec({'base_image_ref': 'first'}).properties
        self.assertEqual('first', found['base_image_ref'])

    def test_properties_that_are_not_the_operator_s(self):
        for name in ('block_device_mapping', 'bdm_v2', 'status',
                     'cinder_encryption_key_id'):
            error = self.assertRaises(errors.Refused, self.spec,
                                      properties={name: 'x'})
            self.assertIn(name, str(error))
