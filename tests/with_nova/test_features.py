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

"""What a release of Nova has, and what none may lack."""

import ast
import pathlib

import ddt
import fixtures
import nova.conf
from nova import exception
from nova import objects
from nova import test
from nova.virt import driver as virt_driver
from nova.virt.libvirt import driver as libvirt_driver

import nova_snap.driver
from nova_snap.driver import features
from nova_snap.driver import interface
from nova_snap import errors
from tests.with_nova import scene

CONF = nova.conf.CONF
FILES = sorted(pathlib.Path(nova_snap.driver.__file__).parent.glob('*.py'))
# What every Nova has: without these it is none.
EVERYWHERE = {'nova.conf.CONF', 'nova.objects.Instance',
              'nova.objects.MigrationList',
              'nova.virt.libvirt.driver.LibvirtDriver'}
NOVAS_CLASS = 'nova.virt.libvirt.driver.LibvirtDriver'
# CPUs that a guest has for itself: that of the guest, that of the host.
PINNED = {0: 1}


@ddt.ddt
class LoadTestCase(test.NoDBTestCase):

    def test_each_thing_of_novas_that_is_used_is_looked_for(self):
        used = {name for file in FILES for name in novas(file)}
        self.assertEqual(set(), used - EVERYWHERE - set(features.NEEDED))

    def test_each_method_of_novas_that_is_used_is_looked_for(self):
        used = {node.attr for node in ast.walk(ast.parse(
                    pathlib.Path(interface.__file__).read_text()))
                if isinstance(node, ast.Attribute)
                and ast.unparse(node.value) in ('self', 'super()')
                # What every driver of Nova's has is no question.
                and not hasattr(virt_driver.ComputeDriver, node.attr)
                and callable(getattr(libvirt_driver.LibvirtDriver, node.attr,
                                     None))}
        self.assertEqual(
            set(), {f'{NOVAS_CLASS}.{name}' for name in used}
            - set(features.NEEDED))

    @ddt.data(*features.NEEDED)
    def test_a_nova_without_it_is_refused_at_load(self, name):
        with fixtures.MonkeyPatch(name, fixtures.MonkeyPatch.delete):
            exc = self.assertRaises(errors.ConfigError, features.check)
        self.assertIn(name, str(exc))


class CpuTestCase(scene.SceneTestCase):
    """A guest's own CPUs have to be on before it starts."""

    def make_instance(self, **values):
        return super().make_instance(
            numa_topology=objects.InstanceNUMATopology(cells=[
                objects.InstanceNUMACell(
                    id=0, cpuset=set(), pcpuset=set(PINNED), memory=256,
                    cpu_policy='dedicated', cpu_pinning=dict(PINNED))]),
            **values)

    def setUp(self):
        super().setUp()
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        self.flags(cpu_dedicated_set='1-2', group='compute')

    def test_they_are_powered_up_where_nova_has_powered_them_down(self):
        if not hasattr(CONF.libvirt, 'cpu_power_management'):
            self.skipTest('This Nova switches no CPU off')
        self.flags(cpu_power_management=True, group='libvirt')
        on = self.useFixture(fixtures.MockPatch(
            'nova.virt.libvirt.cpu.core.set_online')).mock
        self.snapshot(self.start_driver())
        on.assert_called_once_with(1)
        self.assert_guest_whole()

    def test_a_nova_that_switches_none_off_is_asked_nothing(self):
        if hasattr(CONF.libvirt, 'cpu_power_management'):
            self.skipTest('This Nova switches CPUs off')
        self.assertIsNone(features.power_up(None)(self.instance))
        self.snapshot(self.start_driver())
        self.assert_guest_whole()

    def test_one_that_switches_them_off_in_another_way_is_refused(self):
        if not hasattr(CONF.libvirt, 'cpu_power_management'):
            self.skipTest('This Nova switches no CPU off')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.driver.features._resolve', lambda name: None))
        self.assertRaises(errors.ConfigError, features.power_up, None)


class QuiesceTestCase(scene.SceneTestCase):

    def test_nova_api_knows_the_exception(self):
        """It goes through RPC: one of ours would not arrive as it is."""
        exc = features.quiesce_failed('the agent sleeps')
        self.assertEqual('nova.exception', type(exc).__module__)
        self.assertIn('the agent sleeps', exc.format_message())

    def test_a_nova_without_it_hears_that_it_is_not_supported(self):
        if hasattr(exception, 'InstanceQuiesceFailed'):
            self.useFixture(fixtures.MonkeyPatch(
                'nova.exception.InstanceQuiesceFailed',
                fixtures.MonkeyPatch.delete))
        exc = features.quiesce_failed('the agent sleeps')
        self.assertIs(exception.InstanceQuiesceNotSupported, type(exc))
        self.assertIn('the agent sleeps', exc.format_message())


def novas(file):
    """Name what a file uses of Nova's modules."""
    tree = ast.parse(file.read_text())
    modules = {}
    for node in ast.walk(tree):
        if (isinstance(node, ast.ImportFrom)
                and node.module.split('.')[0] == 'nova'):
            modules |= {name.asname or name.name:
                        f'{node.module}.{name.name}' for name in node.names}
        elif isinstance(node, ast.Import):
            modules |= {name.name: name.name for name in node.names
                        if name.name.startswith('nova.')}
    return {f'{modules[owner]}.{node.attr}' for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and (owner := ast.unparse(node.value)) in modules}
