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

"""A disk that nothing writes to, as an image that is made while it is sent."""

import collections.abc as cabc
import contextlib
import functools

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.host import qemu_nbd as qemu_nbd_module
from nova_snap.model import extents as extents_model
from nova_snap.model import layer as layer_model
from nova_snap.model import pieces as pieces_model
from nova_snap.model import qcow2 as qcow2_model
from nova_snap.model import stream
from nova_snap.transfer import disk as disk_module
from nova_snap.transfer import nbd

LAYOUTS: dict[str, type[pieces_model.Raw] | type[qcow2_model.Qcow2]] = {
    'raw': pieces_model.Raw, 'qcow2': qcow2_model.Qcow2}


class Exports:
    """Reads disks that are served, and serves those that are not."""

    def __init__(self, qemu_nbd: qemu_nbd_module.QemuNbd) -> None:
        self._qemu_nbd = qemu_nbd

    @contextlib.contextmanager
    def source(self, chain: cabc.Sequence[layer_model.Layer], *,
               image_format: str, virtual_size: int, socket: str,
               bandwidth: int, clock: clock_module.Clock,
               bitmap: str = '') -> cabc.Iterator[stream.Source]:
        """Have an image of a chain for the block; it is read as it is sent.

        :param chain: layers that nothing writes to, the active one first; or
            a disk that is served already
        :param image_format: one of LAYOUTS
        :param virtual_size: bytes that the guest sees
        :param socket: a path for the block alone
        :param bandwidth: bytes per second; 0 is no limit
        :param bitmap: of a disk that is served, what has changed in it
        :raises StorageError: when a layer cannot be opened or is in use, and
            when the disk is shorter than the guest's
        """
        with contextlib.ExitStack() as serving:
            if chain[0].storage == layer_model.Storage.NBD:
                connect = functools.partial(nbd.Export, *chain[0].export())
            else:
                connect = functools.partial(
                    nbd.Export, serving.enter_context(
                        self._qemu_nbd.serving(chain, socket)))
            with connect() as disk:
                size, extents = disk.size_bytes, disk.extents()
            if size < virtual_size:
                raise errors.StorageError(
                    reason=f'{chain[0].path} is served with {size} bytes of '
                           f'a disk of {virtual_size}')
            changed = None
            if bitmap:
                with connect(bitmap=bitmap) as disk:
                    changed = extents_model.Changes(extents,
                                                    disk.unchanged())
            yield disk_module.DiskSource(
                LAYOUTS[image_format](size, extents), connect,
                changed=changed, bandwidth=bandwidth, clock=clock)
