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
from nova_snap.model import domain as domain_model
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import plan as plan_model
from nova_snap.model import request as request_model
from nova_snap.model import room as room_model
from nova_snap import units
from tests.contract import first_bytes
from tests.unit import data
from tests.unit.model.plan import scene
from tests.unit import settings

State = domain_model.State
Method = plan_model.Method


@ddt.ddt
class MethodTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('a guest that runs is taken live', {}, {}, {}, Method.LIVE),
        ('and a paused one', {'state': State.PAUSED}, {}, {}, Method.LIVE),
        (
            'and one that sleeps',
            {'state': State.PMSUSPENDED},
            {},
            {},
            Method.LIVE,
        ),
        (
            'and one that is not defined',
            {'is_persistent': False},
            {},
            {},
            Method.LIVE,
        ),
        ('cold, if that is asked for', {}, {'cold': True}, {}, Method.COLD),
        (
            'cold, if it is paused and that is asked for',
            {'state': State.PAUSED},
            {'cold': True},
            {},
            Method.COLD,
        ),
        (
            'cold from a block device',
            {'chain': (scene.BLOCK,)},
            {},
            {},
            Method.COLD,
        ),
        (
            'live from a file on a block device',
            {
                'chain': (
                    scene.ROOT,
                    dataclasses.replace(
                        scene.BASE, storage=layer_model.Storage.BLOCK
                    ),
                )
            },
            {},
            {},
            Method.LIVE,
        ),
        (
            'cold, if live is switched off',
            {},
            {},
            {'disable_libvirt_livesnapshot': True},
            Method.COLD,
        ),
        (
            'cold, if local disks are encrypted',
            {},
            {},
            {'ephemeral_storage_encryption': True},
            Method.COLD,
        ),
        (
            'a guest that is off is read as it is',
            {'state': State.SHUTOFF},
            {},
            {},
            Method.STOPPED,
        ),
        (
            'also if cold is asked for',
            {'state': State.SHUTOFF},
            {'cold': True},
            {},
            Method.STOPPED,
        ),
        (
            'and one that Nova suspended',
            {'state': State.SHUTOFF, 'has_managed_save': True},
            {},
            {},
            Method.STOPPED,
        ),
    )
    def test_live_or_cold_is_what_nova_would_do(
        self, facts, asked, options, method
    ):
        made = self.plan(
            scene.facts(**facts), scene.request(**asked), **options
        )
        self.assertEqual(method, made.method)

    def test_the_plan_names_what_was_seen(self):
        made = self.plan(scene.facts(qemu_id=7))
        [disk] = made.disks
        self.assertEqual(
            ('5f1c1f70-7f0a-4b0e-9d62-0c5d3a8f1e11', 'guest', State.RUNNING,
             7, 'vda', (scene.ROOT, scene.BASE), scene.SIZE, scene.ALLOCATED),
            (made.instance_uuid, made.instance_name, made.state,
             made.qemu_id, disk.target_dev, disk.chain, disk.virtual_size,
             disk.allocated))

    def test_the_same_facts_give_the_same_plan(self):
        self.assertEqual(self.plan(scene.facts()), self.plan(scene.facts()))


@ddt.ddt
class NameTestCase(scene.PlanTestCase):

    @ddt.data(('', 'is empty'), ('x' * 256, 'has 256 characters'),
              ('nightly \U0001f680', '\U0001f680'))
    @ddt.unpack
    def test_an_image_cannot_be_called(self, name, words):
        # Said first: it is the easiest to mend.
        said = self.refusal(
            errors.Refused,
            scene.facts('no-disk.live', room=room_model.Room('/srv', 0)),
            scene.request(name=name),
        )
        self.assertIn(words, said)

    @ddt.data('x', ' ', '-x', 'x' * 255, 'ö' * 255, '\uffee')
    def test_it_can_be_called(self, name):
        self.plan(scene.facts(), scene.request(name=name))

    @ddt.data({'\U0001f680': 'x'}, {'x': '\U0001f680'})
    def test_no_property_has_a_letter_of_four_bytes(self, properties):
        said = self.refusal(errors.Refused, scene.facts(),
                            scene.request(properties=properties))
        self.assertIn('\U0001f680', said)

    def test_one_that_is_there_is_called_already(self):
        self.plan(
            scene.facts(),
            scene.request(name='', made_by=request_model.Party.NOVA),
        )


