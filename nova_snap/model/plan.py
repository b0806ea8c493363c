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

"""Decide, from facts only, how an instance is snapshotted, or refuse.

Nothing here asks the world: :class:`Facts` were read before, and the same
facts always give the same :class:`Plan`. A plan that cannot work fails here,
before the guest is touched.
"""

import dataclasses
import enum

from nova_snap import errors
from nova_snap.model import domain as domain_model
from nova_snap.model import hostdev
from nova_snap.model import request as request_model
from nova_snap.model import settings as settings_model
from nova_snap.model import space
from nova_snap import units

IMAGE_FORMATS = ('raw', 'qcow2', 'vmdk', 'vdi')
# The formats a root disk may have on the node; all of them are read with the
# format named, so nothing is ever probed.
SOURCE_FORMATS = ('raw', 'qcow2')
# Characters, not bytes. Glance would take an empty name; Nova does not.
# :source: glance/api/v2/images.py get_base_properties; nova/api/validation/
#     parameter_types.py name (minLength)
IMAGE_NAME_LENGTH = 255
# Said of the instance.
IN_RESCUE = ('Nova has it in rescue; unrescue it first ("openstack server '
             'unrescue")')
VOLUME_BACKED = ('its root disk is a Cinder volume; use "openstack server '
                 'image create"')
TRUE_WORDS = frozenset(('1', 't', 'true', 'on', 'y', 'yes'))


class State(enum.StrEnum):
    """What the guest is doing, in libvirt's words."""

    RUNNING = 'running'
    PAUSED = 'paused'
    PMSUSPENDED = 'pmsuspended'
    SHUTOFF = 'shut off'
    CRASHED = 'crashed'
    SHUTTING_DOWN = 'shutting down'
    UNKNOWN = 'unknown'


class Method(enum.StrEnum):
    """How the snapshot is taken."""

    #: mirrored while the guest runs on
    LIVE = 'live'
    #: memory saved, disk read, guest started again
    COLD = 'cold'
    #: no QEMU process: the disk is read as it lies there
    STOPPED = 'stopped'
    #: by Cinder, of each volume; see :mod:`nova_snap.model.volume_plan`
    VOLUMES = 'volumes'


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything a plan is made from.

    :ivar domain: of the live XML where the guest runs
    :ivar qemu_id: the number of the QEMU process, -1 when there is none
    :ivar job: the libvirt job that runs on the domain, or None
    :ivar block_job: the block job on the root disk, in words, or None
    :ivar chain: the layers of the root disk, the active one first
    :ivar virtual_size: of the root disk, bytes
    :ivar allocated: by all layers of the chain together, bytes
    :ivar free: on the file system of ``snapshots_directory``, bytes
    """

    domain: domain_model.Domain
    state: State
    qemu_id: int
    is_persistent: bool
    has_managed_save: bool
    job: str | None
    block_job: str | None
    chain: tuple[domain_model.Layer, ...]
    virtual_size: int
    allocated: int
    free: int
    nova_compute_runs: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be done to the guest.

    :ivar undefine: the live snapshot takes the domain's definition away for
        the moment in which the mirror starts, as Nova does
    :ivar wants_freeze: the guest's file systems are frozen through the agent
    :ivar requires_freeze: and the snapshot fails when they cannot be
    :ivar has_managed_save: the guest was off with its memory saved before
    :ivar has_agent: an agent is connected and can be asked
    :ivar hostdevs: passed-through devices that are out of the guest while
        it is saved
    :ivar needed: bytes that must be free in ``snapshots_directory``
    :ivar remarks: what the operator should know before it starts
    """

    instance_uuid: str
    instance_name: str
    method: Method
    state: State
    qemu_id: int
    target_dev: str
    chain: tuple[domain_model.Layer, ...]
    virtual_size: int
    allocated: int
    image_format: str
    compress: bool
    undefine: bool
    wants_freeze: bool
    requires_freeze: bool
    has_managed_save: bool
    has_agent: bool
    hostdevs: tuple[hostdev.Hostdev, ...]
    needed: int
    remarks: tuple[str, ...]

    def sentences(self) -> tuple[str, ...]:
        """Say, one line each, what will happen."""
        layers = ' on '.join(f'{layer.path} ({layer.format})'
                             for layer in self.chain)
        lines = [
            f'{self.method} snapshot of {self.instance_name} '
            f'({self.instance_uuid}), which is {self.state}',
            f'root disk {self.target_dev}: {layers}, '
            f'{units.format_bytes(self.virtual_size)}',
            _what_happens(self),
            *(f'{device} is taken out of the guest before and put back after'
              for device in self.hostdevs),
            f'image format {self.image_format}'
            + (', compressed' if self.compress else ''),
            f'at most {units.format_bytes(self.needed)} are written to '
            'snapshots_directory',
        ]
        return (*lines, *self.remarks)


