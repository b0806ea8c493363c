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

"""A Ceph that is a folder: its ceph.conf, and a folder for each pool.

An image is a disk file there. A guest's QEMU finds the folder by the
``<config>`` of its disk, and every other program by the same file.
"""

import pathlib

from nova_snap.model import layer as layer_model

CONF = 'ceph/ceph.conf'
POOL = 'vms'
# The one user that has a key.
USER = 'cinder'


def file_of(conf: str, name: str) -> str:
    """Return the file that an image is.

    :param name: POOL/IMAGE
    """
    return str(pathlib.Path(conf).parent / name)


def why_not_open(layer: layer_model.Layer) -> str | None:
    """Say what QEMU's rbd driver says of an image that it cannot open."""
    ceph = layer.ceph or layer_model.CephClient()
    if not pathlib.Path(ceph.conf).is_file():
        return (f'error reading conf file {ceph.conf}: No such file or '
                'directory')
    if ceph.user != USER:
        return 'error connecting: Permission denied'
    image = pathlib.Path(file_of(ceph.conf, layer.path))
    if not image.parent.is_dir():
        return f'error opening pool {layer.pool}: No such file or directory'
    if not image.is_file():
        return (f'error reading header from {layer.image}: No such file or '
                'directory')
    return None
