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

"""Settle what a dead process left: roll back before commit, finish after.

A request is never run again. An owner is dead when the lock of its instance
is free; a record of another host or of another release is reported and
left alone.
"""

import collections.abc as cabc
import dataclasses
import functools

from oslo_log import log as logging

from nova_snap import compat
from nova_snap import errors
from nova_snap.hypervisor import domain as domain_module
from nova_snap.journal import record as record_model
from nova_snap.steps import backup as backup_step
from nova_snap.steps import ceph as ceph_step
from nova_snap.steps import checkpoint as checkpoint_step
from nova_snap.steps import freeze as freeze_step
from nova_snap.steps import hostdev as hostdev_step
from nova_snap.steps import image as image_step
from nova_snap.steps import memory as memory_step
from nova_snap.steps import mirror as mirror_step
from nova_snap.steps import scratch as scratch_step
from nova_snap.steps import step as step_module
from nova_snap.steps import undefine as undefine_step
from nova_snap.steps import volume_snapshot as volume_snapshot_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

#: Every step that a record can name.
STEPS: dict[str, type[step_module.Step]] = {
    cls.__name__: cls
    for cls in (
        backup_step.StartBackup,
        ceph_step.CloneData,
        ceph_step.CloneDisk,
        ceph_step.MakeData,
        ceph_step.SnapshotDisk,
        checkpoint_step.KeepBase,
        checkpoint_step.TrackChanges,
        freeze_step.BoundAgentWaits,
        freeze_step.FreezeFilesystems,
        hostdev_step.DetachHostdev,
        image_step.AdoptImage,
        image_step.CreateImage,
        image_step.DiscardImage,
        memory_step.SaveMemory,
        memory_step.StartPaused,
        mirror_step.StartMirror,
        scratch_step.LendDirectory,
        scratch_step.MakeScratch,
        undefine_step.UndefineDomain,
        volume_snapshot_step.CreateVolumeSnapshot)}

#: Those that ask nothing but a guest's agent.
THAWS = frozenset((freeze_step.BoundAgentWaits.__name__,
                   freeze_step.FreezeFilesystems.__name__))

# What has to come back first: a guest that is frozen, then one that is
# stopped. Any other guest runs.
URGENT = (freeze_step.FreezeFilesystems.__name__,
          memory_step.SaveMemory.__name__)


class Outcome(compat.StrEnum):
    """What became of a record."""

    #: its owner is at work
    UNDER_WAY = 'under way'
    #: its owner is dead, and nothing was done yet
    LEFT = 'left'
    SETTLED = 'settled'
    #: it cannot be settled, or not all of it: the record stays
    FAILED = 'failed'
    #: not ours to touch, or not readable
    FOREIGN = 'foreign'


@dataclasses.dataclass(frozen=True)
class Finding:
    """A record and what became of it.

    :ivar record: None when it could not be read
    """

    outcome: Outcome
    record: record_model.Record | None
    reason: str


def status(node: world_module.Node) -> list[Finding]:
    """Say of each record whether it is under way or left."""
    findings = []
    for item in node.store.read_all():
        if isinstance(item, errors.JournalError):
            findings.append(Finding(Outcome.FOREIGN, None, str(item)))
        elif reason := _foreign(node, item):
            findings.append(Finding(Outcome.FOREIGN, item, reason))
        else:
            findings.append(_look(node, item))
    return findings


def _look(node: world_module.Node, record: record_model.Record) -> Finding:
    try:
        if node.locks.is_held(record.instance_uuid):
            return Finding(Outcome.UNDER_WAY, record, 'its owner is at work')
    except errors.JournalError as exc:
        return Finding(Outcome.FAILED, record, str(exc))
    return Finding(Outcome.LEFT, record,
                   'its owner is dead; "nova-snap recover" settles it')


