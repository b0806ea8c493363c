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
import re
import signal

import ddt
import fixtures
from oslotest import base

from nova_snap.cmd import main as main_module
from nova_snap import errors
from nova_snap.model import phase as phase_model
from tests.unit.cmd import scene

Phase = phase_model.Phase

ExitCode = main_module.ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@ddt.ddt
class ParserTestCase(base.BaseTestCase):

    def parse(self, *words):
        return main_module.make_parser().parse_args(words)

    def test_an_image_needs_an_instance_and_a_name_alone(self):
        found = self.parse('image-create', 'VM1', 'nightly')
        self.assertEqual(('VM1', 'nightly', False, None, False, None, [],
                          False, False),
                         (found.instance, found.name, found.dry_run,
                          found.format, found.cold, found.quiesce,
                          found.property, found.nova_is_stopped,
                          found.json))

    def test_everything_about_an_image_can_be_said(self):
        found = self.parse(
            'image-create', 'VM1', 'nightly', '--dry-run', '--format',
            'vmdk', '--cold', '--quiesce', 'require', '--property', 'a=b',
            '--property', 'c=d=e', '--property', 'empty=',
            '--nova-is-stopped', '--json')
        self.assertEqual((True, 'vmdk', True, 'require', True, True),
                         (found.dry_run, found.format, found.cold,
                          found.quiesce, found.nova_is_stopped, found.json))
        self.assertEqual({'a': 'b', 'c': 'd=e', 'empty': ''},
                         dict(found.property))

    @ddt.data(*main_module.SUBCOMMANDS)
    def test_each_can_speak_to_a_program(self, word):
        words = {'image-create': ('VM1', 'nightly'),
                 'image-delete': ('an-image',)}.get(word, ())
        self.assertFalse(self.parse(word, *words).json)
        self.assertTrue(self.parse(word, *words, '--json').json)

    def test_config_files_may_be_many_and_keep_their_order(self):
        self.assertEqual(
            [('--config-file', 'a'), ('--config-dir', 'c'),
             ('--config-file', 'b')],
            self.parse('--config-file', 'a', '--config-dir=c',
                       '--config-file', 'b', 'list').config)


@ddt.ddt
class UsageTestCase(scene.CommandTestCase):

    @ddt.named_data(
        ['nothing', [], 'COMMAND'],
        ['a word that is none', ['snapshot'], 'snapshot'],
        ['an image without a name', ['image-create', 'VM1'], 'NAME'],
        ['a format that Glance has not',
         ['image-create', 'VM1', 'n', '--format', 'qcow3'], 'qcow3'],
        ['a freeze of an unknown kind',
         ['image-create', 'VM1', 'n', '--quiesce', 'maybe'], 'maybe'],
        ['a property without a value',
         ['image-create', 'VM1', 'n', '--property', 'colour'], 'colour'],
        ['a property without a name',
         ['image-create', 'VM1', 'n', '--property', '=blue'], '=blue'],
        ['an instance that is no text',
         ['image-create', os.fsdecode(b'VM\xff'), 'n'],
         r"INSTANCE: b'VM\xff' is not valid UTF-8"],
        ['an image that is no text',
         ['image-create', 'VM1', os.fsdecode(b'caf\xe9')],
         r"NAME: b'caf\xe9' is not valid UTF-8"],
        ['a property that is no text',
         ['image-create', 'VM1', 'n', '--property', os.fsdecode(b'a=\xe9')],
         r"--property: b'a=\xe9' is not valid UTF-8"],
    )
    def test_a_wrong_word_is_named(self, words, named):
        said = self.run_command(*words)
        self.assertEqual(ExitCode.USAGE, said.code)
        self.assertIn(named, said.err)
        self.assertEqual('', said.out)

    def test_help_names_each_command_and_each_exit_code(self):
        said = self.run_command('--help')
        self.assertEqual(0, said.code)
        for word in main_module.SUBCOMMANDS:
            self.assertIn(f'  {word} ', said.out)
        told = re.findall(r'^  (\d+)  ', said.out, re.M)
        self.assertEqual(
            [str(int(code)) for code in ExitCode], told
        )

    @ddt.data(*main_module.SUBCOMMANDS)
    def test_each_command_has_a_help_of_its_own(self, word):
        said = self.run_command(word, '--help')
        self.assertEqual(0, said.code)
        self.assertIn(main_module.SUBCOMMANDS[word].help.split()[0], said.out)

    def test_its_version_is_told(self):
        said = self.run_command('--version')
        self.assertEqual(0, said.code)
        self.assertRegex(said.out, r'^\d')


