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

import collections.abc as cabc
import contextlib
import os
import pathlib
import signal
import subprocess
import typing as ty

import fixtures
from oslotest import base

from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model
from nova_snap import units
from tests.contract import qemu_img
from tests.lab import errors
from tests.lab import process


class RealSide:
    """The machine's qemu-img, with Nova's limits for a look."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.tool = qemu_img_module.QemuImg(
            cpu_time=30, address_space=units.GiB)

    def path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def make(self, name: str, image_format: str, *,
             backing: layer_model.Layer | None = None,
             names_format: bool = True,
             has_data_file: bool = False) -> layer_model.Layer:
        layer = layer_model.Layer(self.path(name), image_format)
        command = ['qemu-img', 'create', '-q', '-f', image_format]
        if has_data_file:
            command += ['-o', f'data_file={self.path("data")}']
        if backing is not None:
            command += ['-u', '-F', backing.format, '-b', backing.path]
        process.run([*command, layer.path, str(qemu_img.SIZE)])
        if not names_format:
            # As Nova made them before its release 21.
            path = pathlib.Path(layer.path)
            path.write_bytes(path.read_bytes().replace(
                0xe2792aca.to_bytes(4, 'big'), b'none', 1))
        return layer

    def write(self, layer: layer_model.Layer, **clusters: int) -> None:
        commands: list[str] = []
        for name, value in clusters.items():
            offset = int(name.removeprefix('c')) * qemu_img.CLUSTER
            commands += ['-c', f'write -P {value} {offset} '
                               f'{qemu_img.CLUSTER}']
        process.run(['qemu-io', '-f', layer.format, *commands, layer.path])

    def content(self, path: str, image_format: str) -> tuple[int, ...]:
        raw = pathlib.Path(f'{path}.raw')
        process.run(['qemu-img', 'convert', '-f', image_format, '-O', 'raw',
                     path, str(raw)])
        content = raw.read_bytes()
        raw.unlink()
        found = []
        for number in range(qemu_img.CLUSTERS):
            cluster = content[number * qemu_img.CLUSTER:][:qemu_img.CLUSTER]
            (value,) = set(cluster)
            found.append(value)
        return tuple(found)

    def cut_short(self, layer: layer_model.Layer) -> None:
        os.truncate(layer.path,
                    os.path.getsize(layer.path) - qemu_img.CLUSTER)

    def add_bitmap(self, layer: layer_model.Layer, name: str) -> None:
        process.run(['qemu-img', 'bitmap', '-f', layer.format, '--add',
                     layer.path, name])

    def break_bitmaps(self, layer: layer_model.Layer) -> None:
        # It is killed by itself, as soon as it has written.
        died = subprocess.run(
            ['qemu-io', '-f', layer.format, '-c',
             f'write -P 3 {qemu_img.CLUSTER} {qemu_img.CLUSTER}', '-c',
             'abort', layer.path], capture_output=True)
        assert died.returncode == -signal.SIGABRT, died

    @contextlib.contextmanager
    def in_use(self, layer: layer_model.Layer) -> cabc.Iterator[None]:
        with subprocess.Popen(
                ['qemu-io', '-f', layer.format, layer.path], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin and holder.stdout
            holder.stdin.write('length\n')
            holder.stdin.flush()
            # It answers when it has opened the file.
            assert holder.stdout.readline()
            try:
                yield
            finally:
                holder.stdin.close()


class RealTestCase(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.side: ty.Any = RealSide(
            self.useFixture(fixtures.TempDir()).path)


class RealLookTest(qemu_img.LookContract, RealTestCase):
    pass


class RealWriteTest(qemu_img.WriteContract, RealTestCase):

    def resize(self, layer: layer_model.Layer, size: int) -> None:
        process.run(['qemu-img', 'resize', '-q', '-f', layer.format,
                     layer.path, str(size)])

    def test_a_disk_with_a_broken_bitmap_is_resized_without_it(self) -> None:
        """As Nova resizes one; one that is whole is not in the way."""
        layer = self.side.make('disk', 'qcow2')
        self.side.add_bitmap(layer, 'one')
        self.resize(layer, 2 * qemu_img.SIZE)
        self.side.break_bitmaps(layer)
        error = self.assertRaises(errors.LabError, self.resize, layer,
                                  3 * qemu_img.SIZE)
        self.assertIn('bitmap', str(error))
        self.side.tool.remove_bitmap(layer.path, 'one')
        self.resize(layer, 3 * qemu_img.SIZE)


class AnothersTestCase(RealTestCase):
    """Root reads in the directory of another user, by descriptors."""

    def setUp(self) -> None:
        super().setUp()
        os.chown(self.side.path(''), 4242, 4242)


class AnothersLookTest(qemu_img.LookContract, AnothersTestCase):

    def test_a_backing_file_next_to_it_is_found(self) -> None:
        base_layer = self.side.make('base', 'raw')
        top = self.side.make('top', 'qcow2', backing=layer_model.Layer(
            'base', 'raw'))
        info = self.side.tool.info(top.path, 'qcow2')
        self.assertEqual(base_layer.path, info.backing_file)
        self.assertIs(False, self.side.tool.is_cut_short(top.path))


class AnothersWriteTest(qemu_img.WriteContract, AnothersTestCase):
    pass