def _what_happens(plan: Plan) -> str:
    if plan.method == Method.STOPPED:
        return 'the guest has no QEMU process: its disk is read as it is'
    if plan.method == Method.COLD:
        return ('the guest is saved, stands still while its disk is read, '
                f'and is {plan.state} again before the upload')
    undefined = ('the domain is undefined and defined again at once'
                 if plan.undefine else 'the domain stays defined')
    frozen = {(False, False): 'its file systems are not frozen',
              (True, False): 'its file systems are frozen for a moment if '
                             'the guest agent answers',
              (True, True): 'its file systems are frozen for a moment'}
    return (f'the guest runs on; {undefined}; '
            + frozen[plan.wants_freeze, plan.requires_freeze])


def is_true(word: str | None) -> bool:
    """Read a boolean image property as Glance's users write it.

    :source: oslo_utils.strutils.bool_from_string
    """
    return (word or '').strip().lower() in TRUE_WORDS


def make_plan(request: request_model.Request,
              settings: settings_model.Settings, facts: Facts) -> Plan:
    """Decide how the snapshot is taken.

    :raises Refused: when the image cannot have this name
    :raises Unsupported: when this guest or disk cannot be snapshotted
    :raises InstanceBusy: when something else is at work on the guest
    :raises NotEnoughSpace: when the worst case does not fit
    """
    if not request.image_exists:
        refuse_name(request.name)
    disk = _supported_disk(settings, facts)
    refuse_if_busy(facts)
    method = _method(request, settings, facts)
    if method == Method.COLD:
        _refuse_cold(request, facts)
    wants, requires = freeze(request, facts, method)
    image_format = _image_format(request, settings, facts)
    undefine, remarks = _undefine(settings, facts, method)
    if facts.domain.nova and facts.nova_compute_runs:
        remarks = (*remarks, 'this instance belongs to Nova, which does not '
                             'see this operation')
    plan = Plan(
        instance_uuid=facts.domain.uuid, instance_name=facts.domain.name,
        method=method, state=facts.state, qemu_id=facts.qemu_id,
        target_dev=disk.target_dev, chain=facts.chain,
        virtual_size=facts.virtual_size, allocated=facts.allocated,
        image_format=image_format,
        compress=settings.snapshot_compression and image_format == 'qcow2',
        undefine=undefine, wants_freeze=wants, requires_freeze=requires,
        has_managed_save=facts.has_managed_save,
        has_agent=facts.domain.agent == 'connected',
        hostdevs=facts.domain.hostdevs if method == Method.COLD else (),
        needed=_needed(settings, facts, method), remarks=remarks)
    _refuse_without_space(settings, facts, plan)
    return plan


def refuse_name(name: str) -> None:
    """Refuse a name that Glance would refuse.

    :raises Refused: saying what is wrong with it
    """
    if not name:
        raise errors.Refused(reason='The name of the image is empty')
    if len(name) > IMAGE_NAME_LENGTH:
        raise errors.Refused(
            reason=f'The name of the image has {len(name)} characters, and '
                   f'Glance takes {IMAGE_NAME_LENGTH} at most')


def _unsupported(facts: Facts, reason: str) -> errors.Unsupported:
    return errors.Unsupported(instance=facts.domain.name, reason=reason)