@ddt.ddt
class ExitCodeTestCase(scene.CommandTestCase):

    def fail_with(self, error):
        """Run a command that ends with an error."""
        def fail(_observer):
            raise error

        self.use_node(fail)
        return self.run_command('status')

    @ddt.named_data(
        ['an option that cannot be used', ExitCode.USAGE,
         errors.ConfigError(option='[x]y', reason='is odd')],
        ['an unknown instance', ExitCode.REFUSED,
         errors.InstanceNotFound(instance='VM1', uri='qemu:///x')],
        ['an instance that is busy', ExitCode.REFUSED,
         errors.InstanceBusy(instance='VM1', reason='is saved')],
        ['no room', ExitCode.REFUSED,
         errors.NotEnoughSpace(path='/x', free_bytes=1, needed_bytes=3,
                               reserved_bytes=0, reserve_bytes=0,
                               remedy='Buy a disk')],
        ['a guest that cannot be taken', ExitCode.REFUSED,
         errors.Unsupported(instance='VM1', reason='is a container')],
        ['a libvirt that says no', ExitCode.FAILED,
         errors.HypervisorError(instance='VM1', call='open', reason='no')],
        ['a mirror that is lost', ExitCode.FAILED,
         errors.BlockJobLost(instance='VM1', target_dev='vda',
                             reason='gone')],
        ['a file that cannot be written', ExitCode.FAILED,
         errors.StorageError(reason='full')],
        ['a Glance that is away', ExitCode.FAILED,
         errors.ImageServiceUnavailable(call='create', reason='away')],
        ['a journal that cannot be kept', ExitCode.FAILED,
         errors.JournalError(reason='no directory')],
        ['a hold that was let go late', ExitCode.FAILED,
         errors.UndoFailed(step='MakeScratch', reason='full')],
        ['something that is left', ExitCode.LEFT,
         errors.RollbackIncomplete(reason='no', undone='x', record='r')],
        ['a cancellation', ExitCode.CANCELLED, KeyboardInterrupt()],
    )
    def test_each_failure_ends_with_its_code(self, code, error):
        said = self.fail_with(error)
        self.assertEqual(code, said.code)
        self.assertEqual('', said.out)
        self.assertIn(str(error), said.err)
        self.assertTrue(said.err.startswith('nova-snap: '))
        self.assertNotIn('Traceback', said.err)

    def test_one_who_is_not_root_sees_how_to_be(self):
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 1000))
        self.useFixture(fixtures.MonkeyPatch(
            'sys.argv', ['/opt/bin/nova-snap', 'image-create', 'VM', 'a b']))
        sudo = "sudo /opt/bin/nova-snap image-create VM 'a b'"
        denied = self.fail_with(errors.StorageError(
            reason='/x cannot be read: Permission denied'))
        self.assertIn(sudo, denied.err)
        self.assertNotIn('sudo', self.fail_with(
            errors.StorageError(reason='/x cannot be read: full')).err)

    def test_root_sees_no_sudo(self):
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 0))
        self.assertNotIn('sudo', self.fail_with(errors.StorageError(
            reason='/x: Permission denied')).err)

    def test_success_ends_with_0(self):
        said = self.run_command('status')
        self.assertEqual(ExitCode.DONE, said.code)
        self.assertEqual('', said.err)

    def test_a_fault_of_ours_is_not_hidden(self):
        self.assertRaises(ZeroDivisionError, self.fail_with,
                          ZeroDivisionError())

    @ddt.named_data(
        ['that is not there', None, '--config-file'],
        ['that makes no sense', 'what?\n', '--config-file'],
        ['with a bad value', '[nova_snap]\nbandwidth = much\n',
         '[nova_snap]bandwidth'],
    )
    def test_of_a_nova_conf(self, text, named):
        if text is None:
            self.config.unlink()
        else:
            self.config.write_text(text)
        said = self.run_command('list')
        self.assertEqual(ExitCode.USAGE, said.code)
        self.assertIn(named, said.err)


