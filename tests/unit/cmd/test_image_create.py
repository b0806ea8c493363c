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

import uuid

import ddt

from nova_snap.cmd import main as main_module
from nova_snap import errors
from nova_snap.host import files as files_module
from tests.fakes import libvirtd as fake_libvirtd
from tests.fakes import mirror as fake_mirror
from tests.fakes import node as fake_node
from tests.unit.cmd import scene


class CreateTestCase(scene.CommandTestCase):

    def create(self, *words):
        return self.run_command('image-create', fake_node.NAME, 'nightly',
                                *words)

    def stored(self):
        """Return the one image that Glance has."""
        [image] = self.fake.glance.stored.values()
        return image


@ddt.ddt
class TakeTestCase(CreateTestCase):

    def test_the_operator_reads_what_was_made(self):
        said = self.create()
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        [image_id] = self.fake.glance.stored
        first, second = said.out.splitlines()
        for word in (image_id, 'nightly', 'is active', 'qcow2', 'live in',
                     'as after a power cut'):
            self.assertIn(word, first)
        self.assertRegex(second, r'^sha512 [0-9a-f]{128}$')

    def test_a_guest_that_libvirt_does_not_know_is_refused(self):
        said = self.run_command('image-create', 'another', 'nightly')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        for word in ('No instance another', fake_libvirtd.URI,
                     '"nova-snap list"'):
            self.assertIn(word, said.err)
        self.assertEqual({}, self.fake.glance.stored)

    def test_of_a_guest_that_is_off_no_power_cut_is_told(self):
        self.fake.guest.destroy()
        first, _ = self.create().out.splitlines()
        self.assertIn('stopped in', first)
        self.assertIn('as the guest left them when it was switched off',
                      first)

    def test_a_program_reads_it(self):
        said = self.create('--json')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        found = said.json()
        self.assertEqual({'images', 'method', 'consistency', 'remarks',
                          'seconds'},
                         set(found))
        self.assertEqual(('live', 'none'),
                         (found['method'], found['consistency']))
        [image_id] = self.fake.glance.stored
        self.assertEqual(
            (image_id, 'nightly', 'active', 'qcow2'),
            tuple(found['images'][0][key] for key in (
                'image_id', 'name', 'status', 'disk_format')))
        self.assertEqual(len(self.stored().data), found['images'][0]['size'])

    def test_progress_does_not_come_between(self):
        said = self.create('--json')
        said.json()
        self.assertIn('Uploading to Glance', said.err)

    def test_progress_can_be_hidden(self):
        said = self.run_command('--quiet', 'image-create', fake_node.UUID,
                                'nightly')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual('', said.err)

    @ddt.named_data(
        ['a format', ['--format', 'vdi'], ('disk_format', 'vdi')],
        ['a method', ['--cold'], ('method', 'cold')],
        ['a disk', ['--disk', 'vda'], ('method', 'live')],
        ['a freeze', ['--quiesce', 'require'], ('consistency', 'frozen')],
    )
    def test_what_is_asked_for_is_done(self, words, expected):
        found = self.create('--json', *words).json()
        name, value = expected
        self.assertEqual(value, {**found, **found['images'][0]}[name])

    def test_properties_arrive(self):
        found = self.create('--json', '--property', 'colour=blue',
                            '--property', 'colour=red',
                            '--property', 'size_of=a=b').json()
        properties = found['images'][0]['properties']
        self.assertEqual(('red', 'a=b'),
                         (properties['colour'], properties['size_of']))

    def test_each_image_has_an_id_of_its_own(self):
        ids = {self.create('--json').json()['images'][0]['image_id']
               for _ in range(2)}
        self.assertEqual(2, len(ids))
        for image_id in ids:
            uuid.UUID(image_id)

    def test_no_secret_of_the_guest_is_told_or_sent(self):
        said = self.create('--json')
        self.assertNotIn(fake_node.PASSWORD, said.out + said.err)
        self.assertNotIn(fake_node.PASSWORD,
                         repr((dict(self.stored()), self.stored().data)))

    def test_an_unknown_instance_is_refused(self):
        said = self.run_command('image-create', 'VM1', 'nightly')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('VM1', said.err)
        self.assertEqual({}, self.fake.glance.stored)

    def test_a_disk_that_the_guest_has_not_is_refused(self):
        said = self.create('--disk', 'vdb')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('it has no disk vdb; it has vda', said.err)
        self.assertEqual({}, self.fake.glance.stored)

    @ddt.data((), ('--dry-run',))
    def test_a_name_that_glance_does_not_take_is_refused(self, more):
        process = self.fake.process()
        self.use_node(lambda observer: self.fake_node(observer, process))
        for name in ('', 'x' * 256):
            said = self.run_command('image-create', fake_node.NAME, name,
                                    *more)
            self.assertEqual(main_module.ExitCode.REFUSED, said.code)
            self.assertIn('The name of the image', said.err)
        self.assertEqual([], process.calls.changes())

    @ddt.named_data(
        ['options before', ['--json', '--', fake_node.NAME, '-weird']],
        ['the instance before', [fake_node.NAME, '--json', '--', '-weird']],
    )
    def test_a_name_may_begin_with_a_dash(self, words):
        said = self.run_command('image-create', *words)
        self.assertEqual(main_module.ExitCode.DONE, said.code, said.err)
        self.assertEqual('-weird', said.json()['images'][0]['name'])

    def test_the_help_says_how(self):
        said = self.run_command('image-create', '--help')
        self.assertIn('comes after "--"', ' '.join(said.out.split()))

    def test_one_that_is_busy_is_refused(self):
        locks = self.fake.process().node.locks
        with locks.instance(fake_node.UUID):
            said = self.create()
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('nova-snap status', said.err)

    def test_a_failure_leaves_nothing(self):
        process = self.fake.process()
        process.calls.fail_named('upload', times=None)
        self.use_node(lambda observer: self.fake_node(observer, process))
        said = self.create()
        self.assertEqual(main_module.ExitCode.FAILED, said.code)
        self.assertEqual({}, self.fake.glance.stored)
        self.assertEqual([], self.fake.process().store.ids())
        self.assertTrue(self.fake.guest.isPersistent())


