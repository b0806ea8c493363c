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

import pathlib

import ddt
import fixtures
from oslotest import base

from nova_snap.host import processes


@ddt.ddt
class NovaComputeTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.proc = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.host.processes.PROC', self.proc))
        self.see(processes.PIDS_OF_HOST)

    def see(self, pids):
        """Be in this PID namespace."""
        link = self.proc / 'self' / 'ns' / 'pid'
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(pids)

    def start(self, pid, *words):
        (self.proc / pid).mkdir()
        (self.proc / pid / 'cmdline').write_bytes(
            b''.join(word.encode() + b'\0' for word in words))

    @ddt.named_data(
        ['of a distribution', ['/usr/bin/python3', '/usr/bin/nova-compute',
                               '--config-file', '/etc/nova/nova.conf']],
        ['with options of the interpreter',
         ['/usr/bin/python3.11', '-s', '-B', '/usr/bin/nova-compute']],
        ['with an option that has a value',
         ['python3', '-W', 'ignore', '/usr/bin/nova-compute']],
        ['with options in one word', ['python3', '-sBXdev', '-Wignore',
                                      '/usr/bin/nova-compute']],
        ['with options in one word and a value in the next',
         ['python3', '-sX', 'dev', '/usr/bin/nova-compute', '-m', 'x']],
        ['with a long option',
         ['python3', '--check-hash-based-pycs', 'never',
          '/usr/bin/nova-compute']],
        ['as a module', ['python3', '-m', 'nova.cmd.compute', '--debug']],
        ['as a module, in one word', ['python3', '-Bmnova.cmd.compute']],
        ['of a platform', ['/usr/libexec/platform-python',
                           '/usr/bin/nova-compute']],
        ['in a virtual environment',
         ['/opt/kolla/venv/bin/python', '/opt/kolla/venv/bin/nova-compute']],
        ['without its directory', ['python3', 'nova-compute']],
        ['as a program of its own', ['/usr/bin/nova-compute']],
        ['that gave itself a title',
         ['nova-compute: master process [/usr/bin/nova-compute --debug]']],
        ['that is the child of one with a title',
         ['nova-compute: ServiceWrapper worker(0)']],
    )
    def test_one_runs(self, words):
        self.start('1', '/sbin/init')
        self.start('4711', *words)
        self.assertTrue(processes.nova_compute_runs())

    @ddt.named_data(
        ['nothing', []],
        ['a kernel thread, which has no words', ['']],
        ['another service of Nova', ['/usr/bin/python3',
                                     '/usr/bin/nova-scheduler']],
        ['who asks for it', ['systemctl', 'stop', 'nova-compute']],
        ['who looks for it', ['pgrep', '-f', 'nova-compute']],
        ['who reads its log', ['less', '/var/log/nova/nova-compute.log']],
        ['a program with it as an argument',
         ['/usr/bin/python3', '/usr/bin/watch.py', 'nova-compute']],
        ['a program with its module as an argument',
         ['python3', '/usr/bin/watch.py', '-m', 'nova.cmd.compute']],
        ['a line of Python', ['python3', '-c', 'pass', 'nova-compute']],
        ['a value of that name', ['python3', '-W', 'nova-compute', 'x.py']],
        ['another module', ['python3', '-m', 'http', 'nova-compute']],
        ['an option without its value', ['python3', '-W']],
        ['Python itself', ['/usr/bin/python3']],
        ['bytes that are no text', ['\udcff']],
    )
    def test_it_is_not(self, words):
        (self.proc / '4711').mkdir()
        (self.proc / '4711' / 'cmdline').write_bytes(
            b'\0'.join(word.encode(errors='surrogateescape')
                       for word in words))
        self.assertFalse(processes.nova_compute_runs())

    def test_a_process_that_ends_in_between_hides_no_other(self):
        # What was seen can be read no more; here because it never could.
        (self.proc / '1' / 'cmdline').mkdir(parents=True)
        self.assertFalse(processes.nova_compute_runs())
        self.start('2', 'nova-compute')
        self.assertTrue(processes.nova_compute_runs())

    def test_what_is_no_process_is_not_looked_at(self):
        self.start('sys', 'nova-compute')
        self.assertFalse(processes.nova_compute_runs())

    def test_one_may_run_where_a_container_cannot_see_it(self):
        self.see('pid:[4026532281]')
        self.assertTrue(processes.nova_compute_runs())
        self.assertEqual([], processes.nova_computes())

    def test_one_may_run_where_the_namespace_is_not_told(self):
        (self.proc / 'self' / 'ns' / 'pid').unlink()
        self.assertTrue(processes.nova_compute_runs())

    @ddt.named_data(
        ['of a distribution',
         ['/usr/bin/python3', '-s', '/usr/bin/nova-compute', '--debug', 'x'],
         ('/usr/bin/python3', '/usr/bin/nova-compute', ('--debug', 'x'))],
        ['as a module', ['python3', '-m', 'nova.cmd.compute', '--debug'],
         ('python3', '', ('--debug',))],
        ['as a program of its own', ['/usr/bin/nova-compute', '--debug'],
         ('', '/usr/bin/nova-compute', ('--debug',))],
        ['that gave itself a title',
         ['nova-compute: master process [/v/bin/nova-compute --debug x]'],
         ('', '/v/bin/nova-compute', ('--debug', 'x'))],
        ['whose title was cut',
         ['nova-compute: master process [/v/bin/nova-compute --deb'],
         ('', '', None)],
        ['that is the child of one with a title',
         ['nova-compute: ServiceWrapper worker(0)'], ('', '', None)],
        ['with an empty word', ['nova-compute', '--x', ''],
         ('', 'nova-compute', ('--x', ''))],
    )
    def test_its_command_line_is_told(self, words, told):
        self.start('4711', *words)
        [found] = processes.nova_computes()
        self.assertEqual((4711, *told), (found.pid, found.interpreter,
                                         found.program, found.arguments))

    def test_one_with_our_root_is_in_no_container(self):
        self.start('4711', 'nova-compute')
        [found] = processes.nova_computes()
        self.assertIsNone(found.is_in_container)
        (self.proc / '4711' / 'root').symlink_to('/')
        self.assertIs(False, found.is_in_container)

    def test_one_with_another_root_is_in_a_container(self):
        self.start('4711', 'nova-compute')
        (self.proc / '4711' / 'root').symlink_to(self.proc)
        [found] = processes.nova_computes()
        self.assertIs(True, found.is_in_container)