def _supported_disk(settings: settings_model.Settings,
                    facts: Facts) -> domain_model.Disk:
    disk = facts.domain.root_disk
    if settings.virt_type == 'lxc' or facts.domain.type == 'lxc':
        raise _unsupported(facts, 'it is a container (lxc), which has no '
                                  'disk image; copy its root directory')
    if disk is None:
        raise _unsupported(facts, 'it has no disk')
    if facts.domain.is_rescued:
        # The first disk may be the rescue image, and Nova refuses it too.
        # :source: nova/compute/api.py API.snapshot (not in RESCUED)
        raise _unsupported(facts, IN_RESCUE)
    if is_volume_backed(facts.domain):
        # From here on it is Cinder's; see nova_snap.model.volume_plan.
        raise _unsupported(facts, VOLUME_BACKED)
    if disk.source_type not in ('file', 'block'):
        raise _unsupported(
            facts, f'its root disk {disk.target_dev} is of type '
                   f'{disk.source_type}; files and block devices can be '
                   'snapshotted')
    if disk.source_path is None:
        raise _unsupported(facts, f'its root disk {disk.target_dev} has no '
                                  'source')
    if disk.encrypted:
        raise _unsupported(facts, f'its root disk {disk.target_dev} is '
                                  'encrypted, and the image would not be')
    if disk.has_slices:
        raise _unsupported(
            facts, f'its root disk {disk.target_dev} is a part of a file or '
                   'device (<slices>); whole ones can be snapshotted')
    _refuse_formats(facts, disk)
    return disk


def _refuse_formats(facts: Facts, disk: domain_model.Disk) -> None:
    if disk.driver_format not in SOURCE_FORMATS:
        raise _unsupported(
            facts, f'the format of its root disk {disk.target_dev} is '
                   f'{disk.driver_format or "not named"} in its XML; raw '
                   'and qcow2 can be snapshotted')
    for layer in facts.chain[1:]:
        if not layer.is_local:
            raise _unsupported(
                facts, f'the backing file {layer.path} of its root disk is '
                       'given by a network address or a "json:" description; '
                       'only files and block devices of this host are read')
        if layer.format not in SOURCE_FORMATS:
            raise _unsupported(
                facts, f'the format of the backing file {layer.path} is '
                       f'{layer.format or "not named"}; name it with '
                       '"qemu-img rebase -u -F" while the guest is off')


def is_volume_backed(domain: domain_model.Domain) -> bool:
    """Tell whether the root disk of a guest of Nova's is a volume.

    Nova 34.0 was seen to write the type 'image' for such a guest too, with
    no image's UUID. Only disks that are volumes have a serial number, or an
    alias that is a volume's id.

    :source: nova/virt/driver.py InstanceDriverMetadata; the volume drivers
        in nova/virt/libvirt/volume/
    """
    nova, disk = domain.nova, domain.root_disk
    if nova is None or disk is None:
        return False
    return (nova.root_type == 'volume'
            or (nova.root_type == 'image' and not nova.root_uuid)
            or disk.volume_id is not None)


def refuse_if_busy(facts: Facts) -> None:
    """Refuse a guest that something else is at work on.

    :raises InstanceBusy: naming what it is
    """
    def busy(reason: str) -> errors.InstanceBusy:
        return errors.InstanceBusy(instance=facts.domain.name, reason=reason)

    if facts.state in (State.CRASHED, State.SHUTTING_DOWN, State.UNKNOWN):
        raise busy(f'it is {facts.state}; try again when it runs or is off')
    if facts.job is not None:
        raise busy(f'a {facts.job} of it is under way; wait for its end')
    if facts.block_job is not None:
        raise busy(f'{facts.block_job}, which is not ours to abort; wait '
                   'for its end, or end it with "virsh blockjob --abort"')


def _method(request: request_model.Request,
            settings: settings_model.Settings, facts: Facts) -> Method:
    """Apply Nova's rule for live or cold.

    :source: nova/virt/libvirt/driver.py LibvirtDriver.snapshot
    """
    if facts.state == State.SHUTOFF:
        return Method.STOPPED
    live = (not request.cold
            and not any(layer.is_block for layer in facts.chain[:1])
            and not settings.ephemeral_storage_encryption
            and not settings.disable_libvirt_livesnapshot)
    return Method.LIVE if live else Method.COLD