@ddt.ddt
class CancelTestCase(scene.CommandTestCase):
    """The first signal cancels, a second is ignored."""

    def run_flow(self, flow):
        """Run a command, and this in the place of what it does.

        :param flow: is given the observer
        """
        def make_node(observer):
            flow(observer)
            return self.fake_node(observer)

        self.use_node(make_node)
        return self.run_command('status')

    @ddt.data(*SIGNALS)
    def test_the_first_one_cancels(self, number):
        undone = []

        def flow(_observer):
            try:
                signal.raise_signal(number)
            finally:
                undone.append(True)

        said = self.run_flow(flow)
        self.assertEqual(ExitCode.CANCELLED, said.code)
        self.assertEqual([True], undone)
        self.assertIn('cancelling, the guest is put back', said.err)
        self.assertIn('cancelled; the guest is as it was', said.err)

    @ddt.data(*((first, second) for first in SIGNALS
                for second in SIGNALS))
    @ddt.unpack
    def test_no_other_stops_what_puts_the_guest_back(self, first, second):
        undone = []

        def flow(_observer):
            try:
                signal.raise_signal(first)
            finally:
                signal.raise_signal(second)
                undone.append(True)

        said = self.run_flow(flow)
        self.assertEqual(ExitCode.CANCELLED, said.code)
        self.assertEqual([True], undone)
        self.assertEqual(1, said.err.count('cancelling'))

    @ddt.data(*SIGNALS)
    def test_none_comes_between_after_the_upload(self, number):
        # What comes then cannot be taken back, and is short.
        def flow(observer):
            observer.begins(Phase.UPLOAD)
            observer.advances(1, 1)
            observer.before_commit()
            signal.raise_signal(number)

        said = self.run_flow(flow)
        self.assertEqual(ExitCode.DONE, said.code)
        self.assertNotIn('cancel', said.err)

    @ddt.data(*SIGNALS)
    def test_one_works_until_then(self, number):
        def flow(observer):
            observer.begins(Phase.UPLOAD)
            observer.advances(1, 1)
            signal.raise_signal(number)

        self.assertEqual(ExitCode.CANCELLED,
                         self.run_flow(flow).code)

    def test_what_is_left_is_told_rather_than_the_cancellation(self):
        def flow(_observer):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as exc:
                raise errors.RollbackIncomplete(
                    reason='no', undone='x', record='r') from exc

        self.assertEqual(ExitCode.LEFT, self.run_flow(flow).code)

    @ddt.data(*SIGNALS)
    def test_one_that_comes_afterwards_ends_nothing(self, number):
        # The process is about to end, with the code of what was done.
        self.run_flow(lambda observer: None)
        signal.raise_signal(number)

    @ddt.data(*SIGNALS)
    def test_one_that_the_caller_ignores_stays_ignored(self, number):
        signal.signal(number, signal.SIG_IGN)

        def flow(observer):
            signal.raise_signal(number)
            observer.before_commit()
            signal.raise_signal(number)

        said = self.run_flow(flow)
        self.assertEqual(
            (ExitCode.DONE, ''), (said.code, said.err)
        )
        self.assertEqual(signal.SIG_IGN, signal.getsignal(number))

    @ddt.data(*((first, second) for first in SIGNALS
                for second in SIGNALS if first != second))
    @ddt.unpack
    def test_the_others_cancel_then(self, ignored, number):
        signal.signal(ignored, signal.SIG_IGN)
        went_on = []

        def flow(_observer):
            signal.raise_signal(ignored)
            went_on.append(True)
            signal.raise_signal(number)

        self.assertEqual(
            ExitCode.CANCELLED, self.run_flow(flow).code
        )
        self.assertEqual([True], went_on)
