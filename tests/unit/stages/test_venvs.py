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

"""Virtual environments, and libvirt's binding in them."""

import importlib.util
import pathlib

import ddt
import fixtures

from tests.lab import errors
from tests.stages import venvs
from tests.unit.stages import scene

find_spec = importlib.util.find_spec


@ddt.ddt
class VenvTestCase(scene.StagesTest):

    def setUp(self):
        super().setUp()
        self.venv = venvs.Venv(self.lab / 'venv', self.commands)

    def without(self, *modules):
        """Let Python have no such modules."""
        self.useFixture(fixtures.MonkeyPatch(
            'importlib.util.find_spec',
            lambda name: None if name in modules else find_spec(name)))

    def test_it_is_current_as_long_as_its_stamp_is_the_same(self):
        self.assertFalse(self.venv.is_current('one'))
        self.venv.create()
        self.assertFalse(self.venv.is_current('one'))
        self.venv.finish('one')
        self.assertTrue(self.venv.is_current('one'))
        self.assertFalse(self.venv.is_current('two'))

    def test_it_is_not_current_without_its_python(self):
        self.venv.create()
        self.venv.finish('one')
        pathlib.Path(self.venv.program('python')).unlink()
        self.assertFalse(self.venv.is_current('one'))

    def test_stamps_of_several_kinds(self):
        self.venv.create()
        self.venv.finish('one')
        self.venv.finish('two', 'wheel')
        self.assertTrue(self.venv.is_current('one'))
        self.assertTrue(self.venv.is_current('two', 'wheel'))

    def test_pip_comes_with_ensurepip(self):
        self.venv.create()
        (line,) = self.commands.lines
        self.assertTrue(line.endswith(f'-m venv --clear {self.lab}/venv'))

    def test_without_ensurepip_pip_puts_itself_in(self):
        self.without('ensurepip')
        self.venv.create()
        made, filled = self.commands.lines
        self.assertIn(' --without-pip ', made)
        self.assertTrue(filled.endswith(
            f'-m pip --python {self.lab}/venv/bin/python install -q pip'))

    def test_without_both_it_says_what_to_install(self):
        self.without('ensurepip', 'pip')
        failed = self.assertRaises(errors.LabError, self.venv.create)
        self.assertIn('apt-get install python3-venv', str(failed))
        self.assertEqual([], self.commands.lines)

    def test_pip_that_fails(self):
        self.commands.fails.add('no-such-package')
        self.commands.does['no-such-package'] = lambda _: 'No distribution'
        failed = self.assertRaises(errors.LabError, self.venv.pip,
                                   'no-such-package')
        for words in (f'see {self.lab}/venv.log', 'No distribution'):
            self.assertIn(words, str(failed))


@ddt.ddt
class BindingTestCase(scene.StagesTest):

    NAMES = ('libvirt.py', 'libvirt_qemu.py', 'libvirtmod.cpython.so',
             'libvirt_python-9.0.0.egg-info')

    def setUp(self):
        super().setUp()
        self.packages = self.lab / 'dist-packages'
        self.packages.mkdir()
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.venvs.DIST_PACKAGES', self.packages))
        self.venv = venvs.Venv(self.lab / 'venv', self.commands)
        self.venv.create()

    def install(self):
        """Install the distribution's binding, among other packages."""
        for name in (*self.NAMES, 'apt.py'):
            (self.packages / name).touch()

    def linked(self):
        return {path.name for path in self.venv.site_packages.iterdir()}

    def test_the_distributions_is_taken(self):
        self.install()
        self.venv.add_binding(own=False)
        self.assertEqual(set(self.NAMES), self.linked())
        self.assertEqual([], self.commands.with_word('install'))

    def test_root_compiles_it(self):
        self.install()
        self.venv.add_binding(own=True)
        self.assertEqual(set(), self.linked())
        (line,) = self.commands.with_word('install')
        self.assertRegex(line, r' libvirt-python>=[0-9.]+$')

    def test_where_there_is_none_it_is_compiled(self):
        self.venv.add_binding(own=False)
        self.assertEqual(1, len(self.commands.with_word('install')))

    def test_one_of_another_python_is_of_no_use(self):
        self.install()
        self.commands.fails.add('import libvirt_qemu')
        self.venv.add_binding(own=False)
        self.assertEqual(set(), self.linked())
        self.assertEqual(1, len(self.commands.with_word('install')))

    @ddt.data(True, False)
    def test_where_it_cannot_be_had_it_says_what_to_install(self, own):
        self.commands.fails.add('install')
        failed = self.assertRaises(errors.LabError, self.venv.add_binding,
                                   own=own)
        for words in ('apt-get install python3-libvirt', 'libvirt-dev',
                      f'{self.lab}/venv.log'):
            self.assertIn(words, str(failed))


class RequirementsTestCase(scene.StagesTest):

    def test_without_comments(self):
        lines = venvs.requirements()
        self.assertEqual(1, len([line for line in lines
                                 if line.startswith(venvs.BINDING)]))
        self.assertEqual([], [line for line in lines if '#' in line])

    def test_another_file_has_another_digest(self):
        self.assertNotEqual(venvs.digest('setup.cfg'),
                            venvs.digest('setup.py'))
        self.assertNotEqual(venvs.digest('setup.cfg', 'setup.py'),
                            venvs.digest('setup.py'))
