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

"""The flows: each way in which a snapshot is taken."""

import dataclasses
import enum


class Kind(enum.Enum):
    """Which guest."""

    RUNNING = 'running'
    #: running, without an agent
    SILENT = 'silent'
    PAUSED = 'paused'
    OFF = 'off'
    #: off, and its disk is raw
    RAW = 'raw'
    #: running, with records on both of its disks
    TWO_DISKS = 'two disks'
    #: running, and its images begin as the last one
    TRACKED = 'tracked'
    VOLUMES = 'volumes'
    IN_CEPH = 'in Ceph'


#: those that have no QEMU process
OFF = (Kind.OFF, Kind.RAW)
#: those whose disks are not on this host
REMOTE = (Kind.VOLUMES, Kind.IN_CEPH)


class Store(enum.Enum):
    """What has to run besides libvirt, and where the images lie."""

    FILES = 'files'
    #: Cinder, on Ceph; the images are in files
    CINDER = 'Cinder'
    #: another Glance, whose images lie in Ceph
    CEPH = 'Ceph'


INTO_CEPH = (('live_method', 'backup'), ('deliver', 'rbd'))


@dataclasses.dataclass(frozen=True)
class Flow:
    """One flow.

    :ivar arguments: of image-create
    :ivar options: of ``[nova_snap]``
    :ivar is_cold: the guest goes on in another QEMU process
    :ivar images: that a snapshot leaves
    """

    name: str
    arguments: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    kind: Kind = Kind.RUNNING
    is_cold: bool = False
    store: Store = Store.FILES
    images: int = 1


FLOWS = {flow.name: flow for flow in (
    Flow('live', ('--quiesce', 'require'), (('live_method', 'rebase'),)),
    Flow('live-stream', ('--quiesce', 'require'),
         (('live_method', 'rebase'), ('upload', 'stream'))),
    Flow('live-copy', (), (('live_method', 'copy'),)),
    Flow('backup', ('--quiesce', 'require'), (('live_method', 'backup'),)),
    Flow('cold', ('--cold',), is_cold=True),
    # Its disk is held by a backup job, and it goes on.
    Flow('cold-stream', ('--cold',), (('upload', 'stream'),),
         kind=Kind.SILENT, is_cold=True),
    Flow('cold-paused', ('--cold',), kind=Kind.PAUSED, is_cold=True),
    Flow('stopped', kind=Kind.OFF),
    Flow('stopped-stream', (), (('upload', 'stream'),), kind=Kind.OFF),
    Flow('stopped-raw', kind=Kind.RAW),
    Flow('all-disks', ('--all-disks', '--quiesce', 'require'),
         kind=Kind.TWO_DISKS, images=2),
    Flow('volumes', kind=Kind.VOLUMES, store=Store.CINDER),
    Flow('direct', ('--quiesce', 'require'), kind=Kind.IN_CEPH,
         store=Store.CEPH),
    # This host flattens the clone, and no manager.
    Flow('direct-host', (), (('rbd_flatten', 'host'),), kind=Kind.IN_CEPH,
         store=Store.CEPH),
    # Glance clones no image of another format: the disk is read and sent.
    Flow('direct-read', ('--quiesce', 'require', '--format', 'qcow2'),
         kind=Kind.IN_CEPH, store=Store.CEPH),
    Flow('into-ceph', ('--quiesce', 'require'), INTO_CEPH,
         store=Store.CEPH),
    Flow('incremental', ('--quiesce', 'require'),
         (*INTO_CEPH, ('incremental', 'clone')), kind=Kind.TRACKED,
         store=Store.CEPH),
    Flow('incremental-flat', ('--quiesce', 'require'),
         (*INTO_CEPH, ('incremental', 'flat')), kind=Kind.TRACKED,
         store=Store.CEPH),
)}

#: those that run where no other is named: Cinder and Ceph are not everywhere
USUAL = tuple(name for name, flow in FLOWS.items()
              if flow.store == Store.FILES)
#: those of ``--volumes``
STORED = tuple(name for name in FLOWS if name not in USUAL)
