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

"""DevStack's plugin, with stand-ins for DevStack's functions."""

import pathlib
import subprocess

import ddt
import fixtures
from oslotest import base

PLUGIN = pathlib.Path(__file__).parents[3] / 'devstack'

# DevStack's functions, which say what they were called with. iniset is of the
# same arguments: file, section, option, value.
# :source: devstack functions-common, inc/python, inc/ini-config
STAND_INS = """
set -o errexit -o nounset
function is_service_enabled { [[ " $ENABLED " == *" $1 "* ]]; }
function echo_summary { :; }
function setup_install { echo "setup_install $*"; }
function iniset { echo "iniset $*"; }
source "$PLUGIN/settings"
source "$PLUGIN/plugin.sh" "$@"
"""


@ddt.ddt
class PluginTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.dest = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.virt = self.dest / 'nova' / 'nova' / 'virt'
        self.virt.mkdir(parents=True)
        self.conf = self.dest / 'nova.conf'
        self.cpu_conf = self.dest / 'nova-cpu.conf'
        self.conf.touch()
        self.environ = {
            'PATH': '/usr/bin:/bin', 'DEST': str(self.dest),
            'PLUGIN': str(PLUGIN), 'ENABLED': 'n-api n-cpu',
            'NOVA_DIR': str(self.dest / 'nova'),
            'NOVA_CONF': str(self.conf),
            'NOVA_CPU_CONF': str(self.cpu_conf)}
        self.shim = self.virt / 'nova_snap'

    def run_plugin(self, *words):
        """Source it as stack.sh does; return what it called."""
        return subprocess.run(
            ['bash', '-c', STAND_INS, 'stack.sh', *words], check=True,
            env=self.environ, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT).stdout.splitlines()

    def test_it_is_installed_with_its_shim_in_the_checkout_of_nova(self):
        self.assertEqual([f'setup_install {self.dest}/nova_snap'],
                         self.run_plugin('stack', 'install'))
        self.assertEqual(f'{self.dest}/nova_snap/nova/virt/nova_snap',
                         str(self.shim.readlink()))

    def test_it_may_be_installed_twice(self):
        self.run_plugin('stack', 'install')
        self.run_plugin('stack', 'install')
        self.assertEqual(['nova_snap'],
                         [path.name for path in self.virt.iterdir()])

    def test_the_driver_is_set_in_the_file_that_is_there(self):
        self.assertEqual(
            [f'iniset {self.conf} DEFAULT compute_driver '
             'nova_snap.LibvirtDriver'],
            self.run_plugin('stack', 'post-config'))

    def test_the_driver_is_set_in_the_file_of_nova_compute_too(self):
        self.cpu_conf.touch()
        self.assertEqual(
            [f'iniset {file} DEFAULT compute_driver nova_snap.LibvirtDriver'
             for file in (self.conf, self.cpu_conf)],
            self.run_plugin('stack', 'post-config'))

    def test_a_devstack_without_a_file_for_nova_compute_will_do(self):
        del self.environ['NOVA_CPU_CONF']
        self.assertEqual(1, len(self.run_plugin('stack', 'post-config')))

    def test_local_conf_may_name_another_driver(self):
        self.environ['NOVA_SNAP_COMPUTE_DRIVER'] = 'libvirt.LibvirtDriver'
        [call] = self.run_plugin('stack', 'post-config')
        self.assertIn('libvirt.LibvirtDriver', call)

    def test_clean_takes_the_shim_away(self):
        self.run_plugin('stack', 'install')
        self.run_plugin('clean')
        self.assertFalse(self.shim.is_symlink())
        self.run_plugin('clean')

    @ddt.data(('stack', 'pre-install'), ('stack', 'extra'), ('unstack',))
    def test_other_phases_do_nothing(self, words):
        self.assertEqual([], self.run_plugin(*words))
        self.assertFalse(self.shim.is_symlink())

    @ddt.data(('stack', 'install'), ('stack', 'post-config'), ('clean',))
    def test_where_no_nova_compute_is_it_does_nothing(self, words):
        self.environ['ENABLED'] = 'n-api'
        self.assertEqual([], self.run_plugin(*words))
        self.assertFalse(self.shim.is_symlink())
