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

"""Live snapshots of a guest that writes, in a real Glance."""

import hashlib
import json
import os
import pathlib
import time
import typing as ty

import ddt

from nova_snap import errors
from nova_snap import units
from tests.functional import base
from tests.functional import watch
from tests.lab.guest import build as guest_build
from tests.lab.guest import copy as guest_copy
from tests.lab import process
from tests.lab import proof
from tests.lab import records

# How long a mirror shall take that is to be looked at, and of how much: QEMU
# copies up to 1 MiB before it looks at the clock.
MIRROR_SECONDS = 3
MIRROR_LEAST = 6 * units.MiB
# QEMU counts in slices of 100 ms and lets one go at once; and the file system
# allocates more than was written.
BANDWIDTH_TOLERANCE = 0.7


@ddt.ddt
class LiveTest(base.FunctionalTest):
    """One root disk of each kind, and what can be asked of a snapshot."""

    def _take(self, guest: ty.Any, **request: ty.Any) -> tuple[
            ty.Any, pathlib.Path]:
        """Take a snapshot, prove its point in time, and look around.

        Whatever the options are, the guest is as it was, nothing is left,
        and the image is what it says and the disk at one instant.
        """
        seen = base.look(guest)
        instant = watch.Instant(guest)
        result = self.take(
            guest, base.Hooks({'block_device.abort': instant}),
            **request)
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left(result.images[0].image_id)
        image = self.image(result.images[0].image_id)
        self.assertEqual('active', image['status'])
        path = self.download(image['id'])
        self.assertEqual(image['size'], path.stat().st_size)
        proof.assert_sound(path, image['disk_format'])
        last = instant.check(path, image['disk_format'])
        self.assertLess(last, guest.last_record())
        return image, path

    # The default format is that of the disk.
    @ddt.named_data(
        ('raw', 'raw', 'raw'),
        ('qcow2 without a backing file', 'qcow2', 'qcow2'))
    @ddt.unpack
    def test_the_image_is_the_disk(self, kind: str, image_format: str) -> None:
        image, path = self._take(self.guest(kind, shared=True))
        self.assertEqual(image_format, image['disk_format'])
        self._assert_data(path, image_format)

    def test_disk_on_a_raw_base_and_a_second_guest_boots(self):
        """Not frozen: its journal is replayed, and nothing is lost."""
        image, path = self._take(self.guest(shared=True))
        self.assertEqual('qcow2', image['disk_format'])
        found = guest_copy.assert_boots(self.lab.libvirtd, path, 'qcow2',
                                  recovered=True)
        self.assertEqual(
            records.check_sequence(proof.read_records(path, 'qcow2')) + 1,
            found.records)

    def test_disk_on_two_backing_files(self):
        """Upstream fails here: "Base image failed safety check".

        nova/virt/libvirt/utils.py create_image refuses a backing file that
        has one itself.
        """
        guest = self.guest('qcow2-chain-of-3')
        image, path = self._take(guest)
        # It holds what only the lowest layer has and what only the middle
        # one has: the files and the partition table.
        guest_copy.assert_boots(self.lab.libvirtd, path, image['disk_format'])

    @ddt.data('raw', 'vmdk', 'vdi')
    def test_the_image_has_the_named_format(self, image_format):
        guest = self.guest(shared=True)
        image, path = self._take(guest, image_format=image_format)
        self.assertEqual(image_format, image['disk_format'])
        self.assertEqual(guest_build.DISK_SIZE, image['virtual_size'])
        self._assert_data(path, image_format)

    @ddt.data('zlib', 'zstd')
    def test_compressed_image_is_smaller_and_sound(self, compression):
        self.options['nova_snap']['compression_type'] = compression
        guest = self.guest(shared=True)
        # So that both images have the same content.
        guest.domain.suspend()
        try:
            plain = self._take_by_command(guest)
            self.options['libvirt']['snapshot_compression'] = 'true'
            small = self._take_by_command(guest)
        finally:
            guest.domain.resume()
        proof.assert_sound(small, 'qcow2')
        proof.assert_same_content(small, 'qcow2', plain, 'qcow2')
        self.assertEqual(0, proof.compressed_clusters(plain))
        self.assertGreater(proof.compressed_clusters(small), 0)
        self.assertLess(small.stat().st_size, plain.stat().st_size)

    def _take_by_command(self, guest: ty.Any) -> pathlib.Path:
        done = self.nova_snap('image-create', guest.spec.name, 'by command',
                              '--json')
        self.assertEqual(0, done.returncode, done.stderr)
        return self.download(json.loads(done.stdout)['images'][0]['image_id'])

    def test_copy_never_undefines_the_domain(self):
        self.options['nova_snap']['live_method'] = 'copy'
        guest = self.guest(shared=True)
        with watch.events(guest) as events:
            self._take(guest)
            events.wait_for_end_of_job()
        self.assertEqual(['job ready', 'job canceled'], events.names)

    def test_paused_guest_stays_paused(self):
        guest = self.guest(shared=True)
        guest.domain.suspend()
        try:
            seen = base.look(guest)
            result = self.take(guest)
            self.assertEqual('live', result.plan.method)
            self.assert_guest_untouched(guest, seen)
            self.assert_nothing_left(result.images[0].image_id)
            reported = guest.last_record()
        finally:
            guest.domain.resume()
        proof.assert_point_in_time(
            self.download(result.images[0].image_id), 'qcow2',
            reported_before=reported, reported_after=reported)
        self.assertTrue(guest.is_writing())

    def test_transient_domain(self):
        """Nothing to undefine, and nothing to define."""
        guest = self.guest(shared=True)
        guest.domain.undefine()
        try:
            with watch.events(guest) as events:
                self._take(guest)
                events.wait_for_end_of_job()
            self.assertFalse(guest.domain.isPersistent())
        finally:
            guest.define()
        self.assertEqual(['job ready', 'job canceled'], events.names)

    def test_undefined_only_for_the_start_of_a_slow_mirror(self):
        """And the mirror is no faster than the operator allows."""
        guest = self.guest(shared=True)
        process.wait_until(
            lambda: _allocated(guest.spec.disk.path) >= MIRROR_LEAST,
            timeout=base.COMMAND_TIMEOUT, what='a disk worth a mirror')
        # Or the mirror would race with what it writes.
        guest.domain.suspend()
        self.addCleanup(guest.domain.resume)
        bandwidth = _allocated(guest.spec.disk.path) // MIRROR_SECONDS
        self.options['nova_snap']['bandwidth'] = str(bandwidth)
        seen = base.look(guest)
        mirror = _MirrorClock()
        with watch.events(guest) as events:
            # What comes after the mirror would be slow as well.
            self.assertRaises(
                errors.StorageError, self.take, guest, base.Hooks({
                    'block_device.rebase_to_copy': mirror.start,
                    'block_device.abort': mirror.end,
                    'qemu_img.convert': _fail}))
            events.wait_for_end_of_job()
        self.assertEqual(
            ['undefined', 'defined', 'job ready', 'job canceled'],
            events.names)
        # Upstream takes it away for all of that time.
        self.assertLess(events.time('defined') - events.time('undefined'),
                        mirror.seconds / 2)
        self.assertGreater(
            mirror.seconds,
            BANDWIDTH_TOLERANCE * mirror.copied / bandwidth)
        self.assertGreater(mirror.copied, MIRROR_LEAST / 2)
        self.assert_guest_untouched(guest, seen)
        self.assert_nothing_left()

    def _assert_data(self, path: pathlib.Path, image_format: str) -> None:
        """Assert that every file of the first root disk is in the image."""
        raw = self.folder / 'content'
        process.run(['qemu-img', 'convert', '-f', image_format, '-O', 'raw',
                     str(path), str(raw)])
        sums = _read_file(raw, 'data.md5').decode().split()
        names = sums[1::2]
        self.assertLessEqual(guest_build.DATA_FILES, len(names))
        self.assertEqual(sums[::2], [
            hashlib.md5(_read_file(raw, name)).hexdigest()
            for name in names])


