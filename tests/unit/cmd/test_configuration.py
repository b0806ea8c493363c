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

import argparse
import os
import pathlib

import ddt
import fixtures
from oslotest import base

from nova_snap.cmd import configuration as configuration_module
from nova_snap.conf import files as conf_files
from nova_snap import errors
from tests.unit.cmd import scene

NOVA_COMPUTE = '/usr/bin/nova-compute'


@ddt.ddt
class RunningNovaComputeTestCase(base.BaseTestCase):
    """The files of the nova-compute that runs here."""

    def setUp(self):
        super().setUp()
        self.folder, self.proc, home = (
            pathlib.Path(self.useFixture(fixtures.TempDir()).path)
            for _ in range(3))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.processes.PROC', self.proc))
        self.useFixture(fixtures.EnvironmentVariable('HOME', str(home)))
        self.home = home
        self.a = self.write(self.folder / 'a.conf', 'a')
        self.b = self.write(self.folder / 'b.conf', 'b')

    @staticmethod
    def write(path, host):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'[DEFAULT]\nhost = {host}\n')
        return str(path)

    @staticmethod
    def read(*named):
        return configuration_module.read(
            argparse.Namespace(config=list(named)))

    def start(self, *arguments, pid=4711, **where):
        scene.start(self.proc, pid, '/usr/bin/python3', NOVA_COMPUTE,
                    *arguments, **where)

    @ddt.named_data(
        ['one word', ['--config-file={a}', '--config-file={b}']],
        ['two words', ['--config-file', '{a}', '--config-file', '{b}']],
        ['other options between', ['--debug', '--config-file', '{a}',
                                   '--log-file', 'x', '--config-file={b}']],
        ['paths that begin where it was started',
         ['--config-file', 'a.conf', '--config-file=b.conf']],
    )
    def test_its_arguments_are_read_in_their_order(self, words):
        self.start(*(word.format(a=self.a, b=self.b) for word in words),
                   directory=self.folder)
        found = self.read()
        self.assertEqual([self.a, self.b], found.files)
        self.assertEqual('b', found.conf.host)
        self.assertIn('PID 4711', found.whose)

    def test_a_title_has_its_arguments_too(self):
        scene.start(self.proc, 1, 'nova-compute: master process '
                    f'[{NOVA_COMPUTE} --config-file {self.a}]')
        scene.start(self.proc, 2, 'nova-compute: ServiceWrapper worker(0)')
        self.assertEqual([self.a], self.read().files)

    def test_a_directory_is_read_where_it_stands(self):
        more = self.write(self.folder / 'd' / 'z.conf', 'z')
        self.write(self.folder / 'd' / 'y.conf', 'y')
        self.write(self.folder / 'd' / 'README', 'no')
        self.start('--config-file', self.a, '--config-dir',
                   os.path.dirname(more))
        found = self.read()
        self.assertEqual('z', found.conf.host)
        self.assertEqual(['a.conf', 'y.conf', 'z.conf'],
                         [os.path.basename(path) for path in found.files])

    def test_a_directory_before_a_file_does_not_win(self):
        more = self.write(self.folder / 'd' / 'z.conf', 'z')
        self.start('--config-dir', os.path.dirname(more),
                   '--config-file', self.a)
        self.assertEqual('a', self.read().conf.host)

    def test_without_arguments_both_usual_files_are_read(self):
        usual = self.home / '.nova'
        nova = self.write(usual / 'nova.conf', 'a')
        compute = self.write(usual / 'nova-compute.conf', 'b')
        drop_in = self.write(usual / 'nova-compute.conf.d' / 'c.conf', 'c')
        self.start()
        found = self.read()
        self.assertEqual([nova, compute, drop_in], found.files)
        self.assertEqual('c', found.conf.host)

    def test_where_none_runs_the_usual_files_are_read(self):
        compute = self.write(self.home / '.nova' / 'nova-compute.conf', 'b')
        self.assertIn(compute, self.read().files)

    def test_nova_snap_conf_comes_last(self):
        own = self.write(self.home / '.nova' / 'nova-snap.conf', 'own')
        self.start('--config-file', self.a)
        self.assertEqual([self.a, own], self.read().files)

    def test_a_file_that_the_operator_names_comes_instead(self):
        self.write(self.home / '.nova' / 'nova-snap.conf', 'own')
        self.start('--config-file', self.a)
        found = self.read(conf_files.Named(conf_files.FILE, self.b))
        self.assertEqual([self.b], found.files)
        self.assertIn('command line', found.whose)

    def test_the_files_of_one_in_a_container_are_not_ours(self):
        own = self.write(self.home / '.nova' / 'nova.conf', 'own')
        self.start('--config-file', self.a, root=self.folder)
        found = self.read()
        self.assertEqual(4711, found.away)
        self.assertIn(own, found.files)
        self.assertNotIn(self.a, found.files)

    def test_one_here_is_not_away(self):
        self.start('--config-file', self.a)
        self.start('--config-file', self.b, pid=1, root=self.folder)
        found = self.read()
        self.assertIsNone(found.away)
        self.assertEqual([self.a], found.files)

    def test_files_that_the_operator_names_are_those_of_one_away(self):
        self.start(root=self.folder)
        found = self.read(conf_files.Named(conf_files.FILE, self.b))
        self.assertIsNone(found.away)

    def test_two_with_the_same_files_are_one(self):
        self.start('--config-file', self.a, pid=1)
        self.start(f'--config-file={self.a}', pid=2)
        self.assertEqual([self.a], self.read().files)

    def test_two_with_different_files_are_refused(self):
        self.start('--config-file', self.a, pid=1)
        self.start('--config-file', self.b, pid=2)
        error = self.assertRaises(errors.ConfigError, self.read)
        self.assertIn(f'--config-file {self.b}', str(error))

    @ddt.named_data(
        ['another file', lambda path: os.chown(path, 4242, 4242)],
        ['a file that others write', lambda path: os.chmod(path, 0o666)],
        ['a directory', lambda path: os.chown(
            os.path.dirname(path), 4242, 4242)],
    )
    def test_root_does_not_do_what_another_user_names_in(self, give):
        if os.geteuid() != 0:
            self.skipTest('only root can give files away')
        give(self.a)
        self.start('--config-file', self.a)
        self.assertEqual([self.a], self.read().files)
        self.start('--config-file', self.a, pid=4712, uid=4242)
        error = self.assertRaises(errors.ConfigError, self.read)
        self.assertIn(f'"nova-snap --config-file {self.a} check"', str(error))
        self.read(conf_files.Named(conf_files.FILE, self.a))

    def test_nor_what_one_names_that_does_not_say_whose_it_is(self):
        os.chmod(self.a, 0o666)
        self.start('--config-file', self.a, uid=None)
        if os.geteuid() == 0:
            self.assertRaises(errors.ConfigError, self.read)

    def test_a_file_of_roots_that_another_user_names_is_read(self):
        self.start('--config-file', self.a, uid=4242)
        self.assertEqual([self.a], self.read().files)

    def test_a_file_of_novas_below_etc_is_read(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.cmd.configuration.CONFIGURATION',
            f'{self.folder}/'))
        os.chmod(self.a, 0o666)
        self.start('--config-file', self.a, uid=4242)
        self.assertEqual([self.a], self.read().files)

    def test_its_file_that_is_gone_is_named(self):
        os.remove(self.a)
        self.start('--config-file', self.a)
        self.assertIn(self.a, str(self.assertRaises(
            errors.ConfigError, self.read)))
