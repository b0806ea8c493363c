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

"""qemu-nbd while it serves a chain, and when it does not."""

import errno
import json
import os
import pathlib
import shutil
import socket
import stat
import subprocess

import ddt
import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap import folder as folder_module
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.model import layer as layer_model
from tests.fakes import clock as fake_clock
from tests.unit.host import program

CHAIN = (layer_model.Layer('/srv/top.qcow2', 'qcow2'),
         layer_model.Layer('/srv/base', 'raw'))

# It listens until it is killed.
LISTENS = """\
for word; do case $word in --socket=*) path=${word#--socket=};; esac; done
exec python3 -c "
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    listener.accept()
" "$path"
"""


@ddt.ddt
class QemuNbdTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        folder = self.useFixture(fixtures.TempDir()).path
        self.socket = os.path.join(folder, 'nbd')

    def serve(self, body, clock=None, chain=CHAIN):
        """Serve with a program in the place of qemu-nbd."""
        self.program = self.useFixture(program.Program('qemu-nbd', body))
        return qemu_nbd_module.QemuNbd(clock).serving(chain, self.socket)

    def test_every_format_is_named_and_nothing_is_written(self):
        with self.serve(LISTENS):
            *options, chain = self.program.words
        self.assertIn('--read-only', options)
        described = json.loads(chain.removeprefix('json:'))
        self.assertEqual(
            ('qcow2', 'raw'),
            (described['driver'], described['backing']['driver']))

    @ddt.data(True, False)
    def test_the_page_cache_is_left_alone_where_that_can_be(self, is_direct):
        open_ = os.open

        def opened(path, flags, *args, **kwargs):
            # A file system with O_DIRECT, and one without.
            if flags & os.O_DIRECT and not is_direct:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return open_(path, flags & ~os.O_DIRECT, *args, **kwargs)

        layer = layer_model.Layer(
            self.useFixture(fixtures.TempDir()).join('disk'), 'raw')
        pathlib.Path(layer.path).touch()
        self.useFixture(fixtures.MockPatchObject(os, 'open', opened))
        with self.serve(LISTENS, chain=(layer,)):
            self.assertEqual(is_direct,
                             '--cache=none' in self.program.words)

    def test_its_owner_alone_connects(self):
        with self.serve(LISTENS):
            mode = stat.S_IMODE(os.stat(self.socket).st_mode)
        self.assertEqual(0o700, mode)

    def test_a_path_too_long_for_a_socket(self):
        folder = os.path.join(os.path.dirname(self.socket),
                              layer_model.LONGEST_SOCKET * 'x')
        os.mkdir(folder)
        self.socket = os.path.join(folder, 'nbd')
        with self.serve(LISTENS) as where, socket.socket(
                socket.AF_UNIX) as client:
            client.connect(where)
            self.assertTrue(os.path.samefile(where, self.socket))
        self.assertFalse(os.path.exists(self.socket))

    def test_it_ends_with_the_block_and_its_socket_too(self):
        with self.serve(LISTENS):
            pid = self.program.pid
        self.assertFalse(pathlib.Path('/proc', str(pid)).exists())
        self.assertFalse(os.path.exists(self.socket))

    def test_a_socket_that_cannot_be_removed_is_no_error(self):
        # An image may be whole by then.
        def remove(folder, name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with self.serve(LISTENS):
            self.useFixture(fixtures.MockPatchObject(
                folder_module.Folder, 'remove', remove))
        self.assertTrue(os.path.exists(self.socket))

    def test_it_ends_with_us(self):
        with self.serve(LISTENS):
            pid = self.program.pid
            # :source: prctl(2) PR_GET_PDEATHSIG is of the process alone, so
            # what set it is looked at.
            line = pathlib.Path('/proc', str(pid), 'stat').read_text()
        self.assertEqual(os.getpid(), int(line.rpartition(')')[2].split()[1]))

    def test_what_it_says_when_it_cannot_is_said(self):
        serving = self.serve('echo "Failed to get shared lock" >&2; exit 1')
        error = self.assertRaises(errors.StorageError, serving.__enter__)
        self.assertIn('Failed to get shared lock', str(error))

    def test_one_that_does_not_listen_in_time_is_ended(self):
        serving = self.serve('exec sleep 60', fake_clock.FakeClock())
        error = self.assertRaises(errors.StorageError, serving.__enter__)
        self.assertIn('does not listen', str(error))
        self.assertEqual('', subprocess.run(
            ['pgrep', '-P', str(os.getpid()), 'sleep'], text=True,
            capture_output=True).stdout)

    @ddt.data((), ('setpriv', 'env'))
    def test_without_it_the_package_is_named(self, there):
        folder = self.useFixture(fixtures.TempDir()).path
        for name in there:
            os.symlink(shutil.which(name), os.path.join(folder, name))
        self.useFixture(fixtures.EnvironmentVariable('PATH', folder))
        serving = qemu_nbd_module.QemuNbd().serving(CHAIN, self.socket)
        error = self.assertRaises(errors.StorageError, serving.__enter__)
        self.assertIn('qemu-utils', str(error))
