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

"""Glance refuses a raw image of a disk for its first bytes.

The guest writes a boot flag into its partition table that is none.
"""

import json
import re
import shlex

import libvirt

from tests.functional import agent
from tests.functional import base
from tests.functional import watch
from tests.lab import proof

SECTOR = 512
# The last entry of the partition table.
FLAG = 446 + 3 * 16
ODD = 'entry 4 of it has the odd boot flag 0x41'
MADE_IN_QCOW2 = f'{ODD}): the image is made in qcow2'


class FirstBytesTest(base.FunctionalTest):

    def setUp(self):
        super().setUp()
        self.odd = self.guest('raw', agent='run')

    def write_sector(self):
        """Let the guest write it, and wait until it is on its disk."""
        with open(self.odd.spec.disk.path, 'rb') as disk:
            sector = bytearray(disk.read(SECTOR))
        sector[FLAG] = 0x41
        agent.execute(self.odd, '/bin/dd', 'of=/dev/vda', f'bs={SECTOR}',
                      'conv=notrunc,fsync', stdin=bytes(sector))

    def assert_in_qcow2(self, image_id):
        self.assertEqual('qcow2', self.image(image_id)['disk_format'])
        path = self.download(image_id)
        proof.assert_sound(path, 'qcow2')
        return path

    def test_the_command_makes_it_in_qcow2_and_says_so(self):
        self.write_sector()
        self.assertIn(MADE_IN_QCOW2, self.nova_snap(
            'image-create', self.odd.spec.name, 'odd', '--dry-run').stdout)
        ended = self.nova_snap('image-create', self.odd.spec.name, 'odd',
                               '--json')
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertEqual(1, ended.stderr.count(MADE_IN_QCOW2))
        said = json.loads(ended.stdout)
        self.assertIn(MADE_IN_QCOW2, ' '.join(said['remarks']))
        self.assert_in_qcow2(said['images'][0]['image_id'])

    def test_written_after_the_plan_it_is_seen_all_the_same(self):
        instant = watch.Instant(self.odd)

        def abort(call, *args):
            self.write_sector()
            return instant(call, *args)

        result = self.take(self.odd, base.Hooks({'block_device.abort': abort}))
        self.assertIn(MADE_IN_QCOW2, ' '.join(result.plan.remarks))
        instant.check(self.assert_in_qcow2(result.images[0].image_id),
                      'qcow2')

    def test_raw_by_name_the_cure_is_said_before_and_helps(self):
        """Of a guest that is off, too."""
        self.write_sector()
        self.odd.domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)
        line = ['image-create', self.odd.spec.name, 'odd', '--format', 'raw']
        ended = self.nova_snap(*line)
        self.assertEqual(1, ended.returncode, ended.stderr)
        warned, _, failed = ended.stderr.partition('Writing the flat image')
        self.assertIn(ODD, warned)
        self.assertIn('415', failed)
        self.assert_nothing_left()
        cure = re.search('"nova-snap (.*)"', failed)
        ended = self.nova_snap(*shlex.split(cure[1]), '--json')
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assert_in_qcow2(
            json.loads(ended.stdout)['images'][0]['image_id'])
