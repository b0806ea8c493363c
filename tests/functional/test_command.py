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

"""The command as a stranger would use it."""

import json
import os
import pathlib
import pty
import re
import subprocess

import ddt

from nova_snap.cmd import main as main_module
from nova_snap import units
from tests.functional import base
from tests.functional import children
from tests.functional import watch
from tests.lab import place
from tests.lab import proxy

DONE, FAILED, USAGE, REFUSED, LEFT = range(5)

QUIET_LINES = ['Copying the active layer ...', 'Writing the flat image ...',
               'Uploading to Glance ...']
WRITES = ('POST', 'PUT', 'PATCH', 'DELETE')


def tree(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Return all that is in a folder, with mode and time of change."""
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns)
            for path in sorted((folder, *folder.rglob('*')))}


@ddt.ddt
class UsageTestCase(children.ChildTest):

    @ddt.data(
        ((), ('image-create', 'list', 'status', 'recover', 'check',
              'examples:', 'exit codes:', '--config-file', 'OS_CLOUD')),
        (('image-create',), (
            'INSTANCE', 'NAME', '--dry-run', '--format', '--cold',
            '--quiesce', '--property KEY=VALUE', '--nova-is-stopped',
            '--json')),
        (('list',), ('--json',)), (('status',), ('--json',)),
        (('recover',), ('--nova-is-stopped', '--json')),
        (('check',), ('--json',)))
    @ddt.unpack
    def test_the_help_names_each_argument(self, words, says):
        ended = self.child(*words, '--help')
        self.assertEqual(DONE, ended.code)
        for text in says:
            self.assertIn(text, ended.stdout)

    def test_every_exit_code_is_in_the_help(self):
        text = self.child('--help').stdout.partition('exit codes:')[2]
        documented = {int(line.split()[0])
                      for line in text.strip().splitlines()}
        self.assertEqual({int(code) for code in main_module.ExitCode},
                         documented)

    @ddt.data(
        (), ('snapshot',), ('image-create',), ('image-create', 'one'),
        ('image-create', 'one', 'two', '--format', 'iso'),
        ('image-create', 'one', 'two', '--property', 'colour'),
        ('image-create', 'one', 'two', '--property', '=red'),
        ('image-create', 'one', 'two', '--quiesce', 'perhaps'),
        ('status', 'everything'))
    @ddt.unpack
    def test_wrong_arguments(self, *arguments):
        ended = self.child(*arguments)
        self.assertEqual(USAGE, ended.code)
        self.assertIn('usage: nova-snap', ended.stderr)

    def test_bytes_that_are_no_text(self):
        """What a shell in another locale hands over."""
        for words in (('image-create', b'VM\xff', 'image'),
                      ('image-create', 'VM1', b'caf\xe9')):
            ended = self.nova_snap(*words)
            self.assertEqual(USAGE, ended.returncode)
            self.assertIn('is not valid UTF-8', ended.stderr)
            self.assertNotIn('Traceback', ended.stderr)

    def test_the_version_is_a_number(self):
        ended = self.nova_snap('--version')
        self.assertEqual(DONE, ended.returncode)
        self.assertRegex(ended.stdout, r'^\d+\.\d+')


@ddt.ddt
class ImageCreateTestCase(children.ChildTest):
    """A running guest, and what is said of its snapshots."""

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)
        self.before = base.look(self.running)

    def create(self, *arguments, expected=DONE):
        """Run image-create and return what it printed."""
        ended = self.child('image-create', *arguments)
        self.assertEqual(expected, ended.code, ended.stderr)
        return ended

    def new_images(self):
        return [image for image_id, image in self.images().items()
                if image_id not in self._images_before]

    @ddt.data((), ('--json',), ('--cold',), ('--format', 'raw'))
    def test_a_dry_run_changes_nothing(self, arguments):
        between = proxy.Proxy(self.lab.glance.endpoint)
        self.addCleanup(between.stop)
        self.options['nova_snap']['endpoint'] = between.endpoint
        self.write_config()
        files = tree(self.folder)
        with watch.events(self.running) as heard:
            ended = self.create(self.running.spec.name, 'image', '--dry-run',
                                *arguments)
        self.assertEqual([], heard.names)
        files.pop(str(self.folder / 'nova.conf'))
        after = tree(self.folder)
        after.pop(str(self.folder / 'nova.conf'))
        self.assertEqual(files, after)
        self.assertEqual([], [seen for seen in between.seen
                              if seen.method in WRITES])
        self.assertEqual(('end',), ended.events)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left()

    def test_a_dry_run_says_what_would_be_done(self):
        text = self.create(self.running.spec.name, 'image',
                           '--dry-run').stdout
        for words in (
                f'live snapshot of {self.running.spec.name} '
                f'({self.running.spec.uuid}), which is running',
                str(self.running.spec.disk.path), 'the guest runs on',
                'image format qcow2', 'are written to snapshots_directory'):
            self.assertIn(words, text)

    def test_a_dry_run_for_a_program(self):
        plan = json.loads(self.create(
            self.running.spec.name, 'image', '--dry-run', '--json',
            '--cold').stdout)
        self.assertEqual(
            ('cold', 'running', 'qcow2', self.running.spec.uuid),
            (plan['method'], plan['state'], plan['images'][0]['image_format'],
             plan['instance_uuid']))

    def test_a_dry_run_needs_no_credentials(self):
        del self.options['nova_snap']
        self.create(self.running.spec.name, 'image', '--dry-run')

    def test_options_and_a_result_for_a_program(self):
        ended = self.create(
            self.running.spec.uuid, 'for a program', '--format', 'raw',
            '--property', 'colour=red', '--property', 'equation=a=b',
            '--json')
        said = json.loads(ended.stdout)
        (image,) = self.new_images()
        self.assertEqual(
            (image['id'], 'for a program', 'raw', 'active', 'live', 'none'),
            (said['images'][0]['image_id'], said['images'][0]['name'],
             said['images'][0]['disk_format'], said['images'][0]['status'],
             said['method'], said['consistency']))
        self.assertEqual(('red', 'a=b', 'raw', said['images'][0]['size']),
                         (image['colour'], image['equation'],
                          image['disk_format'], image['size']))
        self.assertGreater(said['seconds'], 0)
        self.assert_guest_untouched(self.running, self.before)
        self.assert_nothing_left(image['id'])

    def test_quiet_lines_off_a_terminal(self):
        ended = self.nova_snap('image-create', self.running.spec.name,
                               'image')
        self.assertEqual(DONE, ended.returncode)
        self.assertEqual(QUIET_LINES, ended.stderr.splitlines())
        self.assertNotIn('\r', ended.stderr)
        (image,) = self.new_images()
        first, second = ended.stdout.splitlines()
        self.assertRegex(first, rf'^Image {image["id"]} \(image\) is active: '
                                r'qcow2, [\d.]+ MiB, live in [\d.]+ s, '
                                'file systems as after a power cut$')
        self.assertEqual(
            f'{image["os_hash_algo"]} {image["os_hash_value"]}', second)

    def test_cold_and_no_lines_at_all(self):
        ended = self.child('--quiet', 'image-create', self.running.spec.name,
                           'image', '--cold')
        self.assertEqual((DONE, ''), (ended.code, ended.stderr))
        self.assertIn(', cold in ', ended.stdout)
        self.assert_guest_untouched(self.running, self.before,
                                    same_process=False)
        self.assertNotEqual(self.before.qemu_id,
                            base.look(self.running).qemu_id)

    def test_verbose_says_what_is_done_to_the_guest(self):
        ended = self.child('--verbose', 'image-create',
                           self.running.spec.name, 'image', '--cold')
        self.assertEqual(DONE, ended.code, ended.stderr)
        for words in ('starts (cold)', ' saved for ', ' done in '):
            self.assertIn(words, ended.stderr)

    def test_a_bar_on_a_terminal(self):
        master, slave = pty.openpty()
        with subprocess.Popen(
                [*self.nova_snap_line(), 'image-create',
                 self.running.spec.name, 'image'],
                env=base.operators_environment(),
                stdin=subprocess.DEVNULL, stdout=slave,
                stderr=slave) as process:
            os.close(slave)
            text = read_all(master)
        self.assertEqual(DONE, process.returncode, text)
        for line in QUIET_LINES:
            self.assertRegex(text, r'\r' + line.removesuffix(' ...')
                             + r' +\[#+\] 100% of [\d.]+ [KM]iB')

    def test_a_umask_that_lets_no_other_user_in(self):
        """QEMU enters the default snapshots_directory all the same."""
        instances = place.make_dir(self.folder / 'instances')
        self.options['DEFAULT']['instances_path'] = str(instances)
        del self.options['libvirt']['snapshots_directory']
        for name in ('first', 'second'):
            done = subprocess.run(
                [*self.nova_snap_line(), 'image-create',
                 self.running.spec.name, name],
                env=base.operators_environment(), umask=0o077,
                capture_output=True, text=True)
            self.assertEqual(DONE, done.returncode, done.stderr)
        (snapshots,) = instances.iterdir()
        self.assertEqual([], list(snapshots.iterdir()))
        self.assert_guest_untouched(self.running, self.before)

    def test_what_cannot_be_put_back_is_said_and_kept(self):
        between = proxy.Proxy(self.lab.glance.endpoint)
        self.addCleanup(between.stop)
        self.options['nova_snap']['endpoint'] = between.endpoint
        self.options['glance'] = {'num_retries': '0'}
        for method, path in (('PUT', proxy.FILE), ('DELETE', proxy.IMAGE)):
            between.inject(proxy.Fault(method, path, nth=None, status=503))
        ended = self.create(self.running.spec.name, 'image', expected=LEFT)
        (left,) = json.loads(self.child('status', '--json').stdout)
        for words in ('not cleaned up', 'CreateImage', left['record'],
                      '"nova-snap recover"'):
            self.assertIn(words, ended.stderr.splitlines()[-1])
        self.assert_guest_untouched(self.running, self.before)
        self.assertEqual(LEFT, self.child('recover').code)
        between.clear()
        self.assertEqual(DONE, self.child('recover').code)
        self.assert_nothing_left()


def read_all(descriptor):
    """Return what was written to a terminal until its last end closed."""
    pieces = []
    try:
        while piece := os.read(descriptor, base.CHUNK):
            pieces.append(piece)
    except OSError:
        # EIO: no process has it open any more.
        pass
    finally:
        os.close(descriptor)
    return b''.join(pieces).decode()


@ddt.ddt
class LookingTestCase(children.ChildTest):
    """list, status, recover and check."""

    def setUp(self):
        super().setUp()
        self.running = self.guest(shared=True)

    def test_each_instance_is_listed_with_its_plan(self):
        off = self.guest(boot=False)
        with self.lab.libvirtd.connection() as connection:
            connection.defineXML(re.sub(r"<disk type='file'.*?</disk>", '',
                                        off.xml, flags=re.DOTALL))
        ended = self.child('list')
        self.assertEqual(DONE, ended.code, ended.stderr)
        lines = {line.split()[0]: line for line in ended.stdout.splitlines()}
        self.assertEqual(['UUID', 'NAME', 'STATE', 'SNAPSHOT'],
                         lines['UUID'].split())
        self.assertRegex(
            lines[self.running.spec.uuid],
            rf'{self.running.spec.name} +running +live, vda as qcow2$')
        self.assertRegex(lines[off.spec.uuid],
                         'shut off +no: .* it has no disk$')
        rows = {row['uuid']: row
                for row in json.loads(self.child('list', '--json').stdout)}
        self.assertEqual(
            {'uuid': self.running.spec.uuid, 'name': self.running.spec.name,
             'state': 'running', 'snapshot': 'live, vda as qcow2'},
            rows[self.running.spec.uuid])

    @ddt.data(('raw', True), ('raw', False), ('qcow2', False))
    @ddt.unpack
    def test_a_part_of_a_file_is_refused(self, kind, runs):
        """It is no disk for qemu-img, which knows nothing of slices."""
        guest = self.guest(kind, boot=False)
        source = f'<source file="{guest.spec.disk.path}"'
        self.assertIn(f'{source}/>', guest.xml)
        with self.lab.libvirtd.connection() as connection:
            connection.defineXML(guest.xml.replace(f'{source}/>', (
                f'{source}><slices><slice type="storage" offset="0" '
                f'size="{units.MiB}"/></slices></source>')))
        if runs:
            guest.start()
        else:
            # Whatever its format is, it begins elsewhere.
            guest.spec.disk.path.write_bytes(bytes(units.MiB))
        for words in ((), ('--dry-run',)):
            ended = self.child('image-create', guest.spec.name, 'image',
                               *words)
            self.assertEqual(REFUSED, ended.code, ended.stderr)
            self.assertIn('is a part of a file or device (<slices>)',
                          ended.stderr)
        self.assert_nothing_left()

    def test_status_and_recover_of_nothing(self):
        self.write_config()
        files = tree(self.folder / 'state')
        for arguments, says in (
                (('status',), 'Nothing is under way and nothing was left\n'),
                (('status', '--json'), '[]\n'),
                (('recover',), 'Nothing was left\n'),
                (('recover', '--json'), '[]\n')):
            ended = self.child(*arguments)
            self.assertEqual((DONE, says), (ended.code, ended.stdout))
        self.assertEqual(files, tree(self.folder / 'state'))

    def test_status_and_recover_of_a_killed_snapshot(self):
        before = base.look(self.running)
        self.options['nova_snap']['bandwidth'] = str(base.CHUNK)
        with self.start_nova_snap('image-create', self.running.spec.name,
                                  'killed') as process:
            self.assertIn('Copying', process.stderr.readline())
            process.kill()
        ended = self.nova_snap('status')
        self.assertEqual(DONE, ended.returncode, ended.stderr)
        for words in ('RECORD', self.running.spec.name, 'live "killed"',
                      'left', '"nova-snap recover" settles it'):
            self.assertIn(words, ended.stdout)
        self.assertNotIn('<domain', self.nova_snap('status',
                                                   '--json').stdout)
        ended = self.nova_snap('recover')
        self.assertEqual(DONE, ended.returncode, ended.stderr)
        self.assertIn('rolled back: the guest is as it was', ended.stdout)
        self.assert_guest_untouched(self.running, before)
        self.assert_nothing_left()

    def test_a_node_that_is_ready(self):
        ended = self.child('check')
        self.assertEqual(DONE, ended.code, ended.stdout + ended.stderr)
        for line in ended.stdout.splitlines():
            self.assertTrue(line.startswith('ok '), line)
        for words in ('qemu-img', 'libvirt ', 'QEMU ', ' free', 'journal',
                      'Glance answers'):
            self.assertIn(words, ended.stdout)
        findings = json.loads(self.child('check', '--json').stdout)
        self.assertEqual([True] * len(findings),
                         [finding['ready'] for finding in findings])

    def test_a_node_that_is_not_ready(self):
        self.options['libvirt']['snapshots_directory'] = str(
            self.folder / 'missing')
        self.options['nova_snap']['endpoint'] = 'http://127.0.0.1:1'
        ended = self.child('check')
        self.assertEqual(REFUSED, ended.code)
        bad = [line for line in ended.stdout.splitlines()
               if line.startswith('NO ')]
        self.assertEqual(2, len(bad), ended.stdout)
        self.assertIn('snapshots_directory', bad[0])
        self.assertIn('Glance does not answer', bad[1])
        self.assertIn('2 of ', ended.stderr)
