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
import typing as ty

import fixtures
from oslotest import base

from nova_snap.model import layer as layer_model
from tests.contract import qemu_img
from tests.fakes import calls as fake_calls
from tests.fakes import disk as fake_disk
from tests.fakes import qemu_img as fake_qemu_img


class InUse:
    """A libvirtd, as far as the fake qemu-img looks at it."""

    def __init__(self) -> None:
        self.paths: set[str] = set()

    def files_in_use(self) -> set[str]:
        return self.paths


class FakeSide:
    """The fake qemu-img and its files."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._libvirtd = InUse()
        self.tool = fake_qemu_img.FakeQemuImg(
            ty.cast(ty.Any, self._libvirtd),
            fake_calls.Calls(before_each=lambda: None), ())

    def path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def make(self, name: str, image_format: str, *,
             backing: layer_model.Layer | None = None,
             names_format: bool = True,
             has_data_file: bool = False) -> layer_model.Layer:
        layer = layer_model.Layer(self.path(name), image_format)
        fake_disk.DiskFile(
            image_format, qemu_img.SIZE, backing=backing and backing.path,
            backing_format=(backing.format if backing and names_format
                            else None),
            data_file='data' if has_data_file else None).save(layer.path)
        return layer

    def write(self, layer: layer_model.Layer, **clusters: int) -> None:
        file = fake_disk.DiskFile.load(layer.path)
        for name, value in clusters.items():
            file.clusters[name] = str(value)
            if name == 'c0':
                file.begin(bytes([value]) * qemu_img.SECTOR)
        file.save(layer.path)

    def content(self, path: str, image_format: str) -> tuple[int, ...]:
        found = fake_disk.content(path, image_format)
        return tuple(int(found.get(f'c{number}', 0))
                     for number in range(qemu_img.CLUSTERS))

    def cut_short(self, layer: layer_model.Layer) -> None:
        file = fake_disk.DiskFile.load(layer.path)
        file.is_cut_short = True
        file.save(layer.path)

    def add_bitmap(self, layer: layer_model.Layer, name: str) -> None:
        file = fake_disk.DiskFile.load(layer.path)
        file.bitmaps.append(name)
        file.save(layer.path)

    def break_bitmaps(self, layer: layer_model.Layer) -> None:
        """Do nothing: of the fake's each one can be removed."""

    @contextlib.contextmanager
    def in_use(self, layer: layer_model.Layer) -> cabc.Iterator[None]:
        self._libvirtd.paths.add(layer.path)
        try:
            yield
        finally:
            self._libvirtd.paths.remove(layer.path)


class FakeTestCase(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.side: ty.Any = FakeSide(
            self.useFixture(fixtures.TempDir()).path)


class FakeLookTest(qemu_img.LookContract, FakeTestCase):
    pass


class FakeWriteTest(qemu_img.WriteContract, FakeTestCase):
    pass
