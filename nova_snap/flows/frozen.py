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

"""Freeze the guest around the point in time, if it is asked for."""

import collections.abc as cabc
import contextlib
import threading
import typing as ty

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.model import consistency as consistency_model
from nova_snap.steps import freeze as freeze_step
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


class Frozen(ty.Protocol):
    """What a plan says of the freeze."""

    @property
    def instance_uuid(self) -> str:
        """Of which guest it is a plan."""

    @property
    def instance_name(self) -> str:
        """And what that is called."""

    @property
    def qemu_id(self) -> int:
        """The QEMU process that is to be frozen."""

    @property
    def wants_freeze(self) -> bool:
        """Freeze, if that can be done."""

    @property
    def requires_freeze(self) -> bool:
        """Fail, if it cannot be done."""


class Watchdog:
    """Thaws a guest that stands frozen for too long.

    It thaws in a thread of its own, while the flow goes on, and writes nothing
    into the journal: the hold is let go by the flow, which thaws once more.

    :ivar rang: the time was over; from then on the guest writes
    """

    def __init__(self, world: world_module.World, plan: Frozen,
                 limit: int, *, why: str = '[nova_snap]quiesce_limit') -> None:
        """Be ready to watch.

        :param limit: seconds
        :param why: what sets it, in words
        """
        self._world = world
        self._step = freeze_step.FreezeFilesystems(
            plan.instance_uuid, plan.qemu_id, world.settings.freeze_timeout)
        self._name = plan.instance_name
        self._limit = limit
        self._of_what = why
        self._is_thawing = threading.Event()
        self._has_thawed = threading.Event()
        self.rang = False

    @contextlib.contextmanager
    def watch(self) -> cabc.Iterator[None]:
        """Count from here to the end of the block, which lets go of it.

        A thaw that has begun is waited for: it ends by itself.
        """
        try:
            with self._world.clock.alarm(self._limit, self._ring):
                yield
        finally:
            if self._is_thawing.is_set():
                self._has_thawed.wait(
                    freeze_step.longest_thaw(self._step.timeout))

    def check(self) -> None:
        """Fail unless the guest is still frozen.

        :raises QuiesceFailed: when it is not
        """
        if self.rang:
            raise errors.QuiesceFailed(instance=self._name, reason=self.why())

    def why(self) -> str:
        """Say in words why it rang."""
        return (f'it was thawed after {self._limit} s ({self._of_what}), '
                'before all was done')

    def _ring(self) -> None:
        self._is_thawing.set()
        self.rang = True
        LOG.error('Guest %s is thawed: it was frozen for %s s (%s)',
                  self._name, self._limit, self._of_what)
        try:
            self._step.undo(self._world)
        except errors.SnapError as exc:
            LOG.error('Guest %s may be frozen still: %s', self._name, exc)
        finally:
            self._has_thawed.set()


class Freeze:
    """How a guest is held while the block of :func:`frozen` runs.

    :ivar step: what holds it; None when it is not frozen
    """

    def __init__(self, plan: Frozen, watchdog: Watchdog | None) -> None:
        self._plan = plan
        self._watchdog = watchdog
        self.step: freeze_step.FreezeFilesystems | None = None

    @property
    def seconds(self) -> float | None:
        """How long the guest was held; None if it was not, or is still."""
        return None if self.step is None else self.step.seconds

    @contextlib.contextmanager
    def bounded(self, watchdog: Watchdog) -> cabc.Iterator[None]:
        """Thaw a guest that is frozen when the block takes too long.

        What the block makes after that is of a guest that writes:
        :meth:`consistency` says so.
        """
        if self.step is None:
            yield
            return
        self._watchdog = watchdog
        with watchdog.watch():
            yield

    def consistency(self) -> str:
        """Tell, after the block, whether the thaw found the guest frozen.

        It does not find a guest that was started since, that we or
        others have thawed, or that has thawed itself: Windows holds writes
        for ten seconds, and its agent says so only when it is to thaw.

        :raises QuiesceFailed: when the guest was not frozen to the end, and
            the plan requires it
        :source: QEMU qga/vss-win32/requester.cpp requester_thaw
        """
        if self.step is None:
            return consistency_model.NOT_FROZEN
        if self.step.thawed:
            return consistency_model.FROZEN
        is_required = self._plan.requires_freeze
        if self._watchdog is not None and self._watchdog.rang:
            reason = self._watchdog.why()
        elif self.step.frozen:
            reason = ('it was not frozen any more when it was to be thawed: '
                      'it was started since, or thawed by another program, '
                      'or by itself')
        else:
            # It was asked to, which is all that Nova requires.
            is_required = False
            reason = 'its agent has found no file system that can be frozen'
        if is_required:
            raise errors.QuiesceFailed(instance=self._plan.instance_name,
                                       reason=reason)
        LOG.warning('The snapshot of %s is not of frozen file systems: %s',
                    self._plan.instance_name, reason)
        return consistency_model.NOT_FROZEN


@contextlib.contextmanager
def frozen(txn: world_module.Transaction, plan: Frozen,
           watchdog: Watchdog | None = None) -> cabc.Iterator[Freeze]:
    """Freeze, run the block, thaw; tell the block how the guest is held.

    :param watchdog: for a block that may last
    :raises QuiesceFailed: when it is required and cannot be done; thawed
    """
    held = Freeze(plan, watchdog)
    try:
        with contextlib.ExitStack() as thaw:
            if plan.wants_freeze:
                # A guest that is frozen must not wait for the journal's disk.
                thaw.enter_context(txn.outcomes_later())
                held.step = _freeze(txn, plan, thaw, watchdog)
            yield held
    finally:
        if held.seconds is not None:
            LOG.info('Guest %s frozen for %.2f s', plan.instance_name,
                     held.seconds)


def _freeze(txn: world_module.Transaction, plan: Frozen,
            thaw: contextlib.ExitStack, watchdog: Watchdog | None) -> (
                freeze_step.FreezeFilesystems | None):
    world = txn.world
    timeout = world.settings.freeze_timeout
    uuid = plan.instance_uuid
    step = freeze_step.FreezeFilesystems(uuid, plan.qemu_id, timeout)
    freezing = None
    watching = thaw.enter_context(contextlib.ExitStack())
    try:
        thaw.enter_context(txn.hold(
            freeze_step.BoundAgentWaits(uuid, timeout)))
        world.host.domain(uuid).ask_agent_time()
        if watchdog is not None:
            watching.enter_context(watchdog.watch())
        freezing = thaw.enter_context(txn.hold(step, start=False))
        freezing.start()
        if watchdog is not None:
            watchdog.check()
    except errors.QuiesceFailed as exc:
        # What is frozen all the same and does not thaw must not wait for
        # the end of an upload.
        may_be_frozen = freezing and not freezing.release_early()
        if plan.requires_freeze or may_be_frozen:
            raise
        watching.close()
        LOG.warning('%s is snapshotted without frozen file systems: %s',
                    plan.instance_name, exc)
        return None
    return step