def remarks(findings: cabc.Iterable[Finding],
            domain: domain_module.Domain) -> tuple[str, ...]:
    """Say what the journal has of one instance, a sentence for each record.

    :param findings: as :func:`status` has them
    :raises InstanceBusy: when a snapshot of it is under way
    """
    of_it = [finding for finding in findings if finding.record is not None
             and finding.record.instance_uuid == domain.uuid]
    said = tuple(f'record {finding.record.id} of a snapshot of it '
                 f'({finding.record.operation}) is {finding.outcome}: '
                 f'{finding.reason}'
                 for finding in of_it if finding.record is not None)
    if any(finding.outcome == Outcome.UNDER_WAY for finding in of_it):
        raise errors.InstanceBusy(instance=domain.name(),
                                  reason='; '.join(said))
    return said


def recover(node: world_module.Node, *, nova_is_stopped: bool = False,
            artifacts: bool = True) -> list[Finding]:
    """Settle every record whose owner is dead; none stops the others.

    :param artifacts: as :func:`settle` has it
    """
    return [settle(node, finding, nova_is_stopped=nova_is_stopped,
                   artifacts=artifacts) for finding in look(node)]


def look(node: world_module.Node) -> list[Finding]:
    """Say what there is to settle, the most urgent first.

    What a killed process had half written goes, and its locks.
    """
    try:
        node.store.remove_partials(node.locks.is_held)
        node.locks.remove_unused()
    except errors.JournalError as exc:
        LOG.warning('%s', exc)
    _forget_gone(node)
    return sorted(status(node), key=_urgency)


def _forget_gone(node: world_module.Node) -> None:
    """Keep no last image of a guest that is gone, or on another host."""
    world = node.world
    try:
        for uuid in world.checkpoints.guests():
            if not world.host.domain(uuid).exists():
                world.checkpoints.write(uuid, None)
    except errors.SnapError as exc:
        LOG.warning('What is kept of last images is not tidied: %s', exc)


def settle(node: world_module.Node, finding: Finding, *,
           nova_is_stopped: bool = False, artifacts: bool = True) -> Finding:
    """Settle the record of a finding, if its owner is dead.

    :param artifacts: False puts the guest back and leaves the images to a
        later call
    """
    if finding.outcome != Outcome.LEFT or finding.record is None:
        return finding
    return _recover_one(node, finding.record, nova_is_stopped, artifacts)


def _urgency(finding: Finding) -> int:
    entries = finding.record.entries if finding.record else []
    held = {entry.kind for entry in entries
            if entry.phase != record_model.Phase.UNDONE}
    return next((place for place, kind in enumerate(URGENT) if kind in held),
                len(URGENT))


def settle_instance(node: world_module.Node, uuid: str, *,
                    nova_is_stopped: bool) -> list[Finding]:
    """Settle what is left of one instance, whose lock the caller holds.

    :returns: what stays because the guest does not thaw, and nothing else
    :raises InstanceBusy: when the guest cannot be put back otherwise
    """
    unthawed = []
    for item in node.store.read_all():
        if (isinstance(item, errors.JournalError) or _foreign(node, item)
                or item.instance_uuid != uuid):
            continue
        finding = _settle(node, item, nova_is_stopped)
        if finding.outcome == Outcome.SETTLED:
            continue
        held = [entry for entry in item.entries if _is_held(entry)]
        if not held:
            # An image that is left stands in the way of no other, and Glance
            # may hide it from the user who asks for this snapshot.
            LOG.warning('Record %s of an earlier snapshot of %s stays: %s',
                        item.id, item.instance_name, finding.reason)
        elif all(entry.kind in THAWS for entry in held):
            unthawed.append(finding)
        else:
            raise busy(finding)
    return unthawed


def _is_held(entry: record_model.Entry) -> bool:
    """Tell whether an entry is a hold that is still to be let go."""
    return (entry.role == record_model.Role.HOLD
            and entry.phase != record_model.Phase.UNDONE)


def busy(finding: Finding) -> errors.InstanceBusy:
    """Return the error for an instance of which a record is left."""
    assert finding.record is not None
    return errors.InstanceBusy(
        instance=finding.record.instance_name,
        reason=f'record {finding.record.id} of an earlier snapshot is left: '
               f'{finding.reason}')