@ddt.ddt
class BusyTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('it crashed', {'state': State.CRASHED}, 'crashed'),
        ('it is on its way down', {'state': State.SHUTTING_DOWN},
         'shutting down'),
        ('libvirt does not say what it does', {'state': State.UNKNOWN},
         'unknown'),
        ('it is being migrated', {'job': 'migration'}, 'a migration'),
        ('another client copies its disk',
         {'block_job': 'a block job (copy) to /x runs on disk vda'},
         'copy) to /x runs on disk vda'),
    )
    def test_it_is_left_alone(self, facts, words):
        said = self.refusal(errors.InstanceBusy, scene.facts(**facts))
        self.assertIn(words, said)
        self.assertIn('guest', said)


@ddt.ddt
class ColdTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('devices of the host that nothing releases', 'hostdevs.live',
         {'state': State.PAUSED},
         ('hostdev pci 0000:3b:00.1', 'interface fa:16:3e:0a:0b:0c')),
        ('an encrypted memory', 'sev.live', {}, ('SEV',)),
        ('no definition', 'raw-root.live', {'is_persistent': False},
         ('transient',)),
        ('a sleep that would not be given back', 'raw-root.live',
         {'state': State.PMSUSPENDED}, ('pmsuspended',)),
    )
    def test_a_guest_that_cannot_be_saved_is_refused(self, guest,
                                                     facts, words):
        cold = self.refusal(errors.Unsupported, scene.facts(guest, **facts),
                            scene.request(cold=True))
        for word in words:
            self.assertIn(word, cold)

    @ddt.data('hostdevs.live', 'sev.live')
    def test_it_is_taken_live_and_while_it_is_off(self, guest):
        self.assertEqual(Method.LIVE, self.plan(scene.facts(guest)).method)
        made = self.plan(scene.facts(guest, state=State.SHUTOFF, qemu_id=-1))
        self.assertEqual(Method.STOPPED, made.method)
        self.assertEqual((), made.hostdevs)

    def test_a_nova_that_runs_would_act_on_it(self):
        guest = scene.novas_guest()
        said = self.refusal(
            errors.Unsupported, scene.facts(guest, nova_compute_runs=True),
            scene.request(cold=True))
        self.assertIn(f'"openstack server image create {guest.uuid}"', said)
        self.assertIn('--nova-is-stopped', said)

    @ddt.named_data(
        ('unless the operator vouches for it', scene.novas_guest(), True,
         {'nova_is_stopped': True}),
        ('unless no Nova runs', scene.novas_guest(), False, {}),
        ('unless the guest is not of Nova\'s',
         data.domain('raw-root.live'), True, {}),
    )
    def test_a_nova_that_would_not_act_is_no_obstacle(self, guest, runs,
                                                      asked):
        made = self.plan(scene.facts(guest, nova_compute_runs=runs),
                         scene.request(cold=True, **asked))
        self.assertEqual(Method.COLD, made.method)

    @ddt.named_data(
        ('live', {}, True),
        ('of a guest that is off', {'state': State.SHUTOFF}, True),
        ('where no Nova runs', {'nova_compute_runs': False}, False),
    )
    def test_the_operator_is_told_that_nova_does_not_see_it(
            self, facts, told):
        facts = {'nova_compute_runs': True, **facts}
        made = self.plan(scene.facts(scene.novas_guest(), **facts))
        self.assertEqual(told, any('does not see' in remark
                                   for remark in made.remarks))


