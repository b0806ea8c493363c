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

"""Our own options: the only group that Nova does not know."""

from oslo_config import cfg

from nova_snap.conf import keystoneauth
from nova_snap import units

GROUP = cfg.OptGroup('nova_snap',
                     title='Snapshot Options',
                     help="""
How snapshots are taken, how long each part of one may last, and as whom the
nova-snap command signs in.
""")

# Each of these is a field of model.settings.Settings.
SNAPSHOT_OPTS: list[cfg.Opt] = [
    cfg.StrOpt('live_method',
               default='rebase',
               choices=[
                   ('rebase', 'libvirt\'s blockRebase, the path of Nova'),
                   ('copy', 'libvirt\'s blockCopy with a transient job'),
                   ('backup', 'libvirt\'s backupBegin, read over NBD'),
                   ('auto', 'backup where that can be, else rebase'),
               ],
               help="""
What a running guest goes through while its disk is copied.

With ``rebase`` the definition of the guest is taken out of libvirt while the
copy is started, and put back as soon as that runs; the guest runs on
throughout. With ``copy`` it stays defined all the time, but a copy is lost
when libvirt loses the guest's process. A guest whose virtual TPM would not
survive the first is always copied by the second.

With ``backup`` the disk is held at one moment and read while it is sent. The
guest stays defined and nothing is copied on this host but what the guest
overwrites before it is read: that is kept in ``snapshots_directory``, and the
guest's own writes are as slow as that is. It is the only way to take a guest
on a block device without stopping it. It needs libvirt 7.2.

Related options:

* ``upload``, which ``backup`` does not heed: it always streams where the
  format allows that
* ``space_reserve``
"""),
    cfg.StrOpt('upload',
               default='file',
               choices=[
                   ('file', 'a finished file, written by qemu-img'),
                   ('stream', 'no file: the disk is read while it is sent'),
               ],
               help="""
What an image is uploaded from.

With ``file`` qemu-img writes the whole image into ``snapshots_directory``
first, as Nova does, and that file is sent. With ``stream`` the disk is read
while it is sent, and nothing of it is written on this host; each attempt to
send reads it again. Zeros that a guest has written over data are left out of
an image of the first kind only.

An image is always uploaded from a file where it is neither qcow2 nor raw, and
where it is compressed. In a cold snapshot ``stream`` lets the guest go on
before its disk is read: a backup job holds the disk as it was saved, where
libvirt and QEMU are as ``live_method = backup`` needs them. Elsewhere the
guest stands still until the image is a file, unless the file system can clone
the disk.

Related options:

* ``[libvirt]snapshots_directory``
* ``[libvirt]snapshot_image_format``
* ``[libvirt]snapshot_compression``
"""),
    cfg.StrOpt('rbd_glance_pool',
               help="""
The pool of Ceph's in which Glance keeps its images.

The snapshot of a root disk in Ceph is cloned into it, and nothing is uploaded.
Glance tells the pool to users with the role ``service`` or ``admin``; where it
tells another one, the snapshot is refused. It need not be set where Glance
tells it, nor where the image that the instance was made from is in Ceph.
nova-compute asks as the user who wants the snapshot, whom Glance does not tell
in general, and then as the user in this group or in ``[service_user]``. The
guest is not touched before the pool has been looked at.

Possible values:

* The name of a pool.

Related options:

* ``[libvirt]images_rbd_glance_store_name``
"""),
    cfg.StrOpt('rbd_flatten',
               default='auto',
               choices=[
                   ('auto', 'by a manager of Ceph where it can, else by this '
                            'host'),
                   ('host', 'by this host'),
               ],
               help="""
What copies the data of a clone in Ceph into it.

The image of a root disk in Ceph is a clone of a snapshot of that disk, which
is then given all data of its own (``rbd flatten``). Done by this host, as in
Nova's own code, each object goes over the network of this host twice. A
manager of Ceph (its module ``rbd_support``) does it without this host; it has
one task at a time for all its clients. Where its turn has not come within ten
seconds, where it fails, or where ``[libvirt]rbd_user`` lacks the capability
``profile rbd`` of the managers for Glance's pool, this host does it. The guest
runs on in each case.

Related options:

* ``ready_timeout``
* ``incremental``: with ``flat``
"""),
    cfg.StrOpt('location_hash',
               default='auto',
               choices=[
                   ('auto', 'by Glance where it can, else by this host'),
                   ('glance', 'by Glance, or not at all'),
                   ('host', 'by this host, which reads the image once'),
               ],
               help="""
What computes the hash of an image that is cloned in Ceph.

Glance computes it by itself since the API 2.17, after the image is active,
unless its operator has set ``do_secure_hash`` to false. With an older one the
image has no hash, as that of Nova's own code, unless this host reads the
whole image from Ceph once, which takes as long as an upload. The guest runs
on in each case.

An image that this host writes (``deliver``) is hashed as it is read, where its
hash comes from this host. Given a hash, Glance compares it before the image is
active, and reads all of it for that: ``host`` costs that time.

Related options:

* ``verify_upload``, which this has nothing to do with: no byte is sent
"""),
    cfg.StrOpt('deliver',
               default='glance',
               choices=[
                   ('glance', 'the image is uploaded'),
                   ('rbd', 'it is written to where Glance has it in Ceph'),
               ],
               help="""
How the data of an image come to where Glance keeps its images.

With ``rbd`` the image of a disk that is a file or a block device of this host
is written into Glance's pool in Ceph by this host, which tells Glance where it
lies: no byte goes through Glance, several writes are under way at a time, and
zeros are not written. The image is raw. ``[libvirt]rbd_user`` must be able to
write that pool. Where Glance keeps its images elsewhere or takes no locations
from us, or where another format was asked for, the image is uploaded; the
plan says which it will be. The guest is not affected.

Related options:

* ``rbd_glance_pool``
* ``[libvirt]rbd_user``
* ``[libvirt]images_rbd_ceph_conf``
* ``upload``: with ``rbd`` the disk is read while it is written, as with
  ``stream``
"""),
    cfg.StrOpt('incremental',
               default='none',
               choices=[
                   ('none', 'each image is written whole'),
                   ('flat', 'it begins as the last one, and then Ceph copies '
                            'what it has of that into it'),
                   ('clone', 'it begins as the last one, and stays a clone '
                             'of it'),
               ],
               help="""
Whether an image in Ceph begins as the last one of its guest.

With ``deliver = rbd`` and a backup job, QEMU marks in the qcow2 file of the
root disk what the guest writes and discards from one image on. The next image
is a clone of that one, and what has changed alone is read and written. Each
image is whole: a server boots from any of them. Where the marks are missing or
broken, or the last image is gone, all of the disk is written, and the result
says why.

With ``flat`` no image needs another one; the copy goes within Ceph, and, where
this host makes it (``rbd_flatten``), over its network. With ``clone`` it is
left out: the price is that of the change. Glance then deletes the last image
into Ceph's trash while the next one is there, or, before 2023.1 or with clones
of the first version, not at all. After eight clones in a row an image is
written whole.

The marks take a bit for each 64 KiB of the disk. A disk that has them cannot
be reverted to a snapshot in the same file (``virsh snapshot-revert``).

Related options:

* ``deliver``: must be ``rbd``
* ``live_method``: must be ``backup`` or ``auto``
* ``location_hash``: with ``host`` the image is read once from Ceph
"""),
    cfg.StrOpt('compression_type',
               default='zlib',
               choices=[
                   ('zlib', 'what every QEMU reads'),
                   ('zstd', 'several times as fast, read since QEMU 5.1'),
               ],
               help="""
How images are compressed where ``[libvirt]snapshot_compression`` asks for it.

The guest is not affected. With ``zstd`` the work takes a fraction of the
processor time, and the image is somewhat smaller. Every host that reads the
image needs a QEMU of 5.1 or later that was built with zstd.

Related options:

* ``[libvirt]snapshot_compression``
"""),
    cfg.StrOpt('journal_dir',
               default='$state_path/nova_snap',
               help="""
Where is written down what has to be put back for a guest.

What was changed for a snapshot is put back from here after a crash, so
without it a guest can stay undefined, frozen or stopped. It holds secrets of
the guests' definitions and is readable by its owner alone. It has to be on a
local disk: a network file system is refused, because then another host could
undo what is under way on this one.

Possible values:

* The full path of a directory on a local disk, made when it is missing.

Related options:

* ``state_path``
"""),
    cfg.IntOpt('ready_timeout',
               default=10800,
               min=1,
               help="""
How long a running guest's disk may be copied until the copy is complete.

The guest runs on, somewhat slower. When the time is over the copy is ended,
the guest is left as it was and the snapshot has failed. The
unit is seconds. The default of three hours is what 1 TiB takes at 100 MiB/s;
a guest that writes faster than its disk is copied is never ready, and is left
alone after this time.

Possible values:

* A number of seconds, at least 1.

Related options:

* ``stall_timeout``
* ``bandwidth``
"""),
    cfg.IntOpt('stall_timeout',
               default=120,
               min=1,
               help="""
How long the copy of a running guest's disk may stand still.

When no byte was copied for so long, the copy is ended, the guest is left as
it was and the snapshot has failed. The end of a complete copy is waited for
as long, unless the guest is frozen: then for 30 seconds. The unit is seconds.
The default of two minutes is after what Linux reports a task as hung; the
fail-over of a storage path is over by then.

Possible values:

* A number of seconds, at least 1.

Related options:

* ``ready_timeout``
"""),
    cfg.IntOpt('freeze_timeout',
               default=60,
               min=1,
               help="""
How long a guest's agent may take to freeze its file systems, and to thaw them.

Programs in the guest that write are held while its file systems are frozen.
When the agent does not answer in time, the snapshot fails if the image says
``os_require_quiesce``, and is taken without a freeze otherwise. The unit is
seconds. The default is the time for which the agent of Windows guests itself
waits for a freeze: to wait longer gains nothing.

Possible values:

* A number of seconds, at least 1.
"""),
    cfg.IntOpt('quiesce_limit',
               default=120,
               min=1,
               help="""
How long a guest may stand frozen while its volumes are snapshotted.

Nova freezes a volume-backed guest, takes a snapshot of each volume, and then
asks for the thaw. When the time is over before it asks, the guest is thawed
all the same and the thaw that is asked for later fails, because what was
snapshotted in between is not consistent. The nova-snap command does likewise:
its snapshot fails if the file systems had to be frozen, and otherwise the
image says that they were not. The unit is seconds. The default is after what
Linux reports a task in the guest as hung.

Possible values:

* A number of seconds, at least 1.

Related options:

* ``freeze_timeout``
* ``volume_snapshot_timeout``
"""),
    cfg.IntOpt('volume_snapshot_timeout',
               default=300,
               min=1,
               help="""
How long Cinder may take to make the snapshots of a guest's volumes.

The guest stands frozen for that time if its file systems are frozen at all,
but never for longer than ``quiesce_limit``. When the time is over the
snapshots that were made are deleted and the snapshot of the guest has failed.
Cinder may take as long once more for each of them to let go of it. The unit is
seconds. The default of five minutes is long after what a storage needs that
marks a moment; one that copies the volume instead may need more.

Possible values:

* A number of seconds, at least 1.

Related options:

* ``quiesce_limit``
"""),
    cfg.IntOpt('detach_timeout',
               default=60,
               min=1,
               help="""
How long a guest may take to release a passed-through device.

A guest with such devices cannot be saved, so for a cold snapshot it is asked
to release each of them first; it gets them back when it runs again. When the
time is over, the guest keeps its devices and the snapshot has failed. The
unit is seconds. The default leaves a guest that is busy its time: one that
is not releases a device within five seconds, which is what the buttons of a
PCI Express slot take.

Possible values:

* A number of seconds, at least 1.
"""),
    cfg.IntOpt('save_timeout',
               default=1800,
               min=1,
               help="""
How long a guest may be saved to disk for a cold snapshot.

The guest stands still for that time. When the time is over the save is given
up, the guest runs on and the snapshot has failed. The unit is seconds. The
default of half an hour is what 350 GiB of memory take at 200 MiB/s.

Possible values:

* A number of seconds, at least 1.
"""),
    cfg.IntOpt('lock_timeout',
               default=5,
               min=0,
               help="""
How long a snapshot waits for another operation on the same guest.

The guest is not touched before. When the time is over the snapshot is
refused. The unit is seconds. The default outlasts the moment in which another
command looks whether a record is in use, and is far shorter than any
snapshot: a second one is refused rather than queued.

Possible values:

* A number of seconds; 0 refuses at once.
"""),
    cfg.IntOpt('bandwidth',
               default=0,
               min=0,
               help="""
The rate at which a guest's disk is copied, converted and uploaded, at most.

A limit leaves the guests of this host more of the disk and the network, and
makes each snapshot last longer. The unit is bytes per second.

Possible values:

* A number of bytes per second; 0 for no limit.

Related options:

* ``ready_timeout``: it has to last for the whole disk at this rate
"""),
    cfg.BoolOpt('verify_upload',
                default=True,
                help="""
Compare the hash that Glance made of an image with our own.

The guest is not affected: it runs on as before when an upload begins. When
the two differ the image is deleted and the snapshot has failed. The size is
always compared.

Possible values:

* True: the image is hashed on its way, which is half of the processor time
  that sending it takes, and Glance's hash of it is waited for
* False: only the sizes are compared
"""),
    cfg.IntOpt('space_reserve',
               default=units.GiB,
               min=0,
               help="""
What snapshots leave free where they write.

Guests whose disks are on a file system that is full stop. A snapshot is
refused when no more than this is free, or when the copy of a raw active layer
would not fit. It is given up, with its guest as it was, when less than this is
free while it writes. The unit is bytes. The default of 1 GiB is what a fast
disk takes in a second, the longest time between two looks at the free space.

Possible values:

* A number of bytes; 0 fills the file system.

Related options:

* ``[libvirt]snapshots_directory``
"""),
]

# The options of the plugin that auth_type names follow in credentials.py.
OPTS = (SNAPSHOT_OPTS
        + keystoneauth.session_opts()
        + keystoneauth.common_auth_opts())

# "none" is how one signs in to a Glance without Keystone.
SAMPLE_OPTS = (SNAPSHOT_OPTS
               + keystoneauth.session_opts()
               + keystoneauth.sample_auth_opts(more=('none',)))
