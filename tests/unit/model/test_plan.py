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
from oslotest import base

from nova_snap import errors
from nova_snap.model import domain
from nova_snap.model import plan
from nova_snap.model import request
from nova_snap.model import space
from nova_snap import units
from tests.unit import data
from tests.unit import settings

State = plan.State
Method = plan.Method

SIZE = 10 * units.GiB
ALLOCATED = 2 * units.GiB
ROOT = domain.Layer('/srv/guests/root.qcow2', 'qcow2')
BASE = domain.Layer('/srv/guests/base.raw', 'raw')
BLOCK = domain.Layer('/dev/vg/guest_root', 'raw', is_block=True)


def _facts(guest='agent-connected.live', **changes):
    """A guest that runs, on a disk of two layers, with room enough."""
    if isinstance(guest, str):
        guest = data.domain(guest)
    return dataclasses.replace(
        plan.Facts(domain=guest, state=State.RUNNING, qemu_id=3,
                   is_persistent=True, has_managed_save=False, job=None,
                   block_job=None, chain=(ROOT, BASE), virtual_size=SIZE,
                   allocated=ALLOCATED, free=100 * units.GiB,
                   nova_compute_runs=False),
        **changes)


def _request(**changes):
    return dataclasses.replace(
        request.Request(instance_uuid='an-instance', name='a-snapshot',
                        image_id='an-image'), **changes)


def _novas_guest(agent='connected', state_of_root='image', **properties):
    """A guest of Nova's whose image has these properties, as objects do."""
    guest = data.nova34_domain('image-backed.live')
    return dataclasses.replace(guest, agent=agent, nova=dataclasses.replace(
        guest.nova, root_type=state_of_root, image_properties=properties))


class PlanTestCase(base.BaseTestCase):

    def plan(self, facts, asked=None, **options):
        return plan.make_plan(asked or _request(), settings.make(**options),
                              facts)

    def refusal(self, error, facts, asked=None, **options):
        """Return what the plan says no with."""
        refused = self.assertRaises(error, self.plan, facts, asked,
                                    **options)
        return str(refused)


@ddt.ddt
class MethodTestCase(PlanTestCase):

    @ddt.named_data(
        ('a guest that runs is taken live', {}, {}, {}, Method.LIVE),
        ('and a paused one', {'state': State.PAUSED}, {}, {}, Method.LIVE),
        ('and one that sleeps', {'state': State.PMSUSPENDED}, {}, {},
         Method.LIVE),
        ('and one that nobody defined', {'is_persistent': False}, {}, {},
         Method.LIVE),
        ('cold, if that is asked for', {}, {'cold': True}, {}, Method.COLD),
        ('cold, if it is paused and that is asked for',
         {'state': State.PAUSED}, {'cold': True}, {}, Method.COLD),
        ('cold from a block device', {'chain': (BLOCK,)}, {}, {},
         Method.COLD),
        ('live from a file on a block device',
         {'chain': (ROOT, dataclasses.replace(BASE, is_block=True))}, {}, {},
         Method.LIVE),
        ('cold, if live is switched off', {}, {},
         {'disable_libvirt_livesnapshot': True}, Method.COLD),
        ('cold, if local disks are encrypted', {}, {},
         {'ephemeral_storage_encryption': True}, Method.COLD),
        ('a guest that is off is read as it is', {'state': State.SHUTOFF},
         {}, {}, Method.STOPPED),
        ('also if cold is asked for', {'state': State.SHUTOFF},
         {'cold': True}, {}, Method.STOPPED),
        ('and one that Nova suspended', {'state': State.SHUTOFF,
                                         'has_managed_save': True},
         {}, {}, Method.STOPPED),
    )
    def test_nova_s_rule(self, facts, asked, options, method):
        made = self.plan(_facts(**facts), _request(**asked), **options)
        self.assertEqual(method, made.method)

    def test_the_plan_names_what_was_seen(self):
        made = self.plan(_facts(qemu_id=7))
        self.assertEqual(
            ('5f1c1f70-7f0a-4b0e-9d62-0c5d3a8f1e11', 'guest', State.RUNNING,
             7, 'vda', (ROOT, BASE), SIZE, ALLOCATED),
            (made.instance_uuid, made.instance_name, made.state,
             made.qemu_id, made.target_dev, made.chain, made.virtual_size,
             made.allocated))

    def test_the_same_facts_give_the_same_plan(self):
        self.assertEqual(self.plan(_facts()), self.plan(_facts()))