@ddt.ddt
class UndefineTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('as Nova does', 'raw-root.live', {}, {}, True),
        ('not where it stays defined by choice', 'raw-root.live', {},
         {'live_method': 'copy'}, False),
        ('not what is not defined', 'raw-root.live',
         {'is_persistent': False}, {}, False),
        ('not with a TPM that would be lost', 'vtpm-volatile.live', {}, {},
         False),
        ('with a TPM that is kept', 'vtpm-persistent.live', {}, {}, True),
        ('not a guest that is off', 'raw-root.live',
         {'state': State.SHUTOFF}, {}, False),
    )
    def test_a_guest_is_undefined(self, guest, facts, options,
                                  undefine):
        made = self.plan(scene.facts(guest, **facts), **options)
        self.assertEqual(undefine, made.undefine)

    def test_a_cold_snapshot_undefines_nothing(self):
        made = self.plan(scene.facts(), scene.request(cold=True))
        self.assertFalse(made.undefine)

    def test_the_operator_is_told_of_the_tpm(self):
        made = self.plan(scene.facts('vtpm-volatile.live'))
        self.assertIn('TPM', ' '.join(made.remarks))
        self.assertEqual((), self.plan(scene.facts()).remarks)


@ddt.ddt
class FormatTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('that of the disk', None, None, scene.ROOT, 'qcow2'),
        ('that of a raw disk', None, None, scene.BASE, 'raw'),
        ('that of the options', None, 'vdi', scene.ROOT, 'vdi'),
        ('that of the request, before the options', 'vmdk', 'vdi', scene.ROOT,
         'vmdk'),
    )
    def test_the_format_of_the_image_is_the_first_that_is_said(
        self, asked, option, layer, expected
    ):
        made = self.plan(scene.facts(chain=(layer,)),
                         scene.request(image_format=asked),
                         snapshot_image_format=option)
        self.assertEqual(expected, made.images[0].image_format)

    @ddt.named_data(
        ('raw, which may be changed', None, None, 'qcow2',
         'the image is made in qcow2'),
        ('raw by name', 'raw', None, 'raw', '--format qcow2"'),
        ('raw by the options', None, 'raw', 'raw',
         ' a-snapshot --format qcow2"'),
    )
    def test_glance_may_refuse_it(self, asked, option, expected, said):
        made = self.plan(scene.facts(chain=(scene.BASE,),
                                     first=first_bytes.boot_sector()),
                         scene.request(image_format=asked),
                         snapshot_image_format=option)
        self.assertEqual(expected, made.images[0].image_format)
        [remark] = made.remarks
        self.assertIn('disk vda (its boot sector has no partition in it)',
                      remark)
        self.assertIn(said, remark)

    def test_nova_reads_the_cure_in_its_options(self):
        [remark] = self.plan(
            scene.facts(chain=(scene.BASE,), first=first_bytes.boot_sector()),
            scene.request(made_by=request_model.Party.NOVA),
            snapshot_image_format='raw').remarks
        self.assertIn('snapshot_image_format = qcow2 in nova.conf', remark)

    @ddt.data((first_bytes.boot_sector(first_bytes.LINUX), 'raw'),
              (first_bytes.boot_sector(), 'vmdk'), (None, 'raw'))
    @ddt.unpack
    def test_of_what_it_takes_nothing_is_said(self, first, image_format):
        made = self.plan(scene.facts(chain=(scene.BASE,), first=first),
                         scene.request(image_format=image_format))
        self.assertEqual((image_format, ()),
                         (made.images[0].image_format, made.remarks))

    def test_one_that_is_made_in_qcow2_is_compressed_where_that_is_asked(self):
        made = self.plan(scene.facts(chain=(scene.BASE,),
                                     first=first_bytes.boot_sector()),
                         upload='stream', snapshot_compression=True)
        self.assertEqual((True, False), (made.images[0].compress,
                                         made.images[0].is_streamed))

    def test_glance_takes_no_other(self):
        said = self.refusal(errors.Unsupported, scene.facts(),
                            scene.request(image_format='qcow3'))
        self.assertIn('qcow3', said)
        self.assertIn('raw, qcow2, vmdk, vdi', said)

    @ddt.data(
        ('qcow2', True, True), ('qcow2', False, False),
        ('raw', True, False), ('vmdk', True, False), ('vdi', True, False),
    )
    @ddt.unpack
    def test_only_qcow2_is_compressed(self, image_format, option, expected):
        made = self.plan(
            scene.facts(),
            scene.request(image_format=image_format),
            snapshot_compression=option,
        )
        self.assertEqual(expected, made.images[0].compress)


