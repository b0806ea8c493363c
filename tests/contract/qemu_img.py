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

"""What qemu-img is asked for, the fake one and the real one."""

import typing as ty

import ddt

from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model
from nova_snap import units

SIZE = 4 * units.MiB
# As large as the clusters of qcow2 are.
CLUSTER = 64 * units.KiB
# So many are written to and read.
CLUSTERS = 4
SECTOR = 512


class Side(ty.Protocol):
    """A qemu-img, fake or real, and a folder of disks.

    :ivar tool: the product's
    """

    tool: qemu_img_module.QemuImg

    def path(self, name: str) -> str:
        """Return the path of a file that a test makes or has made."""

    def make(self, name: str, image_format: str, *,
             backing: layer_model.Layer | None = None,
             names_format: bool = True, has_data_file: bool = False
             ) -> layer_model.Layer:
        """Make a disk of SIZE.

        :param names_format: its header names the format of the backing file
        """

    def write(self, layer: layer_model.Layer, **clusters: int) -> None:
        """Fill clusters with a byte each: ``c0=1`` the first one with 1."""

    def content(self, path: str, image_format: str) -> tuple[int, ...]:
        """Return the byte of each of the first clusters, a guest's view."""

    def cut_short(self, layer: layer_model.Layer) -> None:
        """Take the end of a file with its data away."""

    def add_bitmap(self, layer: layer_model.Layer, name: str) -> None:
        """Let a qcow2 file have a bitmap."""

    def break_bitmaps(self, layer: layer_model.Layer) -> None:
        """Let a QEMU be killed that writes to a disk with bitmaps."""

    def in_use(self, layer: layer_model.Layer) -> ty.ContextManager[None]:
        """Let a QEMU write to a disk during the block."""


class QemuImgContract:
    """What the tests share."""

    side: Side

    def conversion(self, image_format: str) -> qemu_img_module.Conversion:
        return qemu_img_module.Conversion(
            image_format=image_format, compression='', bandwidth=0,
            expected=SIZE, stall_timeout=60)

    def convert(self, chain: list[layer_model.Layer],
                image_format: str) -> tuple[int, ...]:
        """Make a flat image, and return what is in it."""
        path = self.side.path(f'flat-{image_format}')
        self.side.tool.convert(chain, path, self.conversion(image_format),
                               progress=lambda done, total: None)
        return self.side.content(path, image_format)

    def chain(self) -> list[layer_model.Layer]:
        """Make an overlay of a raw file, with something in each."""
        base = self.side.make('base', 'raw')
        top = self.side.make('top', 'qcow2', backing=base)
        self.side.write(base, c0=1, c1=2)
        self.side.write(top, c1=3, c2=4)
        return [top, base]

    def assert_refused(self, call: ty.Callable[..., ty.Any],
                       *args: ty.Any) -> None:
        self.assertRaises(errors.StorageError, call, *args)


@ddt.ddt
class LookContract(QemuImgContract):

    @ddt.data('raw', 'qcow2')
    def test_one_file_has_the_format_and_size_it_was_made_with(self, named):
        layer = self.side.make('disk', named)
        info = self.side.tool.info(layer.path, named)
        self.assertEqual(
            (named, SIZE, None, None, None),
            (info.format, info.virtual_size, info.backing_file,
             info.backing_format, info.data_file))

    @ddt.data('raw', 'qcow2')
    def test_an_overlay_names_what_is_below(self, below):
        base = self.side.make('base', below)
        top = self.side.make('top', 'qcow2', backing=base)
        info = self.side.tool.info(top.path, 'qcow2')
        self.assertEqual((base.path, below),
                         (info.backing_file, info.backing_format))

    def test_an_overlay_may_name_no_format(self):
        top = self.side.make('top', 'qcow2', names_format=False,
                             backing=self.side.make('base', 'raw'))
        self.assertIsNone(
            self.side.tool.info(top.path, 'qcow2').backing_format)

    def test_a_data_file_is_told(self):
        layer = self.side.make('disk', 'qcow2', has_data_file=True)
        self.assertIsNotNone(
            self.side.tool.info(layer.path, 'qcow2').data_file)

    def test_called_raw_a_header_says_nothing(self):
        top = self.side.make('top', 'qcow2',
                             backing=self.side.make('base', 'raw'))
        info = self.side.tool.info(top.path, 'raw')
        self.assertEqual(('raw', None), (info.format, info.backing_file))

    def test_called_what_it_is_not_it_is_refused(self):
        layer = self.side.make('disk', 'raw')
        self.assert_refused(self.side.tool.info, layer.path, 'qcow2')
        self.assert_refused(self.side.tool.is_cut_short, layer.path)

    def test_what_is_not_there_is_refused(self):
        self.assert_refused(self.side.tool.info, self.side.path('no'), 'raw')
        self.assertIsNone(self.side.tool.measure(
            [layer_model.Layer(self.side.path('no'), 'raw')]))

    def test_what_a_qemu_writes_to_is_refused(self):
        top, base = self.chain()
        with self.side.in_use(top):
            self.assert_refused(self.side.tool.info, top.path, 'qcow2')
            self.assert_refused(self.side.tool.is_cut_short, top.path)
            self.assert_refused(self.side.tool.first_bytes, [top, base],
                                SIZE)
            self.assert_refused(self.convert, [top, base], 'raw')
            self.assertIsNone(self.side.tool.measure([top, base]))
            # What is below it may be looked at.
            self.side.tool.info(base.path, 'raw')
        self.side.tool.info(top.path, 'qcow2')

    def test_one_that_has_lost_its_end_is_told_from_one_that_has_it(self):
        layer = self.side.make('disk', 'qcow2')
        self.side.write(layer, c0=1, c3=1)
        self.assertIs(False, self.side.tool.is_cut_short(layer.path))
        self.side.cut_short(layer)
        self.assertIs(True, self.side.tool.is_cut_short(layer.path))

    def test_a_measure_counts_what_is_in_all_layers(self):
        chain = self.chain()
        measured = self.side.tool.measure(chain)
        self.assertLessEqual(3 * CLUSTER, measured)
        self.assertGreater(SIZE, measured)

    def test_a_disk_begins_as_the_guest_sees_it(self):
        top, base = self.chain()

        def first(*chain):
            return self.side.tool.first_bytes(chain, SIZE)[:SECTOR]

        self.assertEqual(bytes([1]) * SECTOR, first(top, base))
        self.side.write(top, c0=5)
        self.assertEqual(bytes([5]) * SECTOR, first(top, base))
        self.assertEqual(bytes([1]) * SECTOR, first(base))