@ddt.ddt
class UnsupportedTestCase(PlanTestCase):

    @ddt.named_data(
        ('a container', 'lxc.live', (), 'container'),
        ('a guest without a disk', 'no-disk.live', (), 'it has no disk'),
        ('a disk in Ceph', 'network-disk.live', (), 'type network'),
        ('a volume of a pool', 'pool-volume.live', (), 'type volume'),
        ('a disk without a source', 'disk-without-source.inactive', (),
         'sda has no source'),
        ('an encrypted disk', 'encrypted-source.live',
         (dataclasses.replace(ROOT, format='raw'),), 'is encrypted'),
        ('a part of a file', 'sliced-root.live', (BASE,), '(<slices>)'),
        ('a part of a file below', 'sliced-backing.live', (), '(<slices>)'),
        ('a disk whose format nobody named', 'driver-without-format.live',
         (), 'is not named in its XML'),
        ('a layer whose format nobody named', 'raw-root.live',
         (ROOT, domain.Layer('/srv/old', '')),
         'of the backing file /srv/old is not named'),
        ('a layer of a format that is not read', 'raw-root.live',
         (ROOT, BASE, domain.Layer('/srv/x', 'vmdk')),
         'of the backing file /srv/x is vmdk'),
        ('a layer on another host', 'network-backing.live',
         (ROOT, domain.Layer('/etc/passwd', 'raw', is_local=False)),
         'given by a network address'),
    )
    def test_it_is_refused_by_name(self, guest, chain, words):
        said = self.refusal(errors.Unsupported, _facts(guest, chain=chain))
        self.assertIn(words, said)
        self.assertIn('guest', said)

    def test_a_node_of_containers_is_refused(self):
        said = self.refusal(errors.Unsupported, _facts(), virt_type='lxc')
        self.assertIn('container', said)

    @ddt.named_data(
        ('as Nova 34 was seen to write it',
         data.nova34_domain('volume-backed.live')),
        ('as its sources have it', _novas_guest(state_of_root='volume')),
        ('without a serial number, as a LUN has none', dataclasses.replace(
            data.nova34_domain('volume-backed.live'),
            disks=data.domain('lun-root.live').disks)),
        ('known by its serial number alone', dataclasses.replace(
            data.nova34_domain('volume-backed.live'), nova=_novas_guest()
            .nova)),
    )
    def test_a_volume_is_refused(self, guest):
        said = self.refusal(errors.Unsupported, _facts(guest))
        self.assertIn('Cinder volume', said)
        self.assertIn('openstack server image create', said)

    @ddt.named_data(
        ('an image', _novas_guest()),
        ('a volume', data.nova34_domain('volume-backed.live')),
    )
    def test_a_guest_in_rescue_is_refused(self, guest):
        said = self.refusal(errors.Unsupported, _facts(
            dataclasses.replace(guest, is_rescued=True)))
        self.assertIn('unrescue it first', said)
        self.assertIn('openstack server unrescue', said)
        self.assertNotIn('image create', said)

    @ddt.named_data(
        ('of Nova 34', _novas_guest()),
        ('of a Nova that wrote nothing of the image',
         data.domain('nova-metadata-1.0.live')),
        ('of one that wrote nothing of the root disk',
         data.domain('nova-metadata-odd.live')),
        ('of others with a serial number', dataclasses.replace(
            data.nova34_domain('volume-backed.live'), nova=None)),
    )
    def test_a_disk_of_an_image_is_not_taken_for_a_volume(self, guest):
        self.assertEqual(Method.LIVE, self.plan(_facts(guest)).method)


