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

import os
import pathlib
import subprocess
import venv as builder

import ddt
import fixtures

from nova_snap.cmd import check
from nova_snap.cmd import configuration as configuration_module
from nova_snap.cmd import main as main_module
from nova_snap import errors
from nova_snap.host import python as python_module
from nova_snap.services import signed_out
from tests.fakes.ceph import cluster as fake_cluster
from tests.fakes.ceph import disks as fake_disks
from tests.unit.cmd import scene
from tests.unit.host import program


@ddt.ddt
class CheckTestCase(scene.CommandTestCase):

    def setUp(self):
        super().setUp()
        self.more = []
        # The scene is in memory.
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.file_systems.PASSING_FILE_SYSTEMS',
            frozenset(('overlay',))))
        for tool in check.TOOLS:
            self.useFixture(program.Program(tool))

    def findings(self):
        """Run it and return what it says: words by whether they are good."""
        said = self.run_command(*self.more, 'check', '--json')
        found = {True: [], False: []}
        for finding in said.json():
            found[finding['ready']].append(finding['says'])
        self.assertEqual(main_module.ExitCode.REFUSED if found[False]
                         else main_module.ExitCode.DONE, said.code)
        return found

    def no(self):
        """Return the one thing that is not ready."""
        [words] = self.findings()[False]
        return words

    def test_a_node_that_is_ready(self):
        said = self.run_command('check')
        self.assertEqual(main_module.ExitCode.DONE, said.code, said.out)
        for line in said.out.splitlines():
            self.assertTrue(line.startswith('ok  '), line)
        for word in ('qemu-img', 'libvirt 9.0.0', 'snapshots_directory',
                     'local disk', 'Glance answers'):
            self.assertIn(word, said.out)

    def test_a_node_that_is_not(self):
        self.fake.snapshots.rmdir()
        said = self.run_command('check')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('NO   ', said.out)
        self.assertIn('1 of 12 checks say no', said.err)

    def test_images_that_are_written_into_ceph(self):
        self.fake.ceph = self.fake.glance.ceph = fake_disks.ImagesCluster()
        self.fake.set(deliver='rbd', rbd_glance_pool='images')
        self.assertTrue(any('written into pool images of Ceph' in words
                            for words in self.findings()[True]))
        self.fake.ceph.is_down = True
        self.assertIn('no monitor answers', self.no())

    def test_nova_compute_may_not_be_told_the_pool(self):
        self.ceph()
        self.fake.set(deliver='rbd')
        self.fake.nova_compute_runs = True
        self.assertIn('if [nova_snap]rbd_glance_pool = images',
                      self.says_of_delivery())
        self.fake.set(rbd_glance_pool='images')
        self.assertNotIn('only if', self.says_of_delivery())

    def says_of_delivery(self):
        [words] = [words for words in self.findings()[True]
                   if 'written into pool images' in words]
        return words

    def ceph(self):
        """Have a user of Ceph, which Glance is on, too."""
        self.fake.ceph = fake_cluster.FakeCluster('vms', 'images')
        self.fake.ceph.has_bindings = True
        self.fake.set(rbd_user='nova')
        self.fake.glance.stores = [{
            'id': 'ceph', 'type': 'rbd', 'default': 'true', 'properties': {
                'pool': 'images', 'fsid': fake_cluster.FSID}}]

    def says_of_ceph(self, *, good=True):
        [words] = [words for words in self.findings()[good]
                   if 'rbd_user' in words or 'client.nova' in words]
        return words

    def test_of_ceph_it_is_said_where_images_go(self):
        self.assertIn('rbd_user', self.says_of_ceph())
        self.ceph()
        self.assertIn('cloned into pool images', self.says_of_ceph())

    def test_of_ceph_it_is_said_where_images_are_sent(self):
        self.ceph()
        self.fake.glance.stores = None
        self.assertIn('read and sent', self.says_of_ceph())

    def test_a_ceph_that_is_down_is_said(self):
        self.ceph()
        self.fake.ceph.is_down = True
        self.assertIn('no monitor answers', self.says_of_ceph(good=False))

    def test_a_pool_that_cannot_be_written_is_said(self):
        self.ceph()
        self.fake.ceph.read_only = {'images'}
        self.assertIn('profile rbd pool=images',
                      self.says_of_ceph(good=False))

    def says_of_the_stop(self, limit, unit='nova-compute.service'):
        """Return what is said where systemd has a limit for a unit."""
        self.useFixture(program.Program('systemctl', (
            f'case "$*" in *TimeoutStopUSec*{unit}) echo "{limit}";; '
            f'*LoadState*{unit}) echo loaded;; *) exit 1;; esac\n')))
        [words] = [words for words in self.findings()[True]
                   if 'systemd' in words]
        return words

    def test_a_limit_of_systemd_that_is_too_short_is_said_with_the_cure(self):
        words = self.says_of_the_stop('15s')
        self.assertIn('kills nova-compute.service 15 s after', words)
        self.assertIn('within 10 s', words)
        folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'unit.d')
        cure = words.partition('are enough: ')[2].replace(
            '/etc/systemd/system/nova-compute.service.d', str(folder))
        # What is after the second command needs systemd.
        subprocess.run(['sh', '-c', ' && '.join(cure.split(' && ')[:2])],
                       check=True)
        self.assertEqual('[Service]\nTimeoutStopSec=25\n',
                         (folder / 'nova_snap.conf').read_text())
        self.assertTrue(cure.endswith(
            'systemctl daemon-reload && systemctl restart '
            'nova-compute.service'), cure)

    @ddt.data(('25s', 'that is enough'), ('1min 30s', 'kills nova-compute'
              '.service 90 s after'), ('infinity', 'sets no limit'))
    @ddt.unpack
    def test_a_limit_of_systemd_that_is_enough(self, limit, says):
        words = self.says_of_the_stop(limit)
        self.assertIn(says, words)
        self.assertNotIn('daemon-reload', words)

    def test_the_unit_is_that_of_the_nova_compute_that_runs(self):
        scene.start(self.proc, 7, '/usr/bin/python3', '/usr/bin/nova-compute')
        (self.proc / '7' / 'cgroup').write_text(
            '0::/system.slice/theirs.service\n')
        self.assertIn('kills theirs.service 15 s after',
                      self.says_of_the_stop('15s', 'theirs.service'))

    def test_without_a_unit_nothing_is_said_of_a_limit(self):
        self.assertIn('no service of systemd runs nova-compute here',
                      self.says_of_the_stop('15s', 'other.service'))

    def test_one_thing_is_said_once(self):
        absent = errors.ConfigError(option='auth_type', reason='none')
        self.use_node(lambda observer: self.fake_node(
            observer, images=signed_out.SignedOut(absent),
            volumes=signed_out.SignedOutOfCinder(absent)))
        self.assertEqual(str(absent), self.no())

    @ddt.data(*check.TOOLS)
    def test_a_tool_that_is_missing_is_named_with_its_package(self, tool):
        # Nothing but the other tools is on this PATH.
        others = [name for name in check.TOOLS if name != tool]
        folder = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.EnvironmentVariable('PATH', folder))
        for name in others:
            self.useFixture(program.Program(name))
        words = self.no()
        self.assertIn(f'{tool} is not there', words)
        self.assertIn(check.TOOLS[tool], words)

    def test_what_a_stream_needs_is_looked_for_where_there_is_one(self):
        folder = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.EnvironmentVariable('PATH', folder))
        for name in check.TOOLS:
            self.useFixture(program.Program(name))
        self.assertEqual([], self.findings()[False])
        self.fake.set(upload='stream')
        self.assertIn('qemu-utils', self.no())

    def test_a_libvirt_that_is_too_old(self):
        self.fake.libvirtd.version = 7_010_000
        words = self.no()
        self.assertIn('libvirt is 7.10.0', words)
        self.assertIn('8.0.0', words)

    def test_a_snapshots_directory_that_is_missing(self):
        self.fake.snapshots.rmdir()
        self.assertIn(f'install -d -m 0755 {self.fake.snapshots}',
                      self.no())

    def test_a_node_with_records_left_is_not_ready(self):
        self.leave(self.undefined())
        words = self.no()
        self.assertIn('left records, 1 in all', words)
        self.assertIn('nova-snap status', words)

    def test_what_is_under_way_is_no_fault(self):
        self.leave(self.undefined())
        locks = self.fake.process().node.locks
        with locks.instance(self.fake.guest.UUIDString()):
            self.assertEqual([], self.findings()[False])

    def test_without_credentials_it_cannot_sign_in(self):
        reason = errors.ConfigError(option='[nova_snap]auth_type',
                                    reason='is not set')
        self.use_node(lambda observer: self.fake_node(
            observer, images=signed_out.SignedOut(reason)))
        self.assertIn('[nova_snap]auth_type', self.no())

    def test_cinder_is_asked_as_well(self):
        self.assertIn('Cinder answers and takes our credentials',
                      self.findings()[True])
        self.fake.cinder.refuses = True
        self.assertIn('Cinder refuses', self.no())

    def test_a_cloud_without_cinder_is_no_fault(self):
        process = self.fake.process()
        process.world.volumes.check = self.absent
        self.use_node(lambda observer: self.fake_node(observer, process))
        said = ' '.join(self.findings()[True])
        self.assertIn('Volume-backed instances are not snapshotted', said)

    @staticmethod
    def absent():
        raise errors.VolumeServiceAbsent(call='find', status=None,
                                         reason='there is no catalog')

    def test_a_nova_that_runs_is_told(self):
        self.fake.nova_compute_runs = True
        said = ' '.join(self.findings()[True])
        self.assertIn('a nova-compute runs here', said)

    def test_a_container_does_not_know_whether_a_nova_runs(self):
        self.fake.nova_compute_runs = True
        scene.see(self.proc, 'pid:[4026532281]')
        said = ' '.join(self.findings()[True])
        self.assertIn('whether a nova-compute runs on this host is not known',
                      said)
        self.assertNotIn('a nova-compute runs here', said)

    def test_a_container_knows_its_own_nova(self):
        self.fake.nova_compute_runs = True
        scene.see(self.proc, 'pid:[4026532281]')
        scene.start(self.proc, 7, 'nova-compute')
        self.assertIn('a nova-compute runs here',
                      ' '.join(self.findings()[True]))

    def test_a_journal_that_goes_with_its_container_is_not_ready(self):
        table = self.fake.folder / 'mountinfo'
        table.write_text('36 35 98:0 / / rw - overlay overlay rw\n')
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.file_systems.MOUNTS', table))
        words = self.no()
        self.assertIn('overlay', words)
        self.assertIn('[nova_snap]journal_dir', words)

    def test_a_nova_in_a_container_whose_files_are_not_read(self):
        found = configuration_module.Configuration(
            None, [], 'as it would', away=4711)
        error = self.assertRaises(errors.Refused, check._configuration, found)
        self.assertIn('PID 4711', str(error))
        self.assertIn('Run this command in that container', str(error))

    def options(self, name, text):
        """Write a file of options, which is read after those before it."""
        path = self.fake.folder / name
        path.write_text(text)
        self.more.extend(('--config-file', str(path)))
        return path

    def ask_for_our_driver(self):
        return self.options('ours.conf', '[DEFAULT]\n'
                            'compute_driver = nova_snap.LibvirtDriver\n')

    def nova(self, *names):
        """Make a Python with packages of these names, and a nova-compute.

        :returns: where they lie
        """
        venv = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        builder.EnvBuilder(symlinks=True).create(venv)
        [folder] = venv.glob('lib/python3*/site-packages')
        for name in names:
            path = folder.joinpath(*name.split('.'), '__init__.py')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('')
        script = venv / 'bin' / 'nova-compute'
        script.write_text(f'#!{venv}/bin/python3\n')
        script.chmod(0o755)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', f'{venv}/bin:{os.environ["PATH"]}'))
        self.python = venv / 'bin' / 'python3'
        return folder

    @ddt.named_data(
        ['one that is not there', [], 'there is no Nova for'],
        # As the package of our driver leaves it where there is no Nova.
        ['a name alone', ['nova.virt.nova_snap'], 'there is no Nova for'],
        ['one without our driver', ['nova', 'nova.compute', 'nova.virt'],
         'does not find the driver, nor need it'],
        ['one with our driver', ['nova', 'nova.compute', 'nova.virt',
                                 'nova.virt.nova_snap'],
         'finds the driver, and its configuration does not ask for it'],
    )
    def test_the_nova_that_would_be_started(self, names, words):
        self.nova(*names)
        self.assertIn(words, ' '.join(self.findings()[True]))

    def test_the_nova_that_runs_comes_first(self):
        folder = self.nova('nova', 'nova.compute', 'nova.virt')
        running = str(self.python)
        self.nova()
        scene.start(self.proc, 4711, running, '/usr/bin/nova-compute')
        self.assertIn(f'the Nova in {folder}/nova does not find',
                      ' '.join(self.findings()[True]))

    def test_the_driver_that_nova_conf_asks_for(self):
        folder = self.nova('nova', 'nova.compute', 'nova.virt',
                           'nova.virt.nova_snap')
        path = self.ask_for_our_driver()
        self.assertIn(
            f'compute_driver is nova_snap.LibvirtDriver, set last in {path}: '
            f'ours; the Nova in {folder}/nova finds the driver',
            self.findings()[True])

    def test_a_driver_of_nova_is_said_to_be_not_ours(self):
        path = self.options('nova-compute.conf', '[DEFAULT]\n'
                            'compute_driver = libvirt.LibvirtDriver\n')
        self.assertIn(
            'compute_driver is libvirt.LibvirtDriver, set last in '
            f'{path}: not ours', ' '.join(self.findings()[True]))

    def test_a_driver_that_a_later_file_takes_away_is_not_ready(self):
        ours = self.ask_for_our_driver()
        later = self.options('nova-compute.conf', '[DEFAULT]\n'
                             'compute_driver = libvirt.LibvirtDriver\n')
        words = self.no()
        self.assertIn(f'compute_driver in {ours} is nova_snap.', words)
        self.assertIn(f'Set compute_driver in {later}', words)

    def test_a_file_without_the_driver_takes_none_away(self):
        self.nova('nova', 'nova.compute', 'nova.virt', 'nova.virt.nova_snap')
        self.ask_for_our_driver()
        self.options('later.conf', '[libvirt]\nvirt_type = qemu\n')
        self.assertEqual([], self.findings()[False])

    def test_what_is_read_is_told_with_what_it_says_of_libvirt(self):
        first = self.options('first.conf', '[libvirt]\nvirt_type = kvm\n'
                             'snapshot_compression = true\n')
        last = self.options('last.conf', '[libvirt]\nvirt_type = qemu\n')
        self.assertIn(
            f'options are read from {self.config}, {first}, {last}, as the '
            'command line says; [libvirt] has snapshot_compression from '
            f'{first}, virt_type from {last}', self.findings()[True])

    @ddt.named_data(
        ['a virtual environment', 'site-packages', False,
         '{python} -m pip install --no-deps .'],
        ['packages of Debian', 'dist-packages', True,
         'DEB_PYTHON_INSTALL_LAYOUT=deb {python} -m pip install --no-deps '
         '--break-system-packages .'],
        ['a checkout of Nova', 'opt', False,
         '{python} -m pip install --no-deps . && cp -r nova/virt/nova_snap '
         '/usr/lib/opt/nova/virt'],
        ['packages of an older Debian', 'dist-packages', False,
         'DEB_PYTHON_INSTALL_LAYOUT=deb {python} -m pip install --no-deps .'],
    )
    def test_a_driver_that_is_missing_has_its_line(
            self, folder, is_managed, line):
        self.nova()
        self.ask_for_our_driver()
        nova = f'/usr/lib/{folder}/nova'
        self.useFixture(fixtures.MockPatch(
            'nova_snap.host.python.ask', return_value=python_module.Found(
                nova=nova, has_shim=False, is_managed=is_managed)))
        words = self.no()
        self.assertIn(f'there is no /usr/lib/{folder}/nova/virt/nova_snap/'
                      '__init__.py', words)
        self.assertTrue(words.endswith(
            f'run: {line.format(python=self.python)}'), words)

    def test_a_driver_that_landed_elsewhere(self):
        folder = self.nova('nova', 'nova.compute', 'nova.virt')
        self.ask_for_our_driver()
        elsewhere = self.fake.folder / 'shim.py'
        elsewhere.touch()
        self.useFixture(fixtures.MockPatch(
            'importlib.metadata.distribution')
        ).mock.return_value.locate_file.return_value = elsewhere
        words = self.no()
        self.assertIn(f'the Nova in {folder}/nova does not find it', words)
        self.assertIn(f'it lies at {elsewhere}. In a checkout', words)
        self.assertTrue(words.endswith(
            f'run: {self.python} -m pip install --no-deps .'), words)

    def test_root_asks_the_python_of_another_user_as_that_user(self):
        if os.geteuid() != 0:
            self.skipTest('only root can be another user')
        # Also what it would do with it is another user's.
        self.useFixture(fixtures.EnvironmentVariable('OS_PASSWORD', 'secret'))
        self.nova()
        said = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'said')
        said.touch()
        # All lie in one folder, which is the test's alone.
        for path in (said, said.parent, said.parents[1],
                     self.python.parents[1]):
            path.chmod(0o777)
        self.python.unlink()
        self.python.write_text(f'#!/bin/sh\n(id; env) > {said}\n')
        self.python.chmod(0o755)
        scene.start(self.proc, 4711, str(self.python),
                    '/usr/bin/nova-compute', uid=4242)
        self.findings()
        self.assertIn('uid=4242 gid=4242 groups=4242', said.read_text())
        self.assertNotIn('secret', said.read_text())

    def test_nor_does_it_ask_one_that_does_not_say_whose_it_is(self):
        self.nova()
        said = pathlib.Path(self.useFixture(fixtures.TempDir()).path, 'said')
        evil = said.with_name('python3')
        evil.write_text(f'#!/bin/sh\ntouch {said}\n')
        evil.chmod(0o755)
        scene.start(self.proc, 4711, str(evil), '/usr/bin/nova-compute',
                    uid=None)
        self.findings()
        self.assertFalse(said.exists())

    def test_a_nova_that_cannot_be_found(self):
        self.nova()
        self.ask_for_our_driver()
        self.assertIn('in the environment, or the container, of nova-compute',
                      ' '.join(self.findings()[True]))
