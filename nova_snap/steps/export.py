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

"""A disk at rest as an image that is made while it is sent."""

import collections.abc as cabc
import contextlib

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.model import layer as layer_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import qcow2 as qcow2_model
from nova_snap.model import stream
from nova_snap.transfer import disk as disk_module
from nova_snap.transfer import nbd

LAYOUTS: dict[str, type[pieces_model.Raw] | type[qcow2_model.Qcow2]] = {
    'raw': pieces_model.Raw, 'qcow2': qcow2_model.Qcow2}


class Exports:
    """Serves chains of layers, and reads them."""

    def __init__(self, qemu_nbd: qemu_nbd_module.QemuNbd) -> None:
        self._qemu_nbd = qemu_nbd

    @contextlib.contextmanager
    def source(self, chain: cabc.Sequence[layer_model.Layer], *,
               image_format: str, virtual_size: int, socket: str,
               bandwidth: int, clock: clock_module.Clock
               ) -> cabc.Iterator[stream.Source]:
        """Have an image of a chain for the block; it is read as it is sent.

        :param chain: layers that nothing writes to, the active one first
        :param image_format: one of LAYOUTS
        :param virtual_size: bytes that the guest sees
        :param socket: a path for the block alone
        :param bandwidth: bytes per second; 0 is no limit
        :raises StorageError: when a layer cannot be opened or is in use, and
            when the disk is shorter than the guest's
        """
        with self._qemu_nbd.serving(chain, socket):
            yield self.served(
                socket, '', image_format=image_format,
                virtual_size=virtual_size, bandwidth=bandwidth, clock=clock)

    def served(self, socket: str, export: str, *, image_format: str,
               virtual_size: int, bandwidth: int,
               clock: clock_module.Clock) -> stream.Source:
        """Return an image of a disk that a server has; see :meth:`source`.

        :param export: the name of the disk there; '' is the default one
        :raises StorageError: when it cannot be read, or is shorter than the
            guest's
        """
        def connect() -> nbd.Export:
            return nbd.Export(socket, export)

        with connect() as disk:
            size, extents = disk.size_bytes, disk.extents()
        if size < virtual_size:
            raise errors.StorageError(
                reason=f'{export or "The disk"} at {socket} holds {size} '
                       f'bytes of a disk of {virtual_size}')
        return disk_module.DiskSource(
            LAYOUTS[image_format](size, extents), connect,
            bandwidth=bandwidth, clock=clock)