def _refuse_cold(request: request_model.Request, facts: Facts) -> None:
    if facts.domain.bound_devices:
        raise _unsupported(
            facts, 'a guest with such devices of the host cannot be saved ('
                   + ', '.join(facts.domain.bound_devices) + '); take it '
                   'live, or stop the guest first')
    if facts.domain.hostdevs and facts.state != State.RUNNING:
        raise _unsupported(
            facts, f'it is {facts.state} and cannot release its '
                   'passed-through devices ('
                   + ', '.join(map(str, facts.domain.hostdevs))
                   + '); let it run, or take it live')
    if facts.domain.launch_security:
        raise _unsupported(facts, 'the memory of an encrypted guest (SEV) '
                                  'cannot be saved; stop the guest first')
    if not facts.is_persistent:
        raise _unsupported(facts, 'a transient domain cannot be saved; '
                                  'define it, or take it live')
    if facts.state == State.PMSUSPENDED:
        raise _unsupported(facts, 'it sleeps (pmsuspended) and would not '
                                  'sleep after a cold snapshot; wake it up '
                                  'first, or take it live')
    if (facts.domain.nova and facts.nova_compute_runs
            and not request.nova_is_stopped):
        raise _unsupported(
            facts, 'it belongs to Nova, and a nova-compute on this host '
                   'would see it stop and act on it; use "openstack server '
                   'image create", or say --nova-is-stopped when that is so')


def freeze(request: request_model.Request, facts: Facts,
           method: Method) -> tuple[bool, bool]:
    """Say whether the guest is frozen, and whether it must be.

    :raises Unsupported: when it must be and cannot be
    """
    if method not in (Method.LIVE, Method.VOLUMES):
        # Saved or stopped, a guest writes nothing: there is no freeze in
        # these flows, as there is none in Nova's, also where the image says
        # os_require_quiesce.
        if request.quiesce == 'require':
            raise _unsupported(
                facts, 'file systems are frozen in a live snapshot alone, '
                       f'and this one is {method}; leave out --quiesce')
        return False, False
    properties = request.image_properties
    if properties is None:
        properties = (facts.domain.nova.image_properties
                      if facts.domain.nova else {})
    requires = (request.quiesce == 'require'
                or is_true(properties.get('os_require_quiesce')))
    wants = (requires or request.quiesce == 'want'
             or is_true(properties.get('hw_qemu_guest_agent')))
    reason = None
    if facts.state != State.RUNNING:
        reason = f'it is {facts.state} and its agent cannot answer'
    elif facts.domain.agent == 'absent':
        reason = ('it has no guest agent channel; set hw_qemu_guest_agent '
                  'on its image and rebuild it')
    elif facts.domain.agent == 'disconnected':
        reason = ('no guest agent runs in it; install and start '
                  'qemu-guest-agent')
    if reason is None:
        return wants, requires
    if requires:
        asked = ('--quiesce' if request.quiesce == 'require'
                 else 'os_require_quiesce of its image')
        raise _unsupported(facts, f'{asked} asks for frozen file systems, '
                                  f'but {reason}')
    return False, False


def _image_format(request: request_model.Request,
                  settings: settings_model.Settings, facts: Facts) -> str:
    image_format = (request.image_format or settings.snapshot_image_format
                    or facts.chain[0].format)
    if image_format not in IMAGE_FORMATS:
        raise _unsupported(
            facts, f'the image format {image_format} is not one of '
                   + ', '.join(IMAGE_FORMATS))
    return image_format


def _undefine(settings: settings_model.Settings, facts: Facts,
              method: Method) -> tuple[bool, tuple[str, ...]]:
    if method != Method.LIVE or not facts.is_persistent:
        return False, ()
    if settings.live_method == 'copy':
        return False, ()
    if facts.domain.tpm_is_volatile:
        return False, ('its TPM state would be lost with its definition: '
                       'the domain is copied with TRANSIENT_JOB instead',)
    return True, ()


def _needed(settings: settings_model.Settings, facts: Facts,
            method: Method) -> int:
    if method == Method.LIVE:
        return space.live(facts.virtual_size, facts.allocated,
                          worst_case=settings.worst_case_space)
    return space.flat_image(facts.virtual_size, facts.allocated,
                            worst_case=settings.worst_case_space)


def _refuse_without_space(settings: settings_model.Settings, facts: Facts,
                          plan: Plan) -> None:
    missing = plan.needed - facts.free
    if missing <= 0:
        return
    remedy = 'Free that much, or put snapshots_directory elsewhere'
    if settings.worst_case_space:
        remedy += (', or set [nova_snap]worst_case_space to false to count '
                   'only what is allocated now')
    raise errors.NotEnoughSpace(
        path=settings.snapshots_directory, remedy=remedy,
        free=units.format_bytes(facts.free),
        needed=units.format_bytes(plan.needed),
        missing=units.format_bytes(missing))
