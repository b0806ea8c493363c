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

"""The bitmaps of ours in disks that Nova has moved, and is to resize.

They are of use on the host alone that made them, and for a disk of the same
size: an image after a resize or a cold migration is written whole.
"""

import json

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.host import qemu_img as qemu_img_module
from nova_snap.model import checkpoint as checkpoint_model

LOG = logging.getLogger(__name__)

QCOW2 = 'qcow2'


def remove_ours(qemu_img: qemu_img_module.QemuImg, disk_info: str) -> None:
    """Remove them from the disks of a guest that is off.

    QEMU leaves a bitmap broken when it is killed, and resizes no disk that
    has one. Nova goes on whatever happens here.

    :param disk_info: what Nova says of the disks, as JSON
    :source: QEMU block/qcow2-bitmap.c qcow2_truncate_bitmaps_check;
        nova/virt/libvirt/driver.py _get_instance_disk_info_from_config
    """
    try:
        paths = [disk['path'] for disk in json.loads(disk_info)
                 if disk['type'] == QCOW2]
    except (ValueError, KeyError, TypeError) as exc:
        LOG.debug('Nova describes the disks in another way: %s', exc)
        return
    for path in paths:
        try:
            _remove(qemu_img, path)
        except errors.SnapError as exc:
            LOG.warning('Bitmaps of ours may be left in %s: %s. Where Nova '
                        'cannot resize it for one, remove that by "qemu-img '
                        'bitmap --remove"', path, exc)


def _remove(qemu_img: qemu_img_module.QemuImg, path: str) -> None:
    for name in qemu_img.info(path, QCOW2).bitmaps:
        if name.startswith(checkpoint_model.PREFIX):
            qemu_img.remove_bitmap(path, name)
            LOG.info('Removed bitmap %s from %s', name, path)
