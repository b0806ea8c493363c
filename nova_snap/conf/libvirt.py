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

"""What Nova's [libvirt] group says about snapshots."""

from oslo_config import cfg

GROUP = cfg.OptGroup('libvirt',
                     title='Libvirt Options',
                     help="""
The options of Nova's libvirt driver that a snapshot depends on. They have
Nova's names and defaults, so that one nova.conf serves both.
""")

OPTS: list[cfg.Opt] = [
    cfg.StrOpt('virt_type',
               default='kvm',
               choices=('kvm', 'lxc', 'qemu', 'parallels'),
               help="""
The kind of guests on this host.

A guest of type ``kvm`` or ``qemu`` can be snapshotted; the others are
refused before they are touched.

Related options:

* ``connection_uri``: its default depends on this
"""),
    cfg.StrOpt('connection_uri',
               default='',
               help="""
The libvirt in which the guests are looked for.

Possible values:

* A URI such as ``qemu:///system``. When it is empty, the default is the
  local one for ``virt_type``: ``qemu:///system`` for ``kvm`` and ``qemu``.

Related options:

* ``virt_type``
"""),
    cfg.StrOpt('snapshots_directory',
               default='$instances_path/snapshots',
               help="""
Where a guest's delta and the finished image are put until they are uploaded.

While a live snapshot is made, QEMU itself writes the guest's data into a
directory below this one. The file system needs room for them: see
``[nova_snap]space_reserve``. Only the default is made when it is missing; a
directory that was named here has to exist, and QEMU's user has to be able
to enter it.

Possible values:

* The full path of a directory.

Related options:

* ``instances_path``
* ``[nova_snap]space_reserve``
"""),
    cfg.StrOpt('snapshot_image_format',
               choices=[
                   ('raw', 'RAW disk format'),
                   ('qcow2', 'KVM default disk format'),
                   ('vmdk', 'VMWare default disk format'),
                   ('vdi', 'VirtualBox default disk format'),
               ],
               help="""
The disk format of the images that snapshots leave in Glance.

The guest is not affected. When it is not set, an image has the format of the
guest's root disk, as the definition of the guest has it.

Related options:

* ``snapshot_compression``
"""),
    cfg.BoolOpt('snapshot_compression',
                default=False,
                help="""
Compress the images of snapshots.

The guest is not affected: the work is done after its disk was copied, and
takes processor time on this host. Only images in the format ``qcow2`` are
compressed; others are left as they are.

Related options:

* ``snapshot_image_format``: set it to ``qcow2`` to have all compressed
"""),
    cfg.IntOpt('images_cpu_time_limit',
               default=30,
               help="""
Processor time in seconds that one look at an image may take.

The guest is not affected. An image is inspected by ``qemu-img info``, which
is ended when it takes more: a file that was made to exhaust it costs no
more than this.

Possible values:

* A number of seconds, at least 1.
"""),
    cfg.IntOpt('images_address_space_limit',
               default=2,
               help="""
Memory in GiB that one look at an image may take.

The guest is not affected. An image is inspected by ``qemu-img info``, which
fails when it needs more address space.

Possible values:

* A number of GiB, at least 1.
"""),
    cfg.StrOpt('rbd_user',
               help="""
The user of Ceph that root disks in Ceph are read as.

The guest is not affected. It is the user that Nova is; the name has no
``client.`` before it. Its key is read from the keyring that ``ceph.conf``
names, by default ``/etc/ceph/ceph.client.USER.keyring``: the secret that
libvirt has for the guests' QEMU cannot be read by other programs. For a guest
that Nova did not make, the user in its definition comes first.

Related options:

* ``images_rbd_ceph_conf``
"""),
    cfg.StrOpt('images_rbd_ceph_conf',
               default='',
               help="""
The configuration of the Ceph that root disks lie in.

The guest is not affected.

Possible values:

* The full path of a ``ceph.conf``. When it is empty, it is the one that the
  definition of the guest names, and else ``/etc/ceph/ceph.conf``.

Related options:

* ``rbd_user``
* ``rbd_connect_timeout``
"""),
    cfg.IntOpt('rbd_connect_timeout',
               default=5,
               help="""
How long Ceph's monitors may take to let us in.

The guest is not affected, and not frozen yet. When the time is over the
snapshot is refused. The unit is seconds.

Possible values:

* A number of seconds; less than 1 is 30.
"""),
    cfg.StrOpt('images_rbd_glance_store_name',
               default='',
               help="""
The store of Glance's that the images of root disks in Ceph are left in.

The guest is not affected. It is of use where Glance has several stores in
this Ceph. When it is empty, the store is the one that the image of the
instance came from, and else the default of Glance's.

Related options:

* ``[nova_snap]rbd_glance_pool``
"""),
]
