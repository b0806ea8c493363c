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

"""What a plan is made from, what it says, and what no plan allows.

Nothing in this room asks the world: :class:`Facts` were read before, and the
same facts always give the same plan. A plan that cannot work fails here,
before the guest is touched.
"""

import dataclasses

from nova_snap import compat
from nova_snap import errors
from nova_snap.model import ceph as ceph_model
from nova_snap.model import checkpoint as checkpoint_model
from nova_snap.model import domain as domain_model
from nova_snap.model import hostdev as hostdev_model
from nova_snap.model import image_set
from nova_snap.model import layer as layer_model
from nova_snap.model import nova as nova_model
from nova_snap.model import request as request_model
from nova_snap.model import room as room_model
from nova_snap import units

IMAGE_FORMATS = ('raw', 'qcow2', 'vmdk', 'vdi')
# Those that can be laid out before the disk is read.
STREAMED_FORMATS = ('raw', 'qcow2')


# Characters, not bytes. Glance would take an empty name; Nova does not.
# :source: glance/api/v2/images.py get_base_properties; nova/api/validation/
#     parameter_types.py name (minLength)
IMAGE_NAME_LENGTH = 255
# The last that UTF-8 has in three bytes.
LAST_SHORT_LETTER = '\uffff'


class Method(compat.StrEnum):
    """How the snapshot is taken."""

    #: mirrored while the guest runs on
    LIVE = 'live'
    #: held at one moment by a backup job, and read while the guest runs on
    BACKUP = 'backup'
    #: held at one moment by a snapshot in Ceph, which the guest does not feel
    DIRECT = 'direct'
    #: memory saved, disk read, guest started again
    COLD = 'cold'
    #: no QEMU process: the disk is read as it lies there
    STOPPED = 'stopped'
    #: by Cinder, of each volume; see :mod:`nova_snap.model.plan.volumes`
    VOLUMES = 'volumes'


#: Of a guest that runs on; a direct one is also of a guest that is off.
LIVE_METHODS = (Method.LIVE, Method.BACKUP)


@dataclasses.dataclass(frozen=True)
class InCeph:
    """What Ceph does for a snapshot.

    :ivar client: how it is reached
    :ivar disk: that is snapshotted
    :ivar fsid: of the cluster
    :ivar pool: the image is cloned into; None where it is read instead
    :ivar why: in words
    """

    client: layer_model.CephClient
    disk: ceph_model.Name
    fsid: str
    pool: str | None
    why: str


@dataclasses.dataclass(frozen=True)
class IntoCeph:
    """Where images are written, in the place of an upload.

    :ivar client: how the cluster is reached
    :ivar fsid: of the cluster
    :ivar pool: of Glance's
    :ivar why: in words
    :ivar is_tracked: from this image on the changes of the disk are known
    :ivar base: the last image, as which this one begins
    :ivar why_whole: why there is none, where one was asked for
    """

    client: layer_model.CephClient
    fsid: str
    pool: str
    why: str
    is_tracked: bool = False
    base: checkpoint_model.Base | None = None
    why_whole: str = ''