def _allocated(path: pathlib.Path | str) -> int:
    """Return how many bytes a file takes on the disk."""
    return os.stat(path).st_blocks * proof.SECTOR


def _fail(call: watch.Call, *args: ty.Any) -> None:
    """Fail in the place of a call."""
    raise errors.StorageError(reason='not tested here')


class _MirrorClock:
    """Measures how long a mirror takes, and what it copies."""

    def __init__(self) -> None:
        self._started = 0.0
        self._path = ''
        self.seconds = 0.0
        self.copied = 0

    def start(self, call: watch.Call, path: str, bandwidth: int) -> None:
        """Note when the copy begins; for ``block_device.rebase_to_copy``."""
        self._path = path
        self._started = time.monotonic()
        call()

    def end(self, call: watch.Call) -> None:
        """Look at it before it ends; for ``block_device.abort``."""
        self.seconds = time.monotonic() - self._started
        self.copied = _allocated(self._path)
        call()


def _read_file(disk: pathlib.Path, name: str) -> bytes:
    """Read a file of a disk's ext4, without a mount."""
    copied = disk.with_name('file')
    process.run(['debugfs', '-R', f'dump /{name} {copied}',
                 f'{disk}?offset={guest_build.EXT4_OFFSET}'])
    content = copied.read_bytes()
    copied.unlink()
    return content
