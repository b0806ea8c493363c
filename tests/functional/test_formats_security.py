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

"""A guest that writes the header of another format into its raw disk.

And disks whose header says too little. The format of a disk is what its XML
says, and its bytes are not asked for another: CVE-2015-7548, CVE-2024-32498.
"""

import dataclasses
import pathlib
import re
import shlex
import struct
import typing as ty

import ddt
import libvirt

from nova_snap import errors
from nova_snap import units
from tests.functional import agent
from tests.functional import base
from tests.functional import watch
from tests.lab.guest import build as guest_build
from tests.lab.guest import disk as guest_disk
from tests.lab.guest import domain as guest_domain
from tests.lab import process
from tests.lab import proof

# QEMU docs/interop/qcow2.txt
MAGIC = b'QFI\xfb'
HEADER = struct.Struct('>4sIQIIQIIQQIIQQQQII')
HEADER_SIZE = 104
VERSION = 3
TABLE_ENTRY = struct.Struct('>Q')
EXTENSION = struct.Struct('>II')
BACKING_FORMAT = 0xe2792aca
DATA_FILE = 0x44415441
DATA_FILE_FEATURE = 1 << 2
COPIED = 1 << 63
CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
REFCOUNT_ORDER = 4

# The boot code of a master boot record: a guest that never boots from its
# disk does not miss it.
BOOT_CODE = 446
NAME_OFFSET = 192

# Behind the last partition, the guest's own as everything on its disk.
TABLES_OFFSET = guest_build.DISK_SIZE
GROWN = units.MiB

SECRET = b'of the host, and for no guest.   '


