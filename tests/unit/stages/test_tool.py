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

"""What tools/demo, tools/e2e and tools/vfio become."""

import dataclasses
import os

import ddt
import fixtures

from tests.lab import errors
from tests.lab import place
from tests.stages import ground as ground_module
from tests.stages import tool as tool_module
from tests.unit.stages import scene


@ddt.ddt
class PreparedTestCase(scene.StagesTest):

    def setUp(self):
        super().setUp()
        self.prepared = []
        self.taken = []
        self.useFixture(fixtures.MonkeyPatch('tests.stages.tool.TOOLS', {
            name: dataclasses.replace(tool, prepare=self.prepare)
            for name, tool in tool_module.TOOLS.items()}))
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.lock.take',
            lambda *words, ends: self.taken.append((*words, ends))))
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.lock.take_alone',
            lambda *words: self.taken.append(words)))
        self.ground = ground_module.Ground(self.commands)
        self.ground.is_root = True
        self.python = self.lab / 'venv' / 'bin' / 'python'

    def prepare(self, ground):
        self.prepared.append(ground)
        ground.venv('venv').create()

    def words(self, name, *arguments):
        found = tool_module._prepared(name, arguments, self.ground)
        return ' '.join(found)

    @ddt.data(('demo', 'tests.lab.demo'), ('vfio', 'tests.vfio a --keep'),
              ('e2e', 'tests.e2e --eventlet'))
    @ddt.unpack
    def test_it_becomes_the_tool_when_all_is_prepared(self, name, becomes):
        _, *arguments = becomes.split()
        self.assertTrue(self.words(name, *arguments).endswith(
            f'{self.python} -m {becomes}'))
        self.assertEqual([self.ground], self.prepared)
        self.assertEqual((self.lab, place.CHECKOUT, f'tools/{name}', False),
                         self.taken[0])

    @ddt.data(('demo', 'tests.lab down'), ('vfio', 'tests.vfio --down'),
              ('e2e', 'tests.e2e --down'))
    @ddt.unpack
    def test_down_prepares_nothing(self, name, becomes):
        self.ground.venv('venv').create()
        self.assertTrue(self.words(name, '--down').endswith(
            f'{self.python} -m {becomes}'))
        self.assertEqual([], self.prepared)
        self.assertEqual(
            [(self.lab, place.CHECKOUT, f'tools/{name}', True)], self.taken)

    @ddt.data(('bench', 'bench/run'), ('reader', 'bench/reader'))
    @ddt.unpack
    def test_what_measures_is_called_by_another_name(self, name, script):
        self.words(name)
        self.assertEqual(script, self.taken[0][2])

    def test_there_is_one_benchmark(self):
        self.words('bench')
        self.assertIn((self.lab / 'bench.lock', 'bench/run'), self.taken)

    @ddt.data('demo', 'e2e', 'vfio', 'bench')
    def test_nothing_to_end(self, name):
        self.assertEqual('', self.words(name, '--down'))

    def test_the_cloud_is_apart_from_the_machines_mounts(self):
        self.useFixture(fixtures.EnvironmentVariable('NOVA_SNAP_OUTSIDE'))
        self.assertTrue(self.words('e2e').startswith('unshare --mount '))
        self.assertIn('mnt:[', os.environ['NOVA_SNAP_OUTSIDE'])

    def test_there_is_one_cloud_and_one_machine_with_devices(self):
        self.words('e2e')
        self.assertIn((tool_module.CLOUD_LOCK, 'tools/e2e'), self.taken)
        self.words('vfio')
        self.assertIn((self.lab / 'vfio.lock', 'tools/vfio'), self.taken)

    def test_only_root(self):
        self.ground.is_root = False
        self.assertRaises(errors.LabError, self.words, 'demo')
        self.assertEqual([], self.taken)
