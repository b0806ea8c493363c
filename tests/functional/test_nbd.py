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

"""The NBD client against servers that others wrote; no guest is needed."""

import pathlib
import random
import signal
import subprocess
import time

import ddt
import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.transfer import nbd
from nova_snap import units
from tests.lab import process

# Seconds for a server to listen, and to end.
TIMEOUT = 30
# Seconds that a hanging server is waited for.
SHORT = 2
# The flag of a listening socket in /proc/net/unix.
ACCEPTS_CONNECTIONS = 1 << 16
CLUSTER = 64 * units.KiB


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


class ServerTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.socket = str(self.folder / 'nbd.sock')

    def start(self, *command):
        """Run a server until the test ends, and wait for its socket."""
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait, TIMEOUT)
        self.addCleanup(server.terminate)
        process.wait_until(
            lambda: server.poll() is not None or self.is_listening(),
            timeout=TIMEOUT, what=f'the socket of {command[0]}')
        self.assertIsNone(server.poll(), command)
        return server

    def is_listening(self):
        """Look, without a connection: some servers take one in all.

        A socket is there before its server listens.
        """
        with open('/proc/net/unix') as sockets:
            return any(
                line.endswith(f' {self.socket}\n')
                and int(line.split()[3], 16) & ACCEPTS_CONNECTIONS
                for line in sockets)

    def read_disk(self, name='', depth=4):
        """Return a disk's bytes, and how many of them were data."""
        with nbd.Export(self.socket, name, timeout=TIMEOUT) as export:
            disk = bytearray(export.size_bytes)
            ranges = [(at, min(nbd.LARGEST_READ, extent.end - at))
                      for extent in export.extents() if not extent.is_zero
                      for at in range(extent.offset, extent.end,
                                      nbd.LARGEST_READ)]
            for (at, length), view in zip(
                    ranges, export.read(ranges, depth=depth), strict=True):
                disk[at:at + length] = view
        return bytes(disk), sum(length for _, length in ranges)

    def failure(self, call, **kwargs):
        return self.assertRaises(errors.ExportFailed, call, **kwargs).reason