@ddt.ddt
class NameTestCase(PlanTestCase):

    @ddt.data(('', 'is empty'), ('x' * 256, 'has 256 characters'))
    @ddt.unpack
    def test_an_image_cannot_be_called(self, name, words):
        # Said first: it is the easiest to mend.
        said = self.refusal(errors.Refused, _facts('no-disk.live', free=0),
                            _request(name=name))
        self.assertIn(words, said)

    @ddt.data('x', ' ', '-x', 'x' * 255, 'ö' * 255)
    def test_it_can_be_called(self, name):
        self.plan(_facts(), _request(name=name))

    def test_one_that_is_there_is_called_already(self):
        self.plan(_facts(), _request(name='', image_exists=True))


@ddt.ddt
class BusyTestCase(PlanTestCase):

    @ddt.named_data(
        ('it crashed', {'state': State.CRASHED}, 'crashed'),
        ('it is on its way down', {'state': State.SHUTTING_DOWN},
         'shutting down'),
        ('libvirt does not say what it does', {'state': State.UNKNOWN},
         'unknown'),
        ('it is being migrated', {'job': 'migration'}, 'a migration'),
        ('somebody copies its disk',
         {'block_job': 'a block job (copy) to /x runs on disk vda'},
         'copy) to /x runs on disk vda, which is not ours'),
    )
    def test_it_is_left_alone(self, facts, words):
        said = self.refusal(errors.InstanceBusy, _facts(**facts))
        self.assertIn(words, said)
        self.assertIn('guest', said)


@ddt.ddt
class ColdTestCase(PlanTestCase):

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
        cold = self.refusal(errors.Unsupported, _facts(guest, **facts),
                            _request(cold=True))
        for word in words:
            self.assertIn(word, cold)

    @ddt.data('hostdevs.live', 'sev.live')
    def test_it_is_taken_live_and_while_it_is_off(self, guest):
        self.assertEqual(Method.LIVE, self.plan(_facts(guest)).method)
        made = self.plan(_facts(guest, state=State.SHUTOFF, qemu_id=-1))
        self.assertEqual(Method.STOPPED, made.method)
        self.assertEqual((), made.hostdevs)

    def test_a_nova_that_runs_would_act_on_it(self):
        said = self.refusal(
            errors.Unsupported,
            _facts(_novas_guest(), nova_compute_runs=True),
            _request(cold=True))
        self.assertIn('openstack server image create', said)
        self.assertIn('--nova-is-stopped', said)

    @ddt.named_data(
        ('unless the operator vouches for it', _novas_guest(), True,
         {'nova_is_stopped': True}),
        ('unless no Nova runs', _novas_guest(), False, {}),
        ('unless the guest is not of Nova\'s',
         data.domain('raw-root.live'), True, {}),
    )
    def test_it_would(self, guest, runs, asked):
        made = self.plan(_facts(guest, nova_compute_runs=runs),
                         _request(cold=True, **asked))
        self.assertEqual(Method.COLD, made.method)

    @ddt.named_data(
        ('live', {}, True),
        ('of a guest that is off', {'state': State.SHUTOFF}, True),
        ('where no Nova runs', {'nova_compute_runs': False}, False),
    )
    def test_the_operator_is_told_that_nova_does_not_see_it(
            self, facts, told):
        facts = {'nova_compute_runs': True, **facts}
        made = self.plan(_facts(_novas_guest(), **facts))
        self.assertEqual(told, any('does not see' in remark
                                   for remark in made.remarks))


