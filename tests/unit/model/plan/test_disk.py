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
from tests.unit import data
from tests.unit.model.plan import scene

Method = plan_model.Method
State = domain_model.State


@ddt.ddt
class UnsupportedTestCase(scene.PlanTestCase):

    @ddt.named_data(
        ('a container', 'lxc.live', (), 'container'),
        ('a guest without a disk', 'no-disk.live', (), 'it has no disk'),
        ('a volume of a pool', 'pool-volume.live', (), 'type volume'),
        (
            'a disk without a source',
            'disk-without-source.inactive',
            (),
            'sda has no source',
        ),
        (
            'an encrypted disk',
            'encrypted-source.live',
            (dataclasses.replace(scene.ROOT, format='raw'),),
            'is encrypted',
        ),
        ('a part of a file', 'sliced-root.live', (scene.BASE,), '(<slices>)'),
        ('a part of a file below', 'sliced-backing.live', (), '(<slices>)'),
        (
            'a disk without a named format',
            'driver-without-format.live',
            (),
            'is not named in its XML',
        ),
        (
            'a layer without a named format',
            'raw-root.live',
            (scene.ROOT, layer_model.Layer('/srv/old', '')),
            'of the backing file /srv/old is not named',
        ),
        (
            'a layer of a format that is not read',
            'raw-root.live',
            (scene.ROOT, scene.BASE, layer_model.Layer('/srv/x', 'vmdk')),
            'of the backing file /srv/x is vmdk',
        ),
        (
            'a layer on another host',
            'network-backing.live',
            (
                scene.ROOT,
                layer_model.Layer(
                    '/etc/passwd', 'raw', storage=layer_model.Storage.OTHER
                ),
            ),
            'given by a network address',
        ),
    )
    def test_it_is_refused_by_name(self, guest, chain, words):
        said = self.refusal(
            errors.Unsupported, scene.facts(guest, chain=chain)
        )
        self.assertIn(words, said)
        self.assertIn('guest', said)

    @ddt.named_data(
        ('in another format', {'driver_format': 'qcow2'}, 'qcow2 in Ceph'),
        ('of a snapshot', {'ceph_snapshot': 'snap'}, 'the snapshot snap of'),
        ('in a namespace', {'source_path': 'vms/ns/disk'}, 'vms/ns/disk'),
    )
    def test_a_disk_in_ceph_that_is_not_read(self, about, words):
        guest = data.domain('network-disk.live')
        said = self.refusal(errors.Unsupported, scene.facts(
            dataclasses.replace(guest, drives=(dataclasses.replace(
                guest.drives[0], **about),)), chain=()))
        self.assertIn('its root disk vda', said)
        self.assertIn(words, said)

    @ddt.data(State.RUNNING, State.SHUTOFF)
    def test_a_transient_disk_is_refused(self, state):
        guest = data.domain('agent-connected.live')
        [disk, *others] = guest.drives
        said = self.refusal(errors.Unsupported, scene.facts(
            dataclasses.replace(guest, drives=(dataclasses.replace(
                disk, is_transient=True), *others)), state=state))
        self.assertIn('its root disk vda is transient', said)

    @ddt.named_data(
        ('shareable', {'is_shareable': True}, 'is shareable'),
        ('a LUN', {'device': 'lun'}, 'is a LUN'),
    )
    def test_one_whose_writes_qemu_does_not_see_is_not_taken_live(
            self, about, words):
        guest = data.domain('agent-connected.live')
        guest = dataclasses.replace(guest, drives=(dataclasses.replace(
            guest.drives[0], **about),))
        facts = scene.facts(guest, libvirt_version=(7, 2, 0))
        for method in ('rebase', 'copy', 'backup', 'auto'):
            said = self.refusal(errors.Unsupported, facts,
                                live_method=method)
            self.assertIn(f'its disk vda {words}', said)
            self.assertIn('--cold', said)
        for asked, state in ((True, State.RUNNING), (False, State.SHUTOFF)):
            self.plan(dataclasses.replace(facts, state=state),
                      scene.request(cold=asked))

    def test_a_node_of_containers_is_refused(self):
        said = self.refusal(errors.Unsupported, scene.facts(), virt_type='lxc')
        self.assertIn('container', said)

    @ddt.named_data(
        ('as Nova 34 was seen to write it',
         data.nova34_domain('volume-backed.live')),
        ('as its sources have it', scene.novas_guest(state_of_root='volume')),
        ('without a serial number, as a LUN has none', dataclasses.replace(
            data.nova34_domain('volume-backed.live'),
            drives=data.domain('lun-root.live').disks)),
        ('known by its serial number alone', dataclasses.replace(
            data.nova34_domain('volume-backed.live'), nova=scene.novas_guest()
            .nova)),
    )
    def test_a_volume_is_refused(self, guest):
        said = self.refusal(errors.Unsupported, scene.facts(guest))
        self.assertIn('Cinder volume', said)
        self.assertIn(f'"openstack server image create {guest.uuid}"', said)

    @ddt.named_data(
        ('an image', scene.novas_guest()),
        ('a volume', data.nova34_domain('volume-backed.live')),
    )
    def test_a_guest_in_rescue_is_refused(self, guest):
        said = self.refusal(errors.Unsupported, scene.facts(
            dataclasses.replace(guest, is_rescued=True)))
        self.assertIn('unrescue it first', said)
        self.assertIn(f'"openstack server unrescue {guest.uuid}"', said)
        self.assertNotIn('image create', said)

    @ddt.named_data(
        ('of Nova 34', scene.novas_guest()),
        ('of a Nova that wrote nothing of the image',
         data.domain('nova-metadata-1.0.live')),
        ('of one that wrote nothing of the root disk',
         data.domain('nova-metadata-odd.live')),
        ('of others with a serial number', dataclasses.replace(
            data.nova34_domain('volume-backed.live'), nova=None)),
    )
    def test_a_disk_of_an_image_is_not_taken_for_a_volume(self, guest):
        self.assertEqual(Method.LIVE, self.plan(scene.facts(guest)).method)
