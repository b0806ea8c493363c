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

"""What a step keeps is what another process needs to build it again."""

import json
import re

import ddt
from oslotest import base

from nova_snap.flows import recovery
from nova_snap.journal import record as record_model
from nova_snap.model import layer as layer_model
from nova_snap.steps import backup as backup_step
from nova_snap.steps import ceph as ceph_step
from nova_snap.steps import checkpoint as checkpoint_step
from nova_snap.steps import freeze as freeze_step
from nova_snap.steps import hostdev as hostdev_step
from nova_snap.steps import image as image_step
from nova_snap.steps import memory as memory_step
from nova_snap.steps import mirror as mirror_step
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import undefine as undefine_step
from nova_snap.steps import volume_snapshot as volume_snapshot_step
from tests.unit import data

SECRET = 'open-sesame'

STEPS = (
    backup_step.StartBackup(
        uuid='u', qemu_id=3, socket='/srv/nova_snap-1/qemu/nbd',
        scratches=[['vda', '/srv/nova_snap-1/scratch-vda.qcow2']],
        was_running=True),
    ceph_step.CloneData(
        conf='/etc/ceph/ceph.conf', user='cinder', pool='images',
        image_id='i', owner='p', size=1 << 30, base='h'),
    ceph_step.CloneDisk(
        conf='/etc/ceph/ceph.conf', user='cinder',
        parent=['vms', 'u_disk', 'nova_snap-i'], pool='images', image_id='i',
        owner='p'),
    ceph_step.MakeData(
        conf='/etc/ceph/ceph.conf', user='cinder', pool='images',
        image_id='i', owner='p', size=1 << 30),
    ceph_step.SnapshotDisk(
        conf='/etc/ceph/ceph.conf', user='cinder', pool='vms', disk='u_disk',
        snapshot='nova_snap-i', clone=['images', 'i']),
    checkpoint_step.KeepBase(
        uuid='u', kept={'version': 1, 'target_dev': 'vda'}, before=None),
    checkpoint_step.TrackChanges(
        uuid='u', target_dev='vda', checkpoint='nova_snap-i',
        base='nova_snap-h', stale=['nova_snap-g']),
    freeze_step.BoundAgentWaits(uuid='u', timeout=60),
    freeze_step.FreezeFilesystems(uuid='u', qemu_id=3, timeout=60),
    hostdev_step.DetachHostdev(uuid='u', qemu_id=3, xml='<hostdev/>',
                          is_defined=True, timeout=60, is_released=True),
    image_step.AdoptImage(image_id='i'),
    image_step.CreateImage(spec={'image_id': 'i', 'properties': {'a': 'b'}}),
    image_step.DiscardImage(image_id='i', owner='p'),
    memory_step.SaveMemory(uuid='u', qemu_id=3, paused=True, timeout=1800),
    memory_step.StartPaused(uuid='u', paused=False, qemu_id=4),
    mirror_step.StartMirror(uuid='u', qemu_id=3, target_dev='vda',
                       path='/srv/nova_snap-1/delta', bandwidth=7,
                       transient_job=False),
    scratch_step.LendDirectory(path='/srv/nova_snap-1/qemu', uid=64055),
    scratch_step.MakeScratch(path='/srv/nova_snap-1'),
    undefine_step.UndefineDomain(
        uuid='u', qemu_id=3,
        root=layer_model.Layer('/srv/root.qcow2', 'qcow2'),
        xml=f"<graphics passwd='{SECRET}'/>", autostart=True,
        snapshots=[['before', SECRET]], checkpoints=[['daily', SECRET]]),
    volume_snapshot_step.CreateVolumeSnapshot(
        volume_id='v', name='snapshot for a', description=None,
        record_id='r', project_id='p', timeout=300, snapshot_id='s'),
)


@ddt.ddt
class FactsTestCase(base.BaseTestCase):

    def test_no_step_is_forgotten(self):
        # One that recovery does not know would be left for ever.
        self.assertEqual(set(recovery.STEPS), {s.kind for s in STEPS})

    @ddt.named_data(*([step.kind, step] for step in STEPS))
    def test_it_is_built_again(self, step):
        facts = json.loads(json.dumps(step.facts()))
        self.assertEqual(step, recovery.STEPS[step.kind].from_facts(facts))

    @ddt.named_data(*([step.kind, step] for step in STEPS))
    def test_it_tells_no_secret_in_a_log(self, step):
        self.assertNotIn(SECRET, repr(step))

    @ddt.data('version-1-live', 'version-1-cold-committed',
              'version-1-volumes')
    def test_what_an_earlier_release_wrote_is_built(self, name):
        record = record_model.Record.from_dict(
            json.loads(data.text('journal', f'{name}.json')), name)
        for entry in record.entries:
            step = recovery.STEPS[entry.kind].from_facts(entry.facts)
            self.assertEqual(entry.facts, step.facts())

    @ddt.named_data(*([step.kind, step] for step in STEPS))
    def test_the_page_about_the_journal_names_it(self, step):
        page = data.document('reference/journal')
        section = page[page.index('The facts of each step'):]
        found = re.search(rf'^``{step.kind}``, an? (\w+)\n((?: .*\n)+)',
                          section, re.M)
        self.assertIsNotNone(found)
        for name in step.facts():
            self.assertIn(f'``{name}``', found[2])

    def test_the_example_of_that_page_is_built(self):
        found = re.search(r'code-block:: json\n\n((?: {3}.*\n)+)',
                          data.document('reference/journal'))
        for entry in json.loads(found[1])['entries']:
            recovery.STEPS[entry['kind']].from_facts(entry['facts'])
