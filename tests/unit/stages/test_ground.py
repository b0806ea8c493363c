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

"""What is made once, and installed for root alone."""

import threading

import fixtures

from tests.lab import errors
from tests.lab import place
from tests.stages import ground as ground_module
from tests.stages import nova
from tests.stages import performance
from tests.stages import stages
from tests.stages import venvs
from tests.unit.stages import scene

PATIENCE = 20


class GroundTest(scene.StagesTest):
    """Nothing is installed; what would be is kept.

    :ivar installed: names of packages
    """

    def setUp(self):
        super().setUp()
        self.installed = []
        self.useFixture(fixtures.MonkeyPatch(
            'tests.stages.packages.install',
            lambda names, _: self.installed.extend(names)))
        self.ground = self.of_user(root=True)

    def of_user(self, *, root):
        ground = ground_module.Ground(self.commands)
        ground.is_root = root
        return ground


class OnceTestCase(GroundTest):

    def test_it_is_made_once(self):
        made = []
        for _ in range(2):
            self.assertIsNone(
                self.ground.once('thing', lambda: made.append('thing')))
        self.assertEqual(['thing'], made)

    def test_several_threads_get_the_same(self):
        both, started, found = threading.Barrier(2), threading.Event(), []

        def make():
            started.set()
            both.wait(PATIENCE)
            return object()

        def ask():
            found.append(self.ground.once('thing', make))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        self.assertTrue(started.wait(PATIENCE))
        both.wait(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(2, len(found))
        self.assertIs(*found)

    def test_a_failure_is_not_tried_again(self):
        tried = []

        def make():
            tried.append('thing')
            raise errors.LabError('no network')

        for _ in range(2):
            failed = self.assertRaises(errors.LabError, self.ground.once,
                                       'thing', make)
            self.assertEqual('no network', str(failed))
        self.assertEqual(['thing'], tried)

    def test_one_failure_of_several_is_not_lost(self):
        made = []

        def fail():
            raise errors.LabError('no network')

        self.assertRaises(errors.LabError, self.ground.all_at_once, fail,
                          lambda: made.append('other'))
        self.assertEqual(['other'], made)


class EnvironmentsTestCase(GroundTest):

    def test_the_linters_need_neither_packages_nor_the_binding(self):
        self.ground.linters()
        self.assertEqual([], self.installed)
        (line,) = self.commands.with_word('install')
        self.assertIn('/lint-requirements.txt', line)
        self.assertIn(' lxml>=', line)
        self.assertNotIn(venvs.BINDING, line)

    def test_what_root_needs_is_installed(self):
        self.ground.product()
        self.assertIn('libvirt-dev', self.installed)
        self.assertNotIn('qemu-system-x86', self.installed)

    def test_for_another_user_nothing_is_installed(self):
        self.of_user(root=False).product()
        self.assertEqual([], self.installed)

    def test_an_environment_is_found_again(self):
        self.ground.product()
        before = list(self.commands.lines)
        self.of_user(root=True).product()
        self.assertEqual(before, self.commands.lines)

    def test_one_of_another_checkout_is_made_anew(self):
        self.ground.product()
        before = len(self.commands.lines)
        self.useFixture(fixtures.MonkeyPatch(
            'tests.lab.place.CHECKOUT', self.copy_of_the_checkout()))
        self.of_user(root=True).product()
        self.assertEqual(2 * before, len(self.commands.lines))

    def copy_of_the_checkout(self):
        """Return a folder with the files that an environment is made of."""
        copy = self.lab / 'checkout'
        copy.mkdir()
        for name in ('requirements.txt', 'test-requirements.txt',
                     'lint-requirements.txt', 'setup.cfg'):
            source = place.CHECKOUT / name
            (copy / name).write_text(source.read_text())
        return copy

    def test_uwsgi_is_built_for_this_python(self):
        self.ground.services()
        first, last = self.commands.with_word('install')
        self.assertNotIn('uwsgi==', first.lower())
        self.assertIn('glance==', first)
        self.assertRegex(last.lower(), r'--no-binary uwsgi uwsgi==[0-9.]+$')


class StageTestCase(GroundTest):
    """What the stages run, on commands that do nothing."""

    def perform(self, name, *, root=True, **facts):
        logs = self.lab / 'test'
        logs.mkdir(exist_ok=True)
        run = performance.Performance(name, logs, self.of_user(root=root),
                                      **facts)
        run.log.write_text('')
        return stages.BY_NAME[name].perform(run)

    def runs(self):
        return [line for line in self.commands.lines if ' -m stestr ' in line]

    def test_a_linter_for_each_command(self):
        self.assertEqual(3, self.perform('lint').passed)
        self.assertEqual(1, len(self.commands.with_word('check')))

    def test_unit_tests_are_those_of_their_folder(self):
        self.perform('unit')
        (line,) = self.runs()
        self.assertIn(' --test-path ./tests/unit ', line)
        self.assertTrue(line.endswith(' run'))

    def test_a_name_goes_to_stestr_as_text(self):
        self.perform('flow', names=('tests.flow.test_live',))
        (line,) = self.runs()
        self.assertIn(r' run ^([^(]*\.)?tests\.flow\.test_live', line)

    def test_the_lab_needs_root(self):
        for name in ('functional', 'nova-libvirt', 'kills', 'volumes'):
            failed = self.assertRaises(errors.LabError, self.perform, name,
                                       root=False)
            self.assertIn('must be run as root', str(failed))
        self.assertEqual([], self.commands.lines)

    def test_all_releases_of_nova(self):
        self.commands.does['wheel'] = self.make_wheel
        self.perform('nova')
        self.assertEqual(
            [f'{self.lab}/nova/{release}/bin/python'
             for release in nova.RELEASES],
            [line.split()[0] for line in self.runs()])

    def test_one_release_of_nova(self):
        self.commands.does['wheel'] = self.make_wheel
        self.perform('nova', releases=('35.0.0',))
        (line,) = self.runs()
        self.assertIn('/nova/35.0.0/bin/python', line)
        self.assertEqual(1, len(self.commands.with_word('nova==35.0.0')))

    def test_an_old_nova_is_held_to_the_libraries_of_its_time(self):
        self.commands.does['wheel'] = self.make_wheel
        self.perform('nova', releases=('26.3.0', '34.0.0'))
        (old,) = self.commands.with_word('nova==26.3.0')
        self.assertIn(
            f'-c {place.CHECKOUT}/tests/stages/constraints-26.txt', old)
        (new,) = self.commands.with_word('nova==34.0.0')
        self.assertNotIn(' -c ', new)

    def test_nova_sees_the_wheel_and_the_tests_alone(self):
        self.commands.does['wheel'] = self.make_wheel
        self.perform('nova-own')
        (wheel,) = self.commands.with_word('--force-reinstall')
        self.assertTrue(wheel.endswith('.whl'))
        self.assertEqual(['tests'], [path.name for path in
                                     (self.lab / 'nova/top').iterdir()])

    def make_wheel(self, argv):
        dist = self.lab / 'nova' / 'wheel' / 'dist'
        dist.mkdir()
        (dist / 'nova_snap-1.0-py3-none-any.whl').touch()