@dataclasses.dataclass(frozen=True)
class DiskFacts:
    """What is known of a disk that an image will be made of.

    :ivar disk: as the XML of the domain has it
    :ivar chain: its layers, the active one first; none where they cannot be
        looked at
    :ivar files: of the chain, None for a layer that is not local
    :ivar virtual_size: bytes
    :ivar allocations: by each layer of the chain, bytes; of a block device
        it is not known how much of it holds data
    :ivar measured: bytes of a qcow2 image of the whole chain, None where it
        cannot be measured
    :ivar first: its first bytes; None where they are not known
    :ivar recognised: the layer whose format no header names, and which shows
        it by how it begins, in Nova's image cache; or None
    :ivar block_job: the block job on it, with what ends it, in words; or
        None
    :ivar may_be_cloned: its file system, that of ``snapshots_directory``
        too, is of a kind whose files can share their blocks
    """

    disk: domain_model.Disk
    chain: tuple[layer_model.Layer, ...] = ()
    files: tuple[layer_model.FileId | None, ...] = ()
    virtual_size: int = 0
    allocations: tuple[int, ...] = ()
    measured: int | None = None
    first: bytes | None = None
    recognised: layer_model.Layer | None = None
    block_job: str | None = None
    may_be_cloned: bool = False


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything a plan is made from.

    :ivar domain: of the live XML where the guest runs
    :ivar qemu_id: the number of the QEMU process, -1 when there is none
    :ivar job: the libvirt job that runs on the domain, or None
    :ivar disks: those that are wanted, the root disk first; none where the
        domain has no such disk
    :ivar room: where ``snapshots_directory`` lies
    :ivar save_room: where libvirt saves guests; None where that is not known,
        or the guest is off
    :ivar libvirt_version: of the daemon
    :ivar qemu_version: of the program that guests are started with
    :ivar opens_devices: this process may open block devices: what it may
        not open it can have converted, but not read by itself
    :ivar network_file_system: the type of that of ``snapshots_directory``; ''
        for one on this host
    :ivar lost: what the guest needs to start and would not find, in words
    :ivar left_out: what it had and libvirt would start it without, in words
    """

    domain: domain_model.Domain
    state: domain_model.State
    qemu_id: int
    is_persistent: bool
    has_managed_save: bool
    job: str | None
    disks: tuple[DiskFacts, ...]
    room: room_model.Room
    nova_compute_runs: bool
    save_room: room_model.Room | None = None
    libvirt_version: tuple[int, int, int] = (0, 0, 0)
    qemu_version: tuple[int, int, int] = (0, 0, 0)
    opens_devices: bool = True
    network_file_system: str = ''
    lost: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PlannedDisk:
    """A disk that is read.

    :ivar chain: its layers, the active one first
    :ivar files: those of the layers, as the plan has seen them
    :ivar virtual_size: bytes
    :ivar allocations: by each layer of the chain, bytes; of a block device
        it is not known how much of it holds data
    :ivar measured: bytes of a qcow2 image of the whole chain, None where it
        cannot be measured
    :ivar may_be_cloned: see :class:`DiskFacts`
    """

    target_dev: str
    is_root: bool
    chain: tuple[layer_model.Layer, ...]
    files: tuple[layer_model.FileId | None, ...]
    virtual_size: int
    allocations: tuple[int, ...]
    measured: int | None = None
    may_be_cloned: bool = False

    @property
    def allocated(self) -> int:
        """Return what all layers together have, bytes."""
        return sum(self.allocations)

    @property
    def active_layer(self) -> layer_model.Layer:
        """Return the layer the guest writes to."""
        return self.chain[0]


@dataclasses.dataclass(frozen=True)
class PlannedImage:
    """An image that is made of a disk.

    :ivar made_by: who has made its record, and deletes it if we fail
    :ivar is_format_named: the operator has named the format
    :ivar is_streamed: it is made while it is sent, and never a file
    :ivar recorded_as: the format in its record, where that is another one
    :ivar place: in a set of images; None for one alone
    """

    image_id: str
    name: str
    made_by: request_model.Party
    image_format: str
    compress: bool
    is_format_named: bool
    is_streamed: bool
    disk: PlannedDisk
    recorded_as: str | None = None
    place: image_set.Place | None = None


def can_be_streamed(image_format: str, *, compress: bool) -> bool:
    """Tell whether an image can be laid out before its disk is read."""
    return not compress and image_format in STREAMED_FORMATS


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be done to the guest.

    :ivar nova: what Nova wrote into the domain; None for a guest of others
    :ivar images: one for each disk that is read, the root disk first
    :ivar undefine: the live snapshot takes the domain's definition away for
        the moment in which the mirror starts, as Nova does
    :ivar wants_freeze: the guest's file systems are frozen through the agent
    :ivar requires_freeze: and the snapshot fails when they cannot be
    :ivar has_managed_save: the guest was off with its memory saved before
    :ivar has_agent: an agent is connected and can be asked
    :ivar hostdevs: passed-through devices that are out of the guest while
        it is saved
    :ivar need: what is written into ``snapshots_directory``
    :ivar memory: what of the guest is saved, bytes; 0 unless it is taken cold
    :ivar save_directory: where to; '' where that is not known
    :ivar qemu_user: uid and gid QEMU runs as, where that is known
    :ivar remarks: what the operator should know before it starts
    :ivar is_held: a backup job holds the disks while they are read, and the
        guest writes on; of a cold one, where they cannot be cloned
    :ivar in_ceph: for a direct snapshot alone
    :ivar into_ceph: None for images that are uploaded
    """

    instance_uuid: str
    instance_name: str
    method: Method
    state: domain_model.State
    qemu_id: int
    nova: nova_model.NovaMetadata | None
    images: tuple[PlannedImage, ...]
    undefine: bool
    wants_freeze: bool
    requires_freeze: bool
    has_managed_save: bool
    has_agent: bool
    hostdevs: tuple[hostdev_model.Hostdev, ...]
    need: room_model.Need
    memory: int
    save_directory: str
    remarks: tuple[str, ...]
    qemu_user: tuple[int, int] | None = None
    is_held: bool = False
    in_ceph: InCeph | None = None
    into_ceph: IntoCeph | None = None

    @property
    def disks(self) -> tuple[PlannedDisk, ...]:
        """Return the disks that are read, the root disk first."""
        return tuple(image.disk for image in self.images)

    @property
    def is_streamed(self) -> bool:
        """Tell whether a disk is read while it is sent."""
        return any(image.is_streamed for image in self.images)

    def sentences(self) -> tuple[str, ...]:
        """Say, one line each, what will happen."""
        lines = [
            f'{self.method} snapshot of {self.instance_name} '
            f'({self.instance_uuid}), which is {self.state}',
            *(_layers(disk) for disk in self.disks),
            _what_happens(self),
            *(f'{device} is taken out of the guest before and put back after'
              for device in self.hostdevs),
            *(_image(image) for image in self.images),
            *_destination(self),
            f'some {units.format_bytes(self.need.likely)} are written to '
            'snapshots_directory',
            *_saved(self),
        ]
        return (*lines, *self.remarks)


