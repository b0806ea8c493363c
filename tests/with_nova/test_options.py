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

"""Our copies of Nova's options, compared with Nova's own.

Nova is not needed for our tests; without it these are skipped. tools/test
runs them in a real Nova in its stage nova.
"""

import importlib
import importlib.metadata
import importlib.util
import os

import ddt
from oslotest import base

from nova_snap import conf as conf_module

# Where a default is a place of this machine, the two are compared by how
# they are found, in a test of their own.
_PLACES = ('pybasedir',)

# What of an option its user can tell.
_FACTS = ('name', 'dest', 'type', 'default', 'sample_default', 'secret',
          'required', 'positional', 'metavar', 'mutable', 'advanced',
          'deprecated_for_removal', 'deprecated_since', 'deprecated_opts')


# Options that an earlier release of Nova has not, as "group.name".
SINCE = {'libvirt.images_cpu_time_limit': 34,
         'libvirt.images_address_space_limit': 34}

# Options that took fewer values before a release of Nova.
WIDER_SINCE = {'cinder.catalog_info': 28}


def _has_nova():
    # An empty namespace package called nova is not Nova.
    try:
        return importlib.util.find_spec('nova.compute') is not None
    except ModuleNotFoundError:
        return False


_NOVA_RELEASE = (int(importlib.metadata.version('nova').split('.')[0])
                 if _has_nova() else 0)


def _copies():
    """List what we have of Nova's options, as (group, option)."""
    return [(module.GROUP.name if module.GROUP else 'DEFAULT', opt)
            for module in conf_module.NOVA_MODULES for opt in module.OPTS]


def _names():
    """Name those that this release of Nova has, or all where none is."""
    names = [f'{group}.{opt.dest}' for group, opt in _copies()]
    return [name for name in names
            if not _NOVA_RELEASE or SINCE.get(name, 0) <= _NOVA_RELEASE]


def _facts(opt):
    facts = {name: getattr(opt, name) for name in _FACTS
             if name != 'default' or opt.dest not in _PLACES}
    # Two types are equal in oslo.config when their bounds and choices are;
    # the texts that go with choices are not compared there.
    facts['choices'] = getattr(opt.type, 'choices', None)
    facts['deprecated_opts'] = [(old.group, old.name)
                                for old in opt.deprecated_opts]
    return facts


@ddt.ddt
class LikeNovaTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        if not _has_nova():
            self.skipTest('nova is not installed here: "tools/test '
                          'nova" compares with a real one')
        # Nova's options are registered when its package is imported.
        self.nova = importlib.import_module('nova.conf').CONF
        # Nova's own tests register more of them, which is refused once they
        # were parsed.
        self.addCleanup(self.nova.reset)

    def option_of_nova(self, group, name):
        opts = (self.nova._opts if group == 'DEFAULT'
                else self.nova._groups[group]._opts)
        self.assertIn(name, opts, f'Nova has no [{group}]{name}')
        return opts[name]['opt']

    @ddt.data(*_names())
    def test_it_is_an_option_of_nova(self, name):
        group, dest = name.split('.')
        [ours] = [opt for of, opt in _copies()
                  if (of, opt.dest) == (group, dest)]
        theirs = _facts(self.option_of_nova(group, dest))
        if WIDER_SINCE.get(name, 0) > _NOVA_RELEASE:
            theirs['type'] = ours.type
        self.assertEqual(theirs, _facts(ours))

    def test_the_base_directory_is_beside_the_package_in_both(self):
        for package, path in (
                ('nova', self.nova.pybasedir),
                ('nova_snap', conf_module.paths.OPTS[0].default)):
            file = importlib.util.find_spec(package).origin
            self.assertEqual(os.path.dirname(os.path.dirname(file)), path)

    def test_ours_can_be_registered_beside_nova(self):
        conf_module.register_own(self.nova)
        self.nova([], project='nova', default_config_files=[],
                  default_config_dirs=[])
        self.assertEqual('rebase', self.nova.nova_snap.live_method)

    def test_settings_can_be_read_from_nova(self):
        conf_module.register_beside_nova(self.nova)
        self.nova([], project='nova', default_config_files=[],
                  default_config_dirs=[])
        self.nova.set_override('state_path', '/var/lib/nova')
        self.addCleanup(self.nova.clear_override, 'state_path')
        found = conf_module.settings(self.nova)
        self.assertEqual('/var/lib/nova/instances/snapshots',
                         found.snapshots_directory)
        self.assertTrue(found.snapshots_directory_is_default)
