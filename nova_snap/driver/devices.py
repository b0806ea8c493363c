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

"""qemu-img for nova-compute, which cannot open block devices."""

import collections.abc as cabc
import contextlib
import os
import threading

import nova.privsep.path

from nova_snap.driver import privileged
from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import layer as layer_model

Chain = cabc.Sequence[layer_model.Layer]


class NovaQemuImg(qemu_img_module.QemuImg):
    """It reads a raw block device through Nova's privileged daemon."""

    def measure(self, chain: Chain) -> int | None:
        return None if _is_device(chain) else super().measure(chain)

    def first_bytes(self, chain: Chain, virtual_size: int) -> bytes:
        if not _is_device(chain):
            return super().first_bytes(chain, virtual_size)
        device = chain[0].path
        try:
            return privileged.first_bytes(
                device, min(virtual_size, first_bytes_model.LENGTH))
        except OSError as exc:
            raise errors.StorageError(
                reason=f'{device} cannot be read: {exc}') from exc

    def convert(self, chain: Chain, path: str,
                conversion: qemu_img_module.Conversion, *,
                progress: qemu_img_module.Progress) -> None:
        if not _is_device(chain):
            super().convert(chain, path, conversion, progress=progress)
            return
        with _Watched(path, conversion, progress).watched():
            why = privileged.convert(
                chain[0].path, path, conversion.image_format,
                conversion.compression, conversion.bandwidth,
                conversion.stall_timeout)
            if why:
                raise errors.StorageError(reason=why)
        nova.privsep.path.chown(path, uid=os.geteuid())


def _is_device(chain: Chain) -> bool:
    return (len(chain) == 1 and chain[0].format == 'raw'
            and chain[0].storage == layer_model.Storage.BLOCK)


class _Watched:
    """An image that root writes, and that can be given up."""

    def __init__(self, path: str, conversion: qemu_img_module.Conversion,
                 progress: qemu_img_module.Progress) -> None:
        self._path = path
        self._expected = conversion.expected
        self._progress = progress
        self._done = threading.Event()
        self._stopped: errors.SnapError | None = None

    @contextlib.contextmanager
    def watched(self) -> cabc.Iterator[None]:
        """Report progress for the block, and end it when it must not go on.

        :raises SnapError: what the progress raised, to stop it
        """
        self._progress(0, self._expected)
        thread = threading.Thread(target=self._watch, name='qemu-img',
                                  daemon=True)
        thread.start()
        try:
            yield
        except errors.StorageError as exc:
            if self._stopped is not None:
                raise self._stopped from exc
            raise
        finally:
            self._done.set()
            thread.join()
        if self._stopped is not None:
            # All of it was there by then.
            raise self._stopped

    def _watch(self) -> None:
        while not self._done.wait(qemu_img_module.PROGRESS_SECONDS):
            written = qemu_img_module.written_bytes(self._path)
            try:
                self._progress(min(written, self._expected), self._expected)
            except errors.SnapError as exc:
                self._stopped = self._stopped or exc
                # The directory is ours: the other process sees it.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path)
