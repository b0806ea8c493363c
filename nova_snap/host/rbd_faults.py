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

"""What QEMU's rbd driver says when it cannot open an image, and the remedy.

It says little: "Permission denied" for a key that is missing and for one
that is wrong.

:source: QEMU block/rbd.c qemu_rbd_connect, qemu_rbd_open
"""

from nova_snap.model import ceph as ceph_model
from nova_snap.model import layer as layer_model
from nova_snap.model import remedy

# How its faults begin, in the order in which it opens an image.
OPENS = 'Could not open'
NO_DRIVER = "Unknown driver 'rbd'"
NO_CONF = 'error reading conf file'
NO_CLUSTER = 'error connecting'
NO_POOL = 'error opening pool'
NO_IMAGE = 'error reading header from'
DENIED = ('Permission denied', 'Operation not permitted')
ABSENT = 'No such file or directory'


def explained(said: str, layer: layer_model.Layer) -> str:
    """Return what QEMU said with what to do, if that is known.

    Of a layer elsewhere it is what was said.

    :param said: by a program of QEMU's that was to open the layer
    """
    if layer.storage != layer_model.Storage.RBD or OPENS not in said:
        return said
    # It repeats the whole description, with its quotes.
    what = said.rpartition("}': ")[2].strip()
    todo = _todo(what, layer)
    return f'{what}. {todo}' if todo else what


def _todo(what: str, layer: layer_model.Layer) -> str:
    ceph = layer.ceph or layer_model.CephClient()
    user = ceph_model.client(ceph.user)
    conf = ceph.conf or ceph_model.DEFAULT_CONF
    if NO_DRIVER in what:
        return ('Install QEMU\'s driver: the package qemu-block-extra '
                '(Debian, Ubuntu) or qemu-kvm-block-rbd')
    if NO_CONF in what:
        return ('Put it there, or name another one in '
                '[libvirt]images_rbd_ceph_conf')
    if NO_CLUSTER in what and (what.endswith(DENIED) or ABSENT in what):
        return (f'{conf} has to name the monitors of '
                f'this Ceph, and the keyring of {user}, such as '
                f'/etc/ceph/ceph.{user}.keyring, has to be on this host and '
                'readable; where the administrator of Ceph signs in, this '
                'writes it: ' + remedy.command(
                    'ceph', 'auth', 'get', user, '-o',
                    f'ceph.{user}.keyring'))
    if NO_POOL in what and ABSENT in what:
        return f'Does {conf} name another Ceph?'
    if NO_IMAGE in what and what.endswith(DENIED):
        return (f'{user} lacks the caps to read pool {layer.pool}; "ceph auth '
                f'get {user}" shows those that it has, and "ceph auth caps" '
                f"sets them all: it needs mon 'profile rbd' and osd 'profile "
                f"rbd pool={layer.pool}'")
    return ''
