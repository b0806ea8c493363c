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

"""Where the guests' disks are, and what a snapshot's image inherits."""

from oslo_config import cfg

# [DEFAULT]
GROUP = None

OPTS: list[cfg.Opt] = [
    cfg.StrOpt('compute_driver',
               help="""
The driver by which nova-compute manages the guests of this host.

The guests are not affected. With ``nova_snap.LibvirtDriver`` the snapshots
that are asked of Nova are taken by this package; the nova-snap command reads
it to tell whether Nova finds that driver.

Possible values:

* ``nova_snap.LibvirtDriver``, or a driver of Nova's own
"""),
    cfg.StrOpt('instances_path',
               default='$state_path/instances',
               sample_default='$state_path/instances',
               help="""
Where the disks of the guests are stored on this host.

A snapshot is made in a directory below it, unless
``[libvirt]snapshots_directory`` says otherwise. It has to be the value that
nova-compute uses on this host, and may be on NFS.

Possible values:

* The full path of a directory.

Related options:

* ``state_path``
* ``[libvirt]snapshots_directory``
"""),
    cfg.ListOpt('non_inheritable_image_properties',
                default=['cache_in_nova', 'bittorrent'],
                help="""
Image properties that the image of a snapshot does not inherit.

The guest is not affected. A property of the image from which the guest was
made is copied to the image of its snapshot, unless it is named here. The
properties of signed images (``img_signature`` and the others) and of volume
encryption keys (``cinder_encryption_key_id`` and the other) are never
copied, named here or not.

Possible values:

* A comma-separated list of image properties.
"""),
]