@ddt.ddt
class DryRunTestCase(CreateTestCase):

    def setUp(self):
        super().setUp()
        self.process = self.fake.process()
        self.use_node(
            lambda observer: self.fake_node(observer, self.process))

    @ddt.named_data(
        ['in words', []],
        ['for a program', ['--json']],
    )
    def test_a_dry_run_changes_nothing(self, words):
        said = self.create('--dry-run', *words)
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual([], self.process.calls.changes())
        self.assertEqual({}, self.fake.glance.stored)

    def test_the_operator_reads_the_plan(self):
        said = self.create('--dry-run', '--cold', '--format', 'raw')
        self.assertIn(f'cold snapshot of {fake_node.NAME}', said.out)
        self.assertIn('image format raw', said.out)
        self.assertIn(self.fake.disks[0], said.out)

    def test_a_program_reads_the_plan(self):
        found = self.create('--dry-run', '--json').json()
        disk = found['images'][0]['disk']
        self.assertEqual(
            ('live', 'running', 'vda', fake_node.UUID),
            (found['method'], found['state'], disk['target_dev'],
             found['instance_uuid']))
        self.assertEqual(
            [(self.fake.disks[0], 'qcow2'), (self.fake.disks[1], 'raw')],
            [(layer['path'], layer['format']) for layer in disk['chain']])

    def test_a_record_that_is_left_is_shown(self):
        record = self.leave(self.undefined())
        said = self.create('--dry-run')
        self.assertEqual(main_module.ExitCode.DONE, said.code)
        self.assertEqual(
            f'record {record.id} of a snapshot of it (live) is left: its '
            'owner is dead; "nova-snap recover" settles it',
            said.out.splitlines()[-1])

    def test_with_a_reason_against_it_a_record_is_shown_too(self):
        record = self.leave(self.undefined())
        self.fake.guest.mirrors['vda'] = fake_mirror.FakeMirror(
            self.fake.disks[0],
            f'{self.fake.settings.snapshots_directory}/'
            f'{files_module.SCRATCH_PREFIX}x/delta.qcow2',
            fake_mirror.MirrorLife(), 'qcow2')
        said = self.create('--dry-run')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('a snapshot copies disk vda', said.err)
        self.assertIn(record.id, said.err)

    def test_a_snapshot_that_is_under_way_is_said(self):
        record = self.leave(self.undefined())
        with self.fake.process().node.locks.instance(fake_node.UUID):
            said = self.create('--dry-run')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn(f'is busy: record {record.id} of a snapshot of it '
                      '(live) is under way', said.err)

    def test_a_plan_that_cannot_work_is_refused(self):
        said = self.create('--dry-run', '--cold', '--quiesce', 'require')
        self.assertEqual(main_module.ExitCode.REFUSED, said.code)
        self.assertIn('--quiesce', said.err)


@ddt.ddt
class SignedInTestCase(CreateTestCase):
    """Only what makes an image must be signed in before."""

    def signed_in(self, *words):
        asked = []

        class Runtime(scene.RealRuntime):
            def node(self, *, signed_in):
                asked.append(signed_in)
                raise errors.Refused(reason='enough')

        self.use_runtime(Runtime)
        self.run_command(*words)
        return asked

    @ddt.named_data(
        ['an image', ['image-create', 'VM1', 'n'], True],
        ['a plan', ['image-create', 'VM1', 'n', '--dry-run'], False],
        ['a list', ['list'], False],
        ['a status', ['status'], False],
        ['a recovery', ['recover'], False],
        ['a check', ['check'], False],
    )
    def test_credentials_are_needed_to_make_an_image_alone(
        self, words, needed
    ):
        self.assertEqual([needed], self.signed_in(*words))