@ddt.ddt
class QemuNbdTestCase(ServerTestCase):

    def serve(self, path, image_format, *options):
        return self.start('qemu-nbd', '--read-only', '--persistent',
                          '--format', image_format, '--socket', self.socket,
                          *options, str(path))

    def raw(self, pieces, size):
        """Make a raw file with random bytes at each of some places."""
        path = self.folder / 'disk.raw'
        with open(path, 'wb') as disk:
            disk.truncate(size)
            for at, length in pieces:
                disk.seek(at)
                disk.write(random.Random(at).randbytes(length))
        return path

    @ddt.data(0, 1, 511, 512, 1000, CLUSTER, CLUSTER + 1,
              3 * units.MiB + 12345)
    def test_raw_of_any_size(self, size):
        path = self.raw([(0, size)], size)
        self.serve(path, 'raw')

        disk, _ = self.read_disk()

        # QEMU has sectors of 512 bytes and fills the last with zeros.
        self.assertEqual(path.read_bytes() + bytes(-size % 512), disk)

    def test_raw_with_holes_is_read_where_the_data_are(self):
        path = self.raw([(0, CLUSTER), (9 * units.MiB, CLUSTER),
                         (20 * units.MiB - 512, 512)], 20 * units.MiB)
        self.serve(path, 'raw')

        disk, read = self.read_disk()

        self.assertEqual(path.read_bytes(), disk)
        self.assertLess(read, units.MiB)

    def test_1_tib_with_little_in_it(self):
        size = 1024 * units.GiB
        pieces = [(0, CLUSTER), (700 * units.GiB + 512, CLUSTER),
                  (size - 4096, 4096)]
        path = self.raw(pieces, size)
        self.serve(path, 'raw')

        with nbd.Export(self.socket, timeout=TIMEOUT) as export:
            found = export.extents()
            self.assertEqual(size, export.size_bytes)
            views = [bytes(view) for view in export.read(pieces)]

        self.assertEqual(size, found[-1].end)
        self.assertLess(sum(extent.length for extent in found
                            if not extent.is_zero), units.MiB)
        self.assertEqual([random.Random(at).randbytes(length)
                          for at, length in pieces], views)

    @ddt.data(4 * units.MiB, 4 * units.MiB + 512)
    def test_a_qcow2_chain_of_three(self, size):
        """Each layer has other clusters, and zeros over those below."""
        base_path = self.raw([(0, 2 * units.MiB)], size)
        below, below_format = base_path, 'raw'
        for number in (1, 2):
            path = self.folder / f'layer-{number}.qcow2'
            run('qemu-img', 'create', '-f', 'qcow2', '-b', str(below), '-F',
                below_format, str(path), str(size))
            run('qemu-io', '-f', 'qcow2',
                '-c', f'write -P {number} {number * CLUSTER} {CLUSTER}',
                '-c', f'write -z {number * 8 * CLUSTER} {4 * CLUSTER}',
                '-c', f'write -P {number} {size - 512 * number} 512',
                str(path))
            below, below_format = path, 'qcow2'
        expected = bytearray(base_path.read_bytes())
        for number in (1, 2):
            for at, what in (
                    (number * CLUSTER, bytes([number]) * CLUSTER),
                    (number * 8 * CLUSTER, bytes(4 * CLUSTER)),
                    (size - 512 * number, bytes([number]) * 512)):
                expected[at:at + len(what)] = what
        self.serve(path, 'qcow2')

        disk, read = self.read_disk()

        self.assertEqual(bytes(expected), disk)
        self.assertLess(read, 2 * units.MiB)

    def test_an_empty_qcow2(self):
        path = self.folder / 'empty.qcow2'
        run('qemu-img', 'create', '-f', 'qcow2', str(path), '0')
        self.serve(path, 'qcow2')

        self.assertEqual((b'', 0), self.read_disk())

    def test_small_unaligned_ranges(self):
        path = self.raw([(0, units.MiB)], units.MiB)
        self.serve(path, 'raw', '--cache=none')
        ranges = [(at * 1013, 1 + at % 700) for at in range(1000)]

        with nbd.Export(self.socket, timeout=TIMEOUT) as export:
            found = [bytes(view) for view in export.read(ranges, depth=9)]

        disk = path.read_bytes()
        self.assertEqual([disk[at:at + length] for at, length in ranges],
                         found)

    def test_an_export_is_found_by_its_name(self):
        path = self.raw([(0, 512)], 512)
        self.serve(path, 'raw', '--export-name', 'vda')

        self.assertEqual((path.read_bytes(), 512), self.read_disk('vda'))
        self.assertIn('it has no such export',
                      self.failure(self.read_disk, name='vdb'))

    def test_a_server_that_is_killed_while_it_sends(self):
        server = self.serve(self.raw([], 40 * units.MiB), 'raw')

        def read():
            with nbd.Export(self.socket, timeout=TIMEOUT) as export:
                for _ in export.read((at * units.MiB, units.MiB)
                                     for at in range(40)):
                    server.kill()

        self.assertIn('closed the connection', self.failure(read))

    def test_a_server_that_is_stopped_while_it_sends(self):
        server = self.serve(self.raw([], 40 * units.MiB), 'raw')
        self.addCleanup(server.kill)

        def read():
            with nbd.Export(self.socket, timeout=SHORT) as export:
                for _ in export.read((at * units.MiB, units.MiB)
                                     for at in range(40)):
                    server.send_signal(signal.SIGSTOP)

        started = time.monotonic()
        self.assertEqual('no answer for 2 seconds', self.failure(read))
        self.assertLess(time.monotonic() - started, SHORT + TIMEOUT)


SIZE = 2 * units.MiB
# What a plugin of nbdkit answers, in shell: a disk of the letter x.
LETTERS = 'head -c $3 /dev/zero | tr "\\0" x'


