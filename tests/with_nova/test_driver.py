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

"""The driver as nova-compute loads it: by its configured name, from a wheel.

tools/test runs these in its stage nova, in each release of Nova that is
supported. Without Nova they are skipped.
"""

import importlib.metadata
import importlib.util
import unittest

import fixtures
from oslo_config import fixture as config_fixture
from oslotest import base


def _has_nova():
    # The shim alone makes "import nova" succeed.
    try:
        return importlib.util.find_spec('nova.compute') is not None
    except ModuleNotFoundError:
        return False


@unittest.skipUnless(_has_nova(), 'Nova is not installed')
class LoadTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        import nova.conf
        from nova import objects
        import nova.virt.driver
        objects.register_all()
        self.load = nova.virt.driver.load_compute_driver
        conf = nova.conf.CONF
        conf([], project='nova', default_config_files=[],
             default_config_dirs=[])
        self.set = self.useFixture(config_fixture.Config(conf)).config
        self.set(state_path=self.useFixture(fixtures.TempDir()).path)
        self.set(virt_type='qemu', group='libvirt')

    def test_by_its_configured_name(self):
        from nova.virt.libvirt import driver
        loaded = self.load(None, 'nova_snap.LibvirtDriver')
        self.assertIsInstance(loaded, driver.LibvirtDriver)
        self.assertEqual('nova_snap.driver.interface',
                         type(loaded).__module__)
        self.assertEqual('nova_snap.driver.interface',
                         type(loaded).snapshot.__module__)

    def test_a_bad_option_is_named_at_the_start(self):
        from nova_snap import errors
        self.set(instances_path='here')
        error = self.assertRaises(errors.ConfigError, self.load, None,
                                  'nova_snap.LibvirtDriver')
        self.assertIn('[DEFAULT]instances_path', str(error))

    def test_the_shim_is_all_that_lies_with_nova(self):
        files = importlib.metadata.files('nova-snap')
        self.assertEqual(
            ['nova/virt/nova_snap/__init__.py'],
            [str(file) for file in files if file.parts[0] == 'nova'
             and file.suffix == '.py'])

    def test_nova_is_whole(self):
        import nova
        import nova.virt
        self.assertTrue(nova.__file__)
        self.assertTrue(nova.virt.__file__)
