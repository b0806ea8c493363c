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

"""What is copied from the page on deployment tools is read as it is meant.

Each tool reads its lines in a format of its own. A line that is indented in
another way means nothing there, and nova-compute starts with Nova's driver.
"""

import configparser
import re

import ddt
from oslotest import base
import yaml

from tests.lab import place

PAGE = place.CHECKOUT / 'doc/source/install/deployment-tools.rst'
DRIVER = 'nova_snap.LibvirtDriver'
TITLE = re.compile(r'^(.+)\n=+$', re.MULTILINE)
# What is indented below "::".
BLOCK = re.compile(r'::\n\n((?: {4}.*\n|\n)+)')


def _section(title):
    """Return the literal blocks of one section, without their indent."""
    _, *found = TITLE.split(PAGE.read_text())
    text = dict(zip(found[::2], found[1::2], strict=True))[title]
    return [re.sub('^    ', '', block, flags=re.MULTILINE)
            for block in BLOCK.findall(text)]


def _with(title, word):
    """Return the one block of a section that has this word."""
    (block,) = [block for block in _section(title) if word in block]
    return block


def _ini(text):
    read = configparser.ConfigParser(default_section='')
    read.read_string(text)
    return read


@ddt.ddt
class DeploymentToolsTestCase(base.BaseTestCase):

    @ddt.data('Packages of Debian and Ubuntu', 'kolla-ansible', 'RHOSO')
    def test_the_driver_is_set_in_an_ini_file_of(self, title):
        text = _with(title, '\ncompute_driver = ')
        self.assertEqual(DRIVER, _ini(text)['DEFAULT']['compute_driver'])

    @ddt.data(
        ('openstack-ansible', ('nova_nova_conf_overrides',)),
        ('openstack-helm', ('conf', 'nova')),
    )
    @ddt.unpack
    def test_the_driver_is_set_in_a_yaml_file_of(self, title, keys):
        found = yaml.safe_load(_with(title, 'compute_driver: '))
        for key in keys:
            found = found[key]
        self.assertEqual(DRIVER, found['DEFAULT']['compute_driver'])

    def test_openstack_ansible_compiles_the_binding_against_libvirt(self):
        found = yaml.safe_load(_with('openstack-ansible', 'pip_packages'))
        self.assertIn('libvirt-dev', found['nova_devel_distro_packages'])
        (package,) = found['nova_user_pip_packages']
        self.assertTrue(package.startswith('git+'))

    def test_kolla_takes_the_package_for_a_plugin_of_nova_compute(self):
        # :source: kolla/image/kolla_worker.py build_image_list
        found = _ini(_with('kolla-ansible', 'location'))
        (section,) = found.sections()
        self.assertTrue(re.match('nova-compute-plugin-.+', section))
        self.assertEqual('git', found[section]['type'])