@ddt.ddt
class TrapTest(base.FunctionalTest):
    """The image has the guest's own bytes, whatever they look like."""

    def setUp(self) -> None:
        super().setUp()
        self.secret = self.folder / 'secret'
        self.secret.write_bytes(SECRET * CLUSTER)
        self.taken: list[str] = []

    @ddt.named_data(('backing file', 'backing'), ('data file', 'data'))
    def test_header_that_names_a(self, kind: str) -> None:
        guest = self._grown_guest()
        header, tables = make_trap(kind, self.secret)
        for offset, content in {0: header, **tables}.items():
            # So that the offset is a multiple of it: BusyBox has no oflag.
            agent.execute(guest, '/bin/dd', 'of=/dev/vda',
                          f'bs={len(content)}', 'conv=notrunc,fsync',
                          f'seek={offset // len(content)}', stdin=content)
        seen = base.look(guest)
        for image_format in ('qcow2', 'vmdk'):
            self._take_live(guest, header, image_format)
        self._refused_by_glance(guest, header)
        self._take_at_rest(guest, 'vdi', cold=True)
        self.assert_guest_untouched(guest, seen, same_process=False)

        guest.domain.managedSave(0)
        # The trap is one: qemu-img alone walks into it.
        leaked = self.folder / 'leaked'
        process.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw',
                     str(guest.spec.disk.path), str(leaked)])
        self.assertIn(SECRET, leaked.read_bytes()[:CLUSTER])
        self._take_at_rest(guest, 'qcow2')
        guest.start()
        self.assertTrue(guest.is_writing())
        self.assert_nothing_left(*self.taken)

    def _take_live(self, guest: guest_domain.Guest, header: bytes,
                   image_format: str) -> None:
        instant = watch.Instant(guest)
        result = self.take(
            guest, base.Hooks({'block_device.abort': instant}),
            image_format=image_format)
        self.assertEqual('live', result.plan.method)
        self.taken.append(result.images[0].image_id)
        path = self.download(result.images[0].image_id)
        proof.assert_sound(path, image_format)
        instant.check(path, image_format)
        self._assert_own_bytes(path, image_format, header)

    def _take_at_rest(self, guest: guest_domain.Guest, image_format: str,
                      **request: ty.Any) -> None:
        at_rest = watch.AtRest(guest, self.folder)
        result = self.take(guest, base.Hooks({'qemu_img.convert': at_rest}),
                           image_format=image_format, **request)
        self.assertNotEqual('live', result.plan.method)
        self.taken.append(result.images[0].image_id)
        path = self.download(result.images[0].image_id)
        proof.assert_same_content(path, image_format, at_rest.copy, 'raw')
        self.assertNotIn(SECRET, at_rest.copy.read_bytes())

    def _refused_by_glance(self, guest: guest_domain.Guest,
                           header: bytes) -> None:
        """As a raw image it is whole, and Glance does not take it.

        The image's owner would be at the mercy of a program that probes it.
        """
        uploads: list[pathlib.Path] = []

        def keep(call: watch.Call, image_id: str, source: ty.Any) -> ty.Any:
            copied = self.folder / 'sent'
            process.run(['cp', '--sparse=always', source.path, str(copied)])
            uploads.append(copied)
            return call()

        exc = self.assertRaises(
            errors.ImageServiceError, self.take, guest,
            base.Hooks({'images.upload': keep}), image_format='raw')
        # A raw disk with a master boot record, and a qcow2 file.
        self.assertIn('Multiple formats detected', str(exc))
        self._assert_own_bytes(uploads[0], 'raw', header)

    def _assert_own_bytes(self, path: pathlib.Path, image_format: str,
                          header: bytes) -> None:
        raw = self.folder / 'content'
        process.run(['qemu-img', 'convert', '-f', image_format, '-O', 'raw',
                     str(path), str(raw)])
        content = raw.read_bytes()
        self.assertEqual(TABLES_OFFSET + GROWN, len(content))
        self.assertTrue(content.startswith(header))
        self.assertNotIn(SECRET, content)

    def _grown_guest(self) -> guest_domain.Guest:
        """Share a guest with some room behind its last partition."""
        guest = self.guest('raw', shared=True, agent='run')
        guest.domain.blockResize('vda', TABLES_OFFSET + GROWN,
                                 libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        return guest


@ddt.ddt
class HeaderTest(base.FunctionalTest):
    """Disks that only a user with access to the host can have made."""

    def test_backing_file_without_a_format(self):
        guest = self.guest(boot=False).define()
        forget_format(guest.spec.disk.path)
        exc = self.assertRaises(errors.Unsupported, self.take, guest)
        self.assertIn('base is not named in', str(exc))
        self.assert_nothing_left()
        # What it says is done, and helps.
        raw = re.search(r'"(qemu-img rebase [^"]+)"', str(exc))
        process.run(shlex.split(raw[1]))
        result = self.take(guest)
        self.assertEqual(2, len(result.plan.disks[0].chain))

    @ddt.data('qcow2-on-raw-base', 'qcow2-chain-of-3')
    def test_backing_file_without_a_format_in_the_image_cache(
            self, kind: str) -> None:
        """Nova made such disks before its release 21."""
        guest = self.guest(kind, boot=False).define()
        disk = guest.spec.disk
        expected = self.folder / 'expected'
        process.run(['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw',
                     str(disk.path), str(expected)])
        *above, (lowest, lowest_format) = (
            (disk.path, disk.driver_format), *disk.backing)
        forget_format(above[-1][0])
        self.use_as_image_cache(lowest.parent)
        result = self.take(guest)
        [image] = result.plan.images
        self.assertEqual([*(name for _, name in above), lowest_format],
                         [layer.format for layer in image.disk.chain])
        [remark] = result.plan.remarks
        self.assertIn(f'no header names the format of {lowest}', remark)
        process.run(['qemu-img', 'compare', '-f', image.image_format,
                     '-F', 'raw', str(self.download(image.image_id)),
                     str(expected)])
        # Of a guest that runs libvirt has found it.
        guest.boot()
        self.assertEqual(
            [layer.format for layer in image.disk.chain],
            [layer.format
             for layer in self.take(guest).plan.images[0].disk.chain])

    def test_one_in_the_image_cache_that_has_another_below(self) -> None:
        guest = self.guest('qcow2-chain-of-3', boot=False).define()
        forget_format(guest.spec.disk.path)
        self.use_as_image_cache(guest.spec.disk.path.parent)
        exc = self.assertRaises(errors.Unsupported, self.take, guest)
        self.assertIn('middle is not named in', str(exc))
        self.assert_nothing_left()

    def use_as_image_cache(self, folder: pathlib.Path) -> None:
        self.options['DEFAULT']['instances_path'] = str(folder.parent)
        self.options['image_cache'] = {'subdirectory_name': folder.name}

    def test_data_in_another_file(self):
        guest = self.guest('raw', boot=False)
        data = guest.spec.disk.path
        disk = data.with_name('header')
        guest.spec = dataclasses.replace(
            guest.spec, disk=guest_disk.Disk(disk, 'qcow2'))
        process.run(['qemu-img', 'create', '-q', '-f', 'qcow2',
                     '-o', f'data_file={data},data_file_raw=on', str(disk),
                     str(guest_build.DISK_SIZE)])
        exc = self.assertRaises(errors.Unsupported, self.take,
                                guest.define())
        self.assertIn(f'keeps its data in another file ({data})', str(exc))
        self.assert_nothing_left()


def forget_format(disk: pathlib.Path) -> None:
    """Take the format of its backing file out of a header."""
    disk.write_bytes(disk.read_bytes().replace(
        BACKING_FORMAT.to_bytes(4, 'big'), b'none', 1))


def make_trap(kind: str,
              secret: pathlib.Path) -> tuple[bytes, dict[int, bytes]]:
    """Make a qcow2 header through which a host's file is read.

    :param kind: ``backing``, whose tables are empty, or ``data``, whose
        tables map the first cluster
    :returns: the header, and what to write elsewhere, by its offset; all
        else of the tables is zeros
    """
    name = str(secret).encode()
    refcounts, l1, l2 = (TABLES_OFFSET + i * CLUSTER for i in range(3))
    if kind == 'data':
        features, backing = DATA_FILE_FEATURE, (0, 0)
        extensions = _extension(DATA_FILE, name)
        entries = (l2 | COPIED, COPIED)
    else:
        features, backing = 0, (NAME_OFFSET, len(name))
        extensions = _extension(BACKING_FORMAT, b'raw')
        entries = (0, 0)
    header = HEADER.pack(
        MAGIC, VERSION, *backing, CLUSTER_BITS, TABLES_OFFSET + GROWN, 0,
        1, l1, refcounts, 1, 0, 0, features, 0, 0, REFCOUNT_ORDER,
        HEADER_SIZE)
    header = (header + extensions + EXTENSION.pack(0, 0)).ljust(
        NAME_OFFSET, b'\0')
    if kind == 'backing':
        header += name
    if len(header) > BOOT_CODE:
        raise ValueError(f'{secret} is too long a name for a trap')
    return header.ljust(BOOT_CODE, b'\0'), {
        table: TABLE_ENTRY.pack(entry)
        for table, entry in zip((l1, l2), entries, strict=True)}


def _extension(kind: int, data: bytes) -> bytes:
    """Make a header extension, padded to 8 bytes."""
    return EXTENSION.pack(kind, len(data)) + data.ljust(
        -(-len(data) // 8) * 8, b'\0')
