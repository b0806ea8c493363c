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

"""A guest that stands frozen between two requests of its owner.

nova-api takes Cinder snapshots of all volumes in between. It may die, or be
slow: a guest is never frozen for longer than a stated maximum.

:source: nova/compute/api.py snapshot_volume_backed
"""

import contextlib
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.flows import operation
from nova_snap.model import domain as domain_model
from nova_snap.steps import freeze as freeze_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)

OPERATION = 'quiesce'


class Held(ty.NamedTuple):
    """A guest that is frozen, and what thaws it."""

    step: freeze_step.FreezeFilesystems
    stack: contextlib.ExitStack


class Quiesced:
    """The guests that this process holds frozen.

    While one is held so is its lock: no snapshot can begin, and no recovery
    takes us for dead. When this process dies the lock is free and the record
    is there, so that recovery thaws the guest.

    :param limit: seconds after which a guest is thawed, asked or not
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._held: dict[str, Held] = {}

    def freeze(self, node: world_module.Node, uuid: str) -> None:
        """Freeze the guest and return with its file systems frozen.

        :raises InstanceBusy: when something is under way on it
        :raises QuiesceFailed: when its agent does not do it; it is thawed
        :raises HypervisorError: when libvirt refuses; nothing is frozen
        """
        with contextlib.ExitStack() as stack:
            begun = stack.enter_context(operation.begun(node, uuid))
            domain = node.world.host.domain(uuid)
            if domain.state() != domain_model.State.RUNNING:
                raise errors.QuiesceFailed(
                    instance=uuid, reason=f'it is {domain.state()} and its '
                                          'agent cannot answer')
            txn = stack.enter_context(
                begun.transaction(OPERATION, domain.name()))
            timeout = node.world.settings.freeze_timeout
            with txn.hold(freeze_step.BoundAgentWaits(uuid, timeout)):
                domain.ask_agent_time()
                step = freeze_step.FreezeFilesystems(
                    uuid, domain.qemu_id(), timeout)
                stack.enter_context(txn.hold(step))
            stack.enter_context(node.world.clock.alarm(
                self._limit, lambda: self._thaw_unasked(
                    uuid, f'it was frozen for {self._limit} s '
                          '([nova_snap]quiesce_limit)')))
            self._held[uuid] = Held(step, stack.pop_all())
        LOG.info('Guest %s is frozen, for %s s at most', uuid, self._limit)

    def thaw(self, uuid: str) -> bool:
        """Thaw the guest; False when it is not held frozen (any more).

        :raises QuiesceFailed: when its agent does not answer, or when the
            guest was not frozen to the end: what was snapshotted since is
            not consistent
        :raises RollbackIncomplete: when its agent does not answer: the
            record stays
        :source: QEMU qga/vss-win32/requester.cpp requester_thaw: Windows
            holds writes for ten seconds
        """
        step = self._let_go(uuid)
        if step is None:
            return False
        if step.frozen and not step.thawed:
            raise errors.QuiesceFailed(
                instance=uuid,
                reason='it was not frozen any more when it was to be thawed: '
                       'it was started since, or thawed by another program, '
                       'or by itself')
        return True

    def _let_go(self, uuid: str) -> freeze_step.FreezeFilesystems | None:
        """Thaw a guest, and return the step that has held it, if one has."""
        held = self._held.pop(uuid, None)
        if held is None:
            return None
        held.stack.close()
        LOG.info('Guest %s is thawed', uuid)
        return held.step

    def thaw_all(self) -> None:
        """Thaw every guest: this process ends and cannot do it later."""
        for uuid in tuple(self._held):
            self._thaw_unasked(uuid, 'the service stops')

    def _thaw_unasked(self, uuid: str, why: str) -> None:
        try:
            if self._let_go(uuid) is not None:
                LOG.error('Guest %s was thawed before it was asked for: %s. '
                          'What was snapshotted since is not consistent',
                          uuid, why)
        except errors.SnapError as exc:
            LOG.error('Guest %s may be frozen still: %s', uuid, exc)