def _image(image: PlannedImage) -> str:
    which = '' if image.place is None else (
        f'image {image.name} of {image.place.disk}: ')
    return (f'{which}image format {image.image_format}'
            + (', compressed' if image.compress else '')
            + (', made while it is sent' if image.is_streamed else ''))


def _layers(disk: PlannedDisk) -> str:
    what = 'root disk' if disk.is_root else 'disk'
    layers = ' on '.join(f'{layer.path} ({layer.format})'
                         for layer in disk.chain)
    return (f'{what} {disk.target_dev}: {layers}, '
            f'{units.format_bytes(disk.virtual_size)}')


def _destination(plan: Plan) -> tuple[str, ...]:
    if plan.into_ceph is None:
        return ()
    return (f'this host writes it into pool {plan.into_ceph.pool} of Ceph '
            f'({plan.into_ceph.why}); where Glance takes no locations from '
            'us, it is uploaded', *_what_of_it(plan.into_ceph))


def _what_of_it(into: IntoCeph) -> tuple[str, ...]:
    if into.base is not None:
        return (f'it begins as image {into.base.image_id}, and what has '
                'changed since is written, if libvirt finds that whole',)
    if into.why_whole:
        return (f'all of the disk is written: {into.why_whole}',)
    return ()


def _saved(plan: Plan) -> tuple[str, ...]:
    if not plan.memory:
        return ()
    where = plan.save_directory or 'where libvirt saves guests'
    return (f'up to {units.format_bytes(plan.memory)} of memory are written '
            f'to {where}',)


def _what_happens(plan: Plan) -> str:
    disks = ' '.join(_disks(plan))
    if plan.method == Method.STOPPED:
        return (f'the guest has no QEMU process: {disks} read as '
                + ('it is' if len(plan.images) == 1 else 'they are'))
    if plan.method == Method.COLD:
        return (f'the guest is saved, and is {plan.state} again before the '
                f'upload; it stands still {_while(plan)}')
    if plan.in_ceph is not None:
        return _what_ceph_does(plan, plan.in_ceph)
    if plan.method == Method.BACKUP:
        return ('the guest runs on, and stays defined; what it overwrites is '
                f'kept in snapshots_directory while {disks} read; '
                + _frozen(plan))
    undefined = ('the domain is undefined and defined again at once'
                 if plan.undefine else 'the domain stays defined')
    return f'the guest runs on; {undefined}; {_frozen(plan)}'


