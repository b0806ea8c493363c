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

"""qemu-img on the fakes' disk files."""

import collections.abc as cabc
import os
import typing as ty

from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model
from tests.fakes import calls as fake_calls
from tests.fakes import disk as fake_disk
from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.fakes import libvirtd as fake_libvirtd

OUTSIDE = 'qemu-img'
# What each cluster of a fake disk takes in an image.
CLUSTER = 64 << 10


class FakeQemuImg(qemu_img_module.QemuImg):
    """It opens a file by its name, in the format that the caller names.

    Like the real one it refuses a file that a QEMU writes to, and a file
    that has not the format it is called.
    """

    def __init__(self, libvirtd: fake_libvirtd.FakeLibvirtd,
                 calls: fake_calls.Calls,
                 block_devices: cabc.Collection[str]) -> None:
        self._libvirtd = libvirtd
        self._calls = calls
        self._block_devices = block_devices

    def info(self, path: str, image_format: str) -> qemu_img_module.Info:
        return self._make('info', lambda: self._info(path, image_format),
                          f'{_base(path)} {image_format}', changes=False)

    def virtual_size(self, layer: layer_model.Layer) -> int:
        return ty.cast(int, self._make(
            'size', lambda: self._opened(layer).virtual_size,
            _base(layer.path), changes=False))

    def measure(self, chain: cabc.Sequence[layer_model.Layer]) -> int | None:
        def measure() -> int | None:
            try:
                return sum(len(self._opened(layer).clusters)
                           for layer in chain) * CLUSTER
            except errors.StorageError:
                return None

        words = ' '.join(f'{_base(layer.path)}:{layer.format}'
                         for layer in chain)
        return ty.cast('int | None', self._calls.make(
            OUTSIDE, 'measure', measure, words=words, changes=False))

    def first_bytes(self, chain: cabc.Sequence[layer_model.Layer],
                    virtual_size: int) -> bytes:
        return self._make(
            'begins', lambda: self.flat(chain, 'raw').first_bytes(),
            ' '.join(f'{_base(layer.path)}:{layer.format}'
                     for layer in chain), changes=False)

    def is_cut_short(self, path: str) -> bool:
        return self._make(
            'check', lambda: self._open(path, 'qcow2').is_cut_short,
            _base(path), changes=False)

    def remove_bitmap(self, path: str, name: str) -> None:
        def remove() -> None:
            file = self._open(path, 'qcow2')
            if name not in file.bitmaps:
                raise errors.StorageError(
                    reason=f"Dirty bitmap '{name}' not found")
            file.bitmaps.remove(name)
            file.save(path)

        self._make('bitmap --remove', remove, f'{_base(path)} {name}')

    def create_overlay(self, path: str, virtual_size: int,
                       backing: layer_model.Layer | None) -> None:
        def create() -> None:
            _refuse_there(path)
            fake_disk.DiskFile(
                'qcow2', virtual_size,
                backing=backing and backing.path,
                backing_format=backing and backing.format).save(path)

        below = f'{_base(backing.path)} {backing.format}' if backing else '-'
        self._make('create', create, f'{_base(path)} {below}')

    def convert(self, chain: cabc.Sequence[layer_model.Layer], path: str,
                conversion: qemu_img_module.Conversion, *,
                progress: qemu_img_module.Progress) -> None:
        def convert() -> None:
            self._convert(chain, path, conversion)
            progress(conversion.expected, conversion.expected)

        def half() -> None:
            with open(path, 'wb') as file:
                file.write(b'half of an image')

        words = ' '.join(f'{_base(layer.path)}:{layer.format}'
                         for layer in chain)
        self._make('convert', convert,
                   f'{words} {_base(path)}:{conversion.image_format}',
                   half=half)

    def _make(self, name: str, effect: cabc.Callable[[], object],
              words: str, *, changes: bool = True,
              half: cabc.Callable[[], None] | None = None) -> object:
        return self._calls.make(
            OUTSIDE, name, effect, words=words, changes=changes, half=half,
            error=lambda: errors.StorageError(
                reason=f'qemu-img {name} {words}: planted'))

    def _info(self, path: str, image_format: str) -> qemu_img_module.Info:
        file = self._open(path, image_format)
        return qemu_img_module.Info(
            format=image_format, virtual_size=file.virtual_size,
            backing_file=file.backing, backing_format=file.backing_format,
            data_file=file.data_file, bitmaps=tuple(file.bitmaps))

    def _convert(self, chain: cabc.Sequence[layer_model.Layer], path: str,
                 conversion: qemu_img_module.Conversion) -> None:
        _refuse_there(path)
        self.flat(chain, conversion.image_format).save(path)

    def flat(self, chain: cabc.Sequence[layer_model.Layer],
             image_format: str) -> fake_disk.DiskFile:
        """Return what the guest sees of a chain, as one image."""
        if chain[0].storage == layer_model.Storage.NBD:
            return self.served(chain[0], image_format)
        clusters: fake_disk.Clusters = {}
        for layer in reversed(chain):
            if (layer.storage == layer_model.Storage.BLOCK) != (
                layer.path in self._block_devices
            ):
                raise errors.StorageError(
                    reason="'file' driver requires a regular file, and "
                           f"'host_device' a device: {layer}")
            clusters.update(self._opened(layer).clusters)
        return fake_disk.DiskFile(
            image_format, self._opened(chain[0]).virtual_size,
            clusters=clusters)

    def _opened(self, layer: layer_model.Layer) -> fake_disk.DiskFile:
        if layer.storage != layer_model.Storage.RBD:
            return self._open(layer.path, layer.format)
        # Ceph keeps no one who only reads away from a disk in use.
        why = fake_disk_in_ceph.why_not_open(layer)
        if why is not None or layer.ceph is None:
            raise errors.StorageError(
                reason=f'qemu-img could not open {layer.path}: {why}')
        return fake_disk.DiskFile.load(
            fake_disk_in_ceph.file_of(layer.ceph.conf, layer.path))

    def served(self, layer: layer_model.Layer,
               image_format: str) -> fake_disk.DiskFile:
        """Return a disk that a QEMU serves, as an image."""
        described = layer.protocol()
        try:
            clusters, size = self._libvirtd.exported(
                described['server']['path'], described['export'])
        except KeyError as exc:
            raise errors.StorageError(
                reason=f'Failed to connect to {layer.path}: No such file or '
                       'directory') from exc
        return fake_disk.DiskFile(image_format, size, clusters=clusters)

    def assert_serves(self, layer: layer_model.Layer, bitmap: str) -> None:
        """Assert that a backup job serves what has changed on a disk."""
        described = layer.protocol()
        assert self._libvirtd.bitmap_of(
            described['server']['path'], described['export']) == bitmap

    def _open(self, path: str, image_format: str) -> fake_disk.DiskFile:
        if path in self._libvirtd.files_in_use():
            raise errors.StorageError(
                reason=f'qemu-img could not open {path}: Failed to get '
                       'shared "write" lock')
        try:
            file = fake_disk.DiskFile.load(path)
        except (OSError, ValueError) as exc:
            raise errors.StorageError(
                reason=f'qemu-img could not open {path}: {exc}') from exc
        if image_format == 'raw':
            # Every file is a raw image: of what is in it nothing is read.
            return fake_disk.DiskFile('raw', file.virtual_size,
                                 clusters=file.clusters)
        if image_format != file.format:
            raise errors.StorageError(
                reason=f'qemu-img could not open {path}: Image is not in '
                       f'{image_format} format')
        return file


def _refuse_there(path: str) -> None:
    """Write to no file that is there."""
    if os.path.lexists(path):
        raise errors.StorageError(
            reason=f'{path} cannot be made: File exists')


def _base(path: str) -> str:
    return path.rpartition('/')[2]
