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

"""What nova-compute, which is not root, does with a block device.

``python -m tests.with_nova.unprivileged DEVICE FOLDER``, as root: Nova's
privileged daemon is started as Nova starts it, but for sudo, and what is left
of this process is another user, whose the folder is.

The daemon must be a process of its own. One that is forked off has eventlet's
locks from this one, and real threads that wait for them for ever.

:source: oslo_privsep/daemon.py RootwrapClientChannel, ForkingClientChannel
"""

import json
import os
import pathlib
import sys

import nova.conf
import nova.privsep
from oslo_privsep import priv_context

from nova_snap.driver import devices
from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import layer as layer_model
from nova_snap import units

USER = 65534
HELPER = 'privsep-helper'
# Bytes per second: a conversion lasts until it is given up.
SLOWLY = units.MiB
STALL_SECONDS = 60


def stop(done: int, total: int) -> None:
    """Give up what has begun."""
    if done:
        raise errors.Cancelled(reason='of the test')


def main(device: str, folder: str) -> None:
    """Print what was seen, as JSON in a line of its own, the last one."""
    seen: list[str] = []
    nova.conf.CONF([], project='nova', default_config_files=[])
    context = nova.privsep.sys_admin_pctxt
    nova.conf.CONF.set_override(
        'helper_command', str(pathlib.Path(sys.executable).with_name(HELPER)),
        group=context.cfg_section)
    context.start(priv_context.Method.ROOTWRAP)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    try:
        open(device, 'rb').close()
    except PermissionError:
        seen.append('closed')
    qemu_img = devices.NovaQemuImg(30, 2 * units.GiB)
    chain = (layer_model.Layer(device, 'raw', layer_model.Storage.BLOCK),)
    seen.append(qemu_img.first_bytes(chain, units.MiB)[:4].hex())
    for number, (bandwidth, progress) in enumerate(
            ((0, lambda *_: None), (SLOWLY, stop))):
        path = os.path.join(folder, f'image-{number}')
        try:
            qemu_img.convert(
                chain, path, qemu_img_module.Conversion(
                    'qcow2', '', bandwidth, 16 * units.MiB, STALL_SECONDS),
                progress=progress)
        except errors.Cancelled:
            seen.append(f'given up {os.path.lexists(path)}')
        else:
            seen.append(str(qemu_img.info(path, 'qcow2').virtual_size))
    pipe = os.path.join(folder, 'pipe')
    os.mkfifo(pipe)
    for path in (__file__, pipe):
        try:
            qemu_img.first_bytes((layer_model.Layer(
                path, 'raw', layer_model.Storage.BLOCK),), units.MiB)
        except errors.StorageError as exc:
            seen.append(exc.reason.rpartition(' is ')[2])
    # Nova and its daemon say things of themselves, before and in between.
    print('\n' + json.dumps(seen))


if __name__ == '__main__':
    main(*sys.argv[1:])
