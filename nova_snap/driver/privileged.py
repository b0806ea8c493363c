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

"""What root does for nova-compute, on block devices: all of it.

Other users cannot open them. Each function runs in Nova's privileged daemon,
which calls what was registered with Nova's context and nothing else. It opens
what is a block device, to read.

:source: nova/privsep/__init__.py sys_admin_pctxt; oslo.privsep daemon.py
    Daemon._process_cmd
"""

import collections.abc as cabc
import os
import stat
import typing as ty

import nova.privsep

from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap import lookup
from nova_snap.model import layer as layer_model

Function = ty.TypeVar('Function', bound=cabc.Callable[..., ty.Any])


def _as_root(function: Function) -> Function:
    """Register a function with Nova's context; it is called by root there."""
    return ty.cast(Function,
                   nova.privsep.sys_admin_pctxt.entrypoint(function))


@_as_root
def first_bytes(device: str, length: int) -> bytes:
    """Return how a block device begins.

    :raises OSError: when it cannot be read, or is no block device
    """
    with lookup.opened(device) as file:
        if not stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
            raise OSError(f'{device} is no block device')
        return file.read(length)


@_as_root
def convert(device: str, path: str, image_format: str, compression: str,
            bandwidth: int, stall_timeout: int) -> str:
    """Write a raw block device into an image.

    It is given up as soon as the image is removed.

    :param path: of the image; it is root's, and not there yet
    :returns: why it could not be written; '' when it was
    """
    def check(done: int, total: int) -> None:
        if not os.path.lexists(path):
            raise errors.Cancelled(reason=f'{path} was removed')

    layer = layer_model.Layer(device, 'raw', layer_model.Storage.BLOCK)
    conversion = qemu_img_module.Conversion(
        image_format=image_format, compression=compression,
        bandwidth=bandwidth, expected=0, stall_timeout=stall_timeout)
    try:
        # No look into a file is asked of it: no limits are needed.
        qemu_img_module.QemuImg(0, 0).convert((layer,), path, conversion,
                                              progress=check)
    except errors.SnapError as exc:
        return str(exc)
    return ''