def thaw_later(node: world_module.Node,
               unthawed: cabc.Iterable[Finding]) -> None:
    """Keep in mind that a guest that is to be saved may be frozen.

    It is frozen still in the QEMU process that gets its memory.

    :raises JournalError: when that cannot be written; nothing was done
    """
    for finding in unthawed:
        assert finding.record is not None
        for entry in finding.record.entries:
            if (entry.kind == freeze_step.FreezeFilesystems.__name__
                    and _is_held(entry)):
                entry.facts = {**entry.facts, 'qemu_id': None}
        node.store.write(finding.record)


def _recover_one(node: world_module.Node, record: record_model.Record,
                 nova_is_stopped: bool, artifacts: bool) -> Finding:
    try:
        with node.locks.instance(record.instance_uuid):
            # Read again: its owner may have finished before we got the lock.
            if record.id not in node.store.ids():
                return Finding(Outcome.SETTLED, record, 'finished in the end')
            return _settle(node, node.store.read(record.id),
                           nova_is_stopped, artifacts)
    except errors.InstanceLocked:
        return Finding(Outcome.UNDER_WAY, record, 'its owner is at work')
    except errors.JournalError as exc:
        return Finding(Outcome.FAILED, record, str(exc))


def _settle(node: world_module.Node, record: record_model.Record,
            nova_is_stopped: bool, artifacts: bool = True) -> Finding:
    try:
        steps = _steps(record)
        is_settled = world_module.Transaction.resume(
            node.store, record, _world(node, nova_is_stopped),
            steps).settle(artifacts=artifacts)
    except errors.SnapError as exc:
        # The caller says it to its reader, once.
        LOG.debug('Record %s of %s is not settled: %s', record.id,
                  record.instance_name, exc)
        # The caller shows the record together with the reason.
        return Finding(Outcome.FAILED, record,
                       exc.undone if isinstance(
                           exc, errors.RollbackIncomplete) else str(exc))
    if not is_settled:
        return Finding(Outcome.LEFT, record, 'the guest is as it was; '
                       f'{_images(record)} settled later')
    done = ('finished: the image stays' if record.committed
            else 'rolled back: the guest is as it was')
    LOG.info('Record %s of %s is settled: %s', record.id,
             record.instance_name, done)
    return Finding(Outcome.SETTLED, record, done)


def _images(record: record_model.Record) -> str:
    """Name the images of a record, with the verb that fits."""
    names = ', '.join(image.id for image in record.images)
    return (f'its image {names} is' if len(record.images) == 1
            else f'its images {names} are')


def _steps(record: record_model.Record) -> cabc.Sequence[step_module.Step]:
    try:
        return [STEPS[entry.kind].from_facts(entry.facts)
                for entry in record.entries]
    except (KeyError, TypeError, ValueError) as exc:
        raise errors.JournalError(
            reason=f'Record {record.id} names a step that this release does '
                   f'not know: {exc}') from exc


def _foreign(node: world_module.Node,
             record: record_model.Record) -> str | None:
    """Say why a record is not ours to touch, if it is not."""
    host = node.world.settings.host
    if record.host != host:
        return f'it belongs to host {record.host}, and this is {host}'
    if record.machine_id != node.machine_id:
        return f'it was written on another machine ({record.machine_id})'
    return None


def _world(node: world_module.Node,
           nova_is_stopped: bool) -> world_module.World:
    """Return a world that brings no guest back behind Nova's back.

    Since its owner died a guest may have been deleted or evacuated: started
    by us it would run twice.
    """
    if nova_is_stopped:
        return node.world
    return dataclasses.replace(
        node.world, why_away=node.why_away or functools.partial(
            _refuse_while_nova_runs, node))


def _refuse_while_nova_runs(node: world_module.Node, uuid: str) -> None:
    if node.nova_compute_runs():
        raise errors.Refused(
            reason='It belongs to Nova and a nova-compute runs here, which '
                   'may have deleted or moved it: it is not started and not '
                   'defined again. If Nova has it on this host, stop '
                   'nova-compute, or say --nova-is-stopped; if Nova has not, '
                   'remove the record')
