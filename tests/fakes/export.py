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

"""A disk at rest that is sent as it is read, on the fakes' disk files."""

import collections.abc as cabc
import contextlib

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.model import extents as extents_model
from nova_snap.model import layer as layer_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import stream
from nova_snap.steps import export as export_module
from nova_snap.transfer import disk as disk_module
from tests.fakes import calls as fake_calls
from tests.fakes import qemu_img as fake_qemu_img

OUTSIDE = 'qemu-nbd'
SERVED_BYTES = 4096


class FakeExports(export_module.Exports):
    """It opens what the fake qemu-img opens, and refuses what that does."""

    def __init__(self, qemu_img: fake_qemu_img.FakeQemuImg,
                 calls: fake_calls.Calls) -> None:
        self._qemu_img = qemu_img
        self._calls = calls

    @contextlib.contextmanager
    def source(self, chain: cabc.Sequence[layer_model.Layer], *,
               image_format: str, virtual_size: int, socket: str,
               bandwidth: int, clock: clock_module.Clock,
               bitmap: str = '') -> cabc.Iterator[stream.Source]:
        if chain[0].storage == layer_model.Storage.NBD:
            yield self._served(chain[0], image_format, bandwidth, clock,
                               bitmap)
            return

        def serve() -> bytes:
            return self._qemu_img.flat(chain, image_format).to_bytes()

        words = ' '.join(f'{layer.path.rpartition("/")[2]}:{layer.format}'
                         for layer in chain)
        data = self._calls.make(
            OUTSIDE, 'serve', serve, words=f'{words} {image_format}',
            error=lambda: errors.StorageError(
                reason=f'qemu-nbd could not serve {words}: planted'))
        yield disk_module.DiskSource(
            Whole(data), lambda: contextlib.nullcontext(Disk(data)),
            bandwidth=bandwidth, clock=clock)

    def _served(self, layer: layer_model.Layer, image_format: str,
                bandwidth: int, clock: clock_module.Clock,
                bitmap: str) -> stream.Source:
        socket, export = layer.export()

        def ask() -> bytes:
            # As long as at any other moment: a clone has that size.
            return self._qemu_img.served(
                layer, image_format).to_bytes().ljust(SERVED_BYTES)

        data = self._calls.make(
            'nbd', 'extents', ask, words=f'{export} {image_format}',
            changes=False, error=lambda: errors.ExportFailed(
                path=socket, export=export, reason='planted'))

        def connect() -> contextlib.AbstractContextManager[Disk]:
            try:
                ask()
            except errors.StorageError as exc:
                raise errors.ExportFailed(
                    path=socket, export=export, reason=str(exc)) from exc
            return contextlib.nullcontext(Disk(data))

        changed = None
        if bitmap:
            self._qemu_img.assert_serves(layer, bitmap)
            changed = [extents_model.Extent(0, len(data), False)]
        return disk_module.DiskSource(Whole(data), connect, changed=changed,
                                      bandwidth=bandwidth, clock=clock)


class Whole:
    """An image that is the disk from end to end."""

    def __init__(self, data: bytes) -> None:
        self.size_bytes = len(data)

    def pieces(self) -> cabc.Iterator[pieces_model.Piece]:
        yield pieces_model.OfDisk(0, self.size_bytes)


class Disk:
    """A disk whose bytes are those of the image."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, ranges: cabc.Iterable[disk_module.Range]
             ) -> cabc.Iterator[memoryview]:
        for offset, length in ranges:
            yield memoryview(self._data)[offset:offset + length]

    def settle(self) -> None:
        """Do nothing: nothing is under way."""