@ddt.ddt
class FreezeTestCase(PlanTestCase):

    @ddt.named_data(
        ('nobody asks for it', {}, None, (False, False)),
        ('the image has an agent', {'hw_qemu_guest_agent': 'True'}, None,
         (True, False)),
        ('the image requires it', {'os_require_quiesce': 'True'}, None,
         (True, True)),
        ('the image says no', {'hw_qemu_guest_agent': 'False',
                               'os_require_quiesce': 'False'}, None,
         (False, False)),
        ('the operator wants it', {}, 'want', (True, False)),
        ('the operator requires it', {}, 'require', (True, True)),
        ('the image requires what the operator wants',
         {'os_require_quiesce': 'yes'}, 'want', (True, True)),
    )
    def test_wanted_and_required(self, properties, quiesce, expected):
        made = self.plan(_facts(_novas_guest(**properties)),
                         _request(quiesce=quiesce))
        self.assertEqual(expected, (made.wants_freeze, made.requires_freeze))
        self.assertTrue(made.has_agent)

    def test_of_a_guest_of_others_the_operator_alone_asks(self):
        self.assertFalse(self.plan(_facts()).wants_freeze)
        self.assertTrue(self.plan(_facts(), _request(quiesce='want'))
                        .wants_freeze)

    @ddt.named_data(
        ('no channel', 'absent', State.RUNNING, 'hw_qemu_guest_agent'),
        ('no agent', 'disconnected', State.RUNNING,
         'start qemu-guest-agent'),
        ('it is paused', 'connected', State.PAUSED, 'paused'),
        ('it sleeps', 'connected', State.PMSUSPENDED, 'pmsuspended'),
    )
    def test_where_it_cannot_be(self, agent, state, words):
        required = _novas_guest(agent, os_require_quiesce='True')
        said = self.refusal(errors.Unsupported, _facts(required,
                                                       state=state))
        self.assertIn(words, said)
        self.assertIn('os_require_quiesce', said)

        said = self.refusal(errors.Unsupported,
                            _facts(_novas_guest(agent), state=state),
                            _request(quiesce='require'))
        self.assertIn(words, said)
        self.assertIn('--quiesce', said)

        wanted = _novas_guest(agent, hw_qemu_guest_agent='True')
        self.assertFalse(self.plan(_facts(wanted, state=state))
                         .wants_freeze)

    @ddt.named_data(
        ('saved', State.RUNNING, True),
        ('off', State.SHUTOFF, False),
    )
    def test_a_guest_that_stands_still_is_not_frozen(self, state,
                                                     cold):
        facts = _facts(_novas_guest(os_require_quiesce='True'), state=state)
        made = self.plan(facts, _request(cold=cold, quiesce='want'))
        self.assertEqual((False, False),
                         (made.wants_freeze, made.requires_freeze))
        said = self.refusal(errors.Unsupported, facts,
                            _request(cold=cold, quiesce='require'))
        self.assertIn('--quiesce', said)

    @ddt.data(
        ('yes', True), ('True', True), (' TRUE ', True), ('on', True),
        ('1', True), ('y', True), ('t', True),
        ('no', False), ('False', False), ('0', False), ('', False),
        ('maybe', False), (None, False),
    )
    @ddt.unpack
    def test_a_word_is_read_as_glance_s_users_write_it(self, word, truth):
        self.assertEqual(truth, plan.is_true(word))


@ddt.ddt
class UndefineTestCase(PlanTestCase):

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
        made = self.plan(_facts(guest, **facts), **options)
        self.assertEqual(undefine, made.undefine)

    def test_a_cold_snapshot_undefines_nothing(self):
        made = self.plan(_facts(), _request(cold=True))
        self.assertFalse(made.undefine)

    def test_the_operator_is_told_of_the_tpm(self):
        made = self.plan(_facts('vtpm-volatile.live'))
        self.assertIn('TPM', ' '.join(made.remarks))
        self.assertEqual((), self.plan(_facts()).remarks)