class NbdkitTestCase(ServerTestCase):

    def serve(self, *plugin):
        self.start('nbdkit', '--foreground', '--exit-with-parent', '--unix',
                   self.socket, '--readonly', *plugin)

    def serve_scripts(self, *options, **scripts):
        scripts = {'get_size': f'echo {SIZE}', 'pread': LETTERS, **scripts}
        self.serve(*options, 'eval', *(f'{name}={script}'
                                       for name, script in scripts.items()))

    def test_extents_of_a_memory_disk(self):
        self.serve('data', 'data=@0x100000 1 2 3 @0x500000 4', 'size=8M')
        expected = bytearray(8 * units.MiB)
        expected[units.MiB:units.MiB + 3] = b'\1\2\3'
        expected[5 * units.MiB] = 4

        disk, read = self.read_disk()

        self.assertEqual(bytes(expected), disk)
        self.assertLess(read, units.MiB)

    def test_a_slow_server(self):
        self.serve('--filter=delay', 'data', 'data=1 2 3', 'size=4M',
                   'rdelay=100ms')

        disk, _ = self.read_disk()

        self.assertEqual(b'\1\2\3' + bytes(4 * units.MiB - 3), disk)

    def test_a_server_without_extents_is_read_whole(self):
        self.serve_scripts()

        self.assertEqual((SIZE * b'x', SIZE), self.read_disk())

    def test_a_server_that_fails_at_byte_n(self):
        self.serve_scripts(
            pread='if [ $(($4 + $3)) -gt 1500000 ]; then echo EIO no disk '
                  f'>&2; exit 1; fi; {LETTERS}')

        reason = self.failure(self.read_disk)

        self.assertIn('read of 1048576 bytes at 1048576: Input/output '
                      'error', reason)

    def test_a_server_whose_reads_are_short(self):
        """nbdkit itself turns this into an error."""
        self.serve_scripts(pread='printf x')

        self.assertIn('Input/output error', self.failure(self.read_disk))

    def test_a_server_that_fails_by_chance(self):
        self.serve('--filter=error', 'data', 'data=1 2 3', 'size=4M',
                   'error-pread=EIO', 'error-pread-rate=100%')

        self.assertIn('Input/output error', self.failure(self.read_disk))

    def test_a_server_that_hangs(self):
        self.serve_scripts(pread='sleep 20')

        def read():
            with nbd.Export(self.socket, timeout=SHORT) as export:
                next(export.read([(0, 1)]))

        self.assertEqual('no answer for 2 seconds', self.failure(read))

    def test_a_server_whose_extents_end_early(self):
        """nbdkit lets a plugin tell less than was asked, not nothing."""
        self.serve_scripts(
            can_extents='exit 0',
            extents='[ $(($4 / 4096 % 2)) = 0 ] || kind=hole,zero; '
                    'echo $4 4096 $kind',
            get_size='echo 40960')

        disk, read = self.read_disk()

        self.assertEqual(5 * (4096 * b'x' + bytes(4096)), disk)
        self.assertEqual(20480, read)

    def test_a_server_that_lies_about_its_extents(self):
        """What it tells does not begin where it was asked."""
        self.serve_scripts(can_extents='exit 0', get_size='echo 40960',
                           extents='echo 36864 8192 hole,zero')

        self.assertRaises(errors.ExportFailed, self.read_disk)

    def test_a_server_without_structured_replies(self):
        self.serve('--no-sr', 'memory', '1M')

        self.assertIn('refuses structured replies',
                      self.failure(self.read_disk))

    def test_a_server_that_wants_tls(self):
        keys = self.folder / 'keys.psk'
        keys.write_text('user:' + 64 * '0' + '\n')
        self.serve('--tls=require', f'--tls-psk={keys}',
                   'memory', '1M')

        self.assertIn('it wants TLS', self.failure(self.read_disk))