def _disks(plan: Plan) -> tuple[str, str]:
    """Return a noun for the disks that are read, and its verb."""
    return (('its disk', 'is') if len(plan.images) == 1
            else ('its disks', 'are'))


def _while(plan: Plan) -> str:
    """Say what a guest that is saved waits for, and how much that is."""
    disks, are = _disks(plan)
    read = units.format_bytes(sum(min(disk.virtual_size, disk.allocated)
                                  for disk in plan.disks)) + ' of '
    if all(disk.may_be_cloned for disk in plan.disks):
        return (f'for the moment in which {disks} {are} cloned, or, where '
                'the file system was made without clones, '
                + _or_while(plan, read))
    return _or_while(plan, read)


def _or_while(plan: Plan, read: str) -> str:
    disks, are = _disks(plan)
    if plan.is_held:
        return (f'for the moment in which a backup job begins; {disks} {are} '
                'read while the guest runs on, and what it overwrites is '
                'kept in snapshots_directory')
    return f'while some {read}{disks} are read'


def _what_ceph_does(plan: Plan, ceph: InCeph) -> str:
    guest = ('' if plan.state == domain_model.State.SHUTOFF
             else f'the guest runs on; {_frozen(plan)}; ')
    if ceph.pool is None:
        return (f'{guest}Ceph makes a snapshot of {ceph.disk}, which is read '
                f'while it is sent ({ceph.why})')
    return (f'{guest}Ceph clones {ceph.disk} into pool {ceph.pool} '
            f'({ceph.why}), and nothing is uploaded; where Glance takes no '
            'locations from us, the snapshot is read and sent')


def _frozen(plan: Plan) -> str:
    frozen = {(False, False): 'its file systems are not frozen',
              (True, False): 'its file systems are frozen for a moment if '
                             'the guest agent answers',
              (True, True): 'its file systems are frozen for a moment'}
    return frozen[plan.wants_freeze, plan.requires_freeze]


def refuse_names(request: request_model.Request) -> None:
    """Refuse names, and properties, that Glance would refuse.

    An image that Nova has made has its name already.

    :raises Refused: saying what is wrong with one
    """
    for image in request.images:
        if image.made_by == request_model.Party.US:
            _refuse_name(image.name)
    for key, value in request.properties.items():
        _refuse_long_letters('The property', f'{key}={value}')


def _refuse_name(name: str) -> None:
    if not name:
        raise errors.Refused(reason='The name of the image is empty')
    if len(name) > IMAGE_NAME_LENGTH:
        raise errors.Refused(
            reason=f'The name of the image has {len(name)} characters, and '
                   f'Glance takes {IMAGE_NAME_LENGTH} at most')
    _refuse_long_letters('The name of the image', name)


def _refuse_long_letters(what: str, text: str) -> None:
    """Refuse letters that are four bytes long in UTF-8, as an emoji is.

    :source: glance/common/utils.py no_4byte_params, on what
        glance/db/sqlalchemy/api.py writes, whatever the database
    """
    long = sorted({letter for letter in text if letter > LAST_SHORT_LETTER})
    if long:
        raise errors.Refused(
            reason=f'{what} has {" ".join(long)} in it, and Glance takes no '
                   'letter that is longer than three bytes in UTF-8. Leave '
                   'it out')


def refuse_if_busy(facts: Facts) -> None:
    """Refuse a guest that something else is at work on.

    :raises InstanceBusy: naming what it is
    """
    def busy(reason: str) -> errors.InstanceBusy:
        return errors.InstanceBusy(instance=facts.domain.name, reason=reason)

    if facts.state in (domain_model.State.CRASHED,
                       domain_model.State.SHUTTING_DOWN,
                       domain_model.State.UNKNOWN):
        raise busy(f'it is {facts.state}; try again when it runs or is off')
    if facts.job is not None:
        raise busy(f'a {facts.job} of it is under way; wait for its end')
    for disk in facts.disks:
        if disk.block_job is not None:
            raise busy(disk.block_job)


def unsupported(facts: Facts, reason: str) -> errors.Unsupported:
    return errors.Unsupported(instance=facts.domain.name, reason=reason)