@ddt.ddt
class FormatTestCase(PlanTestCase):

    @ddt.named_data(
        ('that of the disk', None, None, ROOT, 'qcow2'),
        ('that of a raw disk', None, None, BASE, 'raw'),
        ('that of the options', None, 'vdi', ROOT, 'vdi'),
        ('that of the request, before the options', 'vmdk', 'vdi', ROOT,
         'vmdk'),
    )
    def test_it_is(self, asked, option, layer, expected):
        made = self.plan(_facts(chain=(layer,)),
                         _request(image_format=asked),
                         snapshot_image_format=option)
        self.assertEqual(expected, made.image_format)

    def test_glance_takes_no_other(self):
        said = self.refusal(errors.Unsupported, _facts(),
                            _request(image_format='qcow3'))
        self.assertIn('qcow3', said)
        self.assertIn('raw, qcow2, vmdk, vdi', said)

    @ddt.data(
        ('qcow2', True, True), ('qcow2', False, False),
        ('raw', True, False), ('vmdk', True, False), ('vdi', True, False),
    )
    @ddt.unpack
    def test_only_qcow2_is_compressed(self, image_format, option, expected):
        made = self.plan(_facts(), _request(image_format=image_format),
                         snapshot_compression=option)
        self.assertEqual(expected, made.compress)


@ddt.ddt
class SpaceTestCase(PlanTestCase):

    @ddt.named_data(
        ('live, at its largest', {}, {}, True,
         space.live(SIZE, ALLOCATED, worst_case=True)),
        ('live, as it is', {}, {}, False,
         space.live(SIZE, ALLOCATED, worst_case=False)),
        ('cold, at its largest', {}, {'cold': True}, True,
         space.flat_image(SIZE, ALLOCATED, worst_case=True)),
        ('off, as it is', {'state': State.SHUTOFF}, {}, False,
         space.flat_image(SIZE, ALLOCATED, worst_case=False)),
    )
    def test_the_room_is_counted_before(self, facts, asked,
                                        worst_case, needed):
        made = self.plan(_facts(free=needed, **facts), _request(**asked),
                         worst_case_space=worst_case)
        self.assertEqual(needed, made.needed)

        said = self.refusal(
            errors.NotEnoughSpace, _facts(free=needed - units.MiB, **facts),
            _request(**asked), worst_case_space=worst_case)
        self.assertIn('/srv/snapshots', said)
        self.assertIn('1.0 MiB are missing', said)
        self.assertEqual(worst_case, 'worst_case_space' in said)

    def test_it_is_counted_last(self):
        # Who could not take the snapshot anyway is not sent for a disk.
        self.refusal(errors.InstanceBusy, _facts(free=0, job='migration'))


@ddt.ddt
class SentencesTestCase(PlanTestCase):

    @ddt.named_data(
        ('live', {}, {}, {},
         ('live snapshot of guest (', 'which is running',
          'root disk vda: /srv/guests/root.qcow2 (qcow2) on '
          '/srv/guests/base.raw (raw), 10.0 GiB',
          'the guest runs on; the domain is undefined and defined again',
          'its file systems are not frozen', 'image format qcow2',
          'at most 20.0 GiB')),
        ('live, defined and frozen', {}, {'quiesce': 'require'},
         {'live_method': 'copy'},
         ('the domain stays defined',
          'its file systems are frozen for a moment')),
        ('live, frozen if that can be', {}, {'quiesce': 'want'}, {},
         ('frozen for a moment if the guest agent answers',)),
        ('cold and compressed', {'state': State.PAUSED}, {'cold': True},
         {'snapshot_compression': True},
         ('cold snapshot', 'is saved', 'and is paused again before',
          'image format qcow2, compressed')),
        ('off', {'state': State.SHUTOFF}, {}, {},
         ('stopped snapshot', 'which is shut off', 'has no QEMU process')),
        ('with remarks', {'domain': data.domain('vtpm-volatile.live')}, {},
         {}, ('its TPM state would be lost',)),
    )
    def test_the_operator_reads_what_will_happen(self, facts, asked,
                                                 options, sentences):
        made = self.plan(_facts(**facts), _request(**asked), **options)
        said = '\n'.join(made.sentences())
        for sentence in sentences:
            self.assertIn(sentence, said)
