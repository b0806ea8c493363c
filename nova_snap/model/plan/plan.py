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
import enum

from nova_snap import errors
from nova_snap.model import domain as domain_model
from nova_snap.model import hostdev as hostdev_model
from nova_snap.model import layer as layer_model
from nova_snap import units

IMAGE_FORMATS = ('raw', 'qcow2', 'vmdk', 'vdi')


# Characters, not bytes. Glance would take an empty name; Nova does not.
# :source: glance/api/v2/images.py get_base_properties; nova/api/validation/
#     parameter_types.py name (minLength)
IMAGE_NAME_LENGTH = 255


class Method(enum.StrEnum):
    """How the snapshot is taken."""

    #: mirrored while the guest runs on
    LIVE = 'live'
    #: memory saved, disk read, guest started again
    COLD = 'cold'
    #: no QEMU process: the disk is read as it lies there
    STOPPED = 'stopped'
    #: by Cinder, of each volume; see :mod:`nova_snap.model.plan.volumes`
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
    state: domain_model.State
    qemu_id: int
    is_persistent: bool
    has_managed_save: bool
    job: str | None
    block_job: str | None
    chain: tuple[layer_model.Layer, ...]
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
    state: domain_model.State
    qemu_id: int
    target_dev: str
    chain: tuple[layer_model.Layer, ...]
    virtual_size: int
    allocated: int
    image_format: str
    compress: bool
    undefine: bool
    wants_freeze: bool
    requires_freeze: bool
    has_managed_save: bool
    has_agent: bool
    hostdevs: tuple[hostdev_model.Hostdev, ...]
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


def refuse_if_busy(facts: Facts) -> None:
    """Refuse a guest that something else is at work on.

    :raises InstanceBusy: naming what it is
    """
    def busy(reason: str) -> errors.InstanceBusy:
        return errors.InstanceBusy(instance=facts.domain.name, reason=reason)

    if facts.state in (
        domain_model.State.CRASHED,
        domain_model.State.SHUTTING_DOWN,
        domain_model.State.UNKNOWN,
    ):
        raise busy(f'it is {facts.state}; try again when it runs or is off')
    if facts.job is not None:
        raise busy(f'a {facts.job} of it is under way; wait for its end')
    if facts.block_job is not None:
        raise busy(f'{facts.block_job}, which is not ours to abort; wait '
                   'for its end, or end it with "virsh blockjob --abort"')


def unsupported(facts: Facts, reason: str) -> errors.Unsupported:
    return errors.Unsupported(instance=facts.domain.name, reason=reason)