class SpaceTestCase(scene.PlanTestCase):

    def room(self, size):
        return scene.facts(room=room_model.Room('/srv/snapshots', size))

    def test_the_room_is_counted_before(self):
        reserve = settings.DEFAULTS.space_reserve
        made = self.plan(self.room(reserve))
        self.assertIn('may need', ' '.join(made.remarks))

        said = self.refusal(errors.NotEnoughSpace,
                            self.room(reserve - units.MiB))
        self.assertIn('/srv/snapshots', said)
        self.assertIn('are missing', said)

    def test_memory_that_has_no_room_is_not_saved(self):
        reserve = settings.DEFAULTS.space_reserve
        guest = dataclasses.replace(data.domain('agent-connected.live'),
                                    memory=units.GiB)
        facts = scene.facts(guest, save_room=room_model.Room(
            '/save', reserve + units.GiB))
        made = self.plan(facts, scene.request(cold=True))
        self.assertEqual((units.GiB, '/save'),
                         (made.memory, made.save_directory))
        said = self.refusal(
            errors.NotEnoughSpace, dataclasses.replace(
                facts, save_room=room_model.Room('/save', reserve)),
            scene.request(cold=True))
        self.assertIn('/save', said)
        self.assertIn('take the snapshot live', said)

    def test_what_could_not_be_started_again_is_not_saved(self):
        facts = scene.facts(lost=('libvirt has no secret x of its TPM',))
        self.plan(facts)
        said = self.refusal(errors.Unsupported, facts,
                            scene.request(cold=True))
        self.assertIn('secret x of its TPM', said)

    def test_it_is_counted_last(self):
        # Who could not take the snapshot anyway is not sent for a disk.
        self.refusal(errors.InstanceBusy, scene.facts(
            room=room_model.Room('/srv', 0), job='migration'))


@ddt.ddt
class SentencesTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('live', {}, {}, {},
         ('live snapshot of guest (', 'which is running',
          'root disk vda: /srv/guests/root.qcow2 (qcow2) on '
          '/srv/guests/base.raw (raw), 10.0 GiB',
          'the guest runs on; the domain is undefined and defined again',
          'its file systems are not frozen', 'image format qcow2',
          'some 2.8 GiB')),
        ('live, defined and frozen', {}, {'quiesce': 'require'},
         {'live_method': 'copy'},
         ('the domain stays defined',
          'its file systems are frozen for a moment')),
        ('live, frozen if that can be', {}, {'quiesce': 'want'}, {},
         ('frozen for a moment if the guest agent answers',)),
        ('cold and compressed', {'state': State.PAUSED}, {'cold': True},
         {'snapshot_compression': True},
         ('cold snapshot', 'is saved, and is paused again before the upload; '
          'it stands still while some 2.0 GiB of its disk are read',
          'image format qcow2, compressed')),
        ('cold and cloned', {'may_be_cloned': True}, {'cold': True}, {},
         ('stands still for the moment in which its disk is cloned, or, '
          'where the file system was made without clones, while some 2.0 GiB '
          'of its disk are read',)),
        ('off', {'state': State.SHUTOFF}, {}, {},
         ('stopped snapshot', 'which is shut off', 'has no QEMU process')),
        ('with remarks', {'domain': data.domain('vtpm-volatile.live')}, {},
         {}, ('its TPM state would be lost',)),
    )
    def test_the_operator_reads_what_will_happen(self, facts, asked,
                                                 options, sentences):
        made = self.plan(
            scene.facts(**facts), scene.request(**asked), **options
        )
        said = '\n'.join(made.sentences())
        for sentence in sentences:
            self.assertIn(sentence, said)