@ddt.ddt
class WriteContract(QemuImgContract):

    @ddt.data('raw', 'qcow2')
    def test_a_flat_image_has_what_the_guest_sees(self, image_format):
        self.assertEqual((1, 3, 4, 0),
                         self.convert(self.chain(), image_format))
        info = self.side.tool.info(
            self.side.path(f'flat-{image_format}'), image_format)
        self.assertEqual((SIZE, None), (info.virtual_size, info.backing_file))

    def test_below_is_what_the_caller_names_and_not_what_a_header_does(self):
        top, _ = self.chain()
        other = self.side.make('other', 'raw')
        self.side.write(other, c0=7)
        self.assertEqual((7, 3, 4, 0), self.convert([top, other], 'raw'))

    def test_a_layer_of_another_format_is_refused(self):
        top, base = self.chain()
        self.assert_refused(
            self.convert,
            [top, layer_model.Layer(base.path, 'qcow2')], 'raw')

    def test_an_overlay_that_is_made_has_nothing_of_its_own(self):
        _, base = self.chain()
        path = self.side.path('delta')
        self.side.tool.create_overlay(path, SIZE, base)
        self.assertEqual((1, 2, 0, 0), self.side.content(path, 'qcow2'))
        info = self.side.tool.info(path, 'qcow2')
        self.assertEqual((SIZE, base.path, 'raw'),
                         (info.virtual_size, info.backing_file,
                          info.backing_format))

    def test_an_overlay_of_nothing_is_empty(self):
        path = self.side.path('delta')
        self.side.tool.create_overlay(path, SIZE, None)
        self.assertEqual((0, 0, 0, 0), self.side.content(path, 'qcow2'))
        self.assertIsNone(
            self.side.tool.info(path, 'qcow2').backing_file)

    def test_no_file_that_is_there_is_written_to(self):
        top, base = self.chain()
        self.assert_refused(self.side.tool.create_overlay, base.path, SIZE,
                            None)
        self.assert_refused(
            lambda: self.side.tool.convert(
                [top, base], base.path, self.conversion('raw'),
                progress=lambda done, total: None))
        self.assertEqual((1, 3, 4, 0), self.side.content(top.path, 'qcow2'))

    @ddt.data(False, True)
    def test_a_bitmap_is_removed_also_one_that_is_broken(self, is_broken):
        top, _ = self.chain()
        self.side.add_bitmap(top, 'one')
        self.side.add_bitmap(top, 'two')
        if is_broken:
            self.side.break_bitmaps(top)
        before = self.side.content(top.path, 'qcow2')
        self.assertEqual({'one', 'two'}, self.bitmaps(top))
        self.side.tool.remove_bitmap(top.path, 'two')
        self.assertEqual({'one'}, self.bitmaps(top))
        self.assertEqual(before, self.side.content(top.path, 'qcow2'))
        self.assert_refused(self.side.tool.remove_bitmap, top.path, 'two')

    def test_none_is_removed_from_a_disk_in_use(self):
        layer = self.side.make('disk', 'qcow2')
        self.side.add_bitmap(layer, 'one')
        with self.side.in_use(layer):
            self.assert_refused(self.side.tool.remove_bitmap, layer.path,
                                'one')
        self.assertEqual({'one'}, self.bitmaps(layer))

    def bitmaps(self, layer: layer_model.Layer) -> set[str]:
        return set(self.side.tool.info(layer.path, 'qcow2').bitmaps)
