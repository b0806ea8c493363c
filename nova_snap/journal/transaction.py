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

"""Do steps so that they are undone, also by another process.

A flow is a nest of ``with`` blocks over one transaction::

    with transaction.Transaction(store, record, world) as txn:
        txn.artifact(CreateImage(...))             # stays if all goes well
        with txn.hold(ScratchDirectory(...)):      # never stays
            ...
            txn.commit()

The laws of a step:

1. it holds names and the state before, never handles;
2. its intent is on the disk before it acts, its outcome after; that of a hold
   may be written later, for recovery undoes what is intended as well;
3. ``undo`` runs even if ``do`` failed;
4. ``undo`` is idempotent and accepts that nothing happened;
5. ``undo`` asks the world, not memory;
6. an error in one undo never stops the others and is never lost;
7. ``commit`` is one durable write and the last thing: before it everything
   is undone, after it only holds are, and nothing raises any more.
"""

import collections.abc as cabc
import contextlib
import logging
import types
import typing as ty

from nova_snap import errors
from nova_snap.journal import record as record_model
from nova_snap.journal import store as store_module

LOG = logging.getLogger(__name__)

Phase = record_model.Phase
Role = record_model.Role


#: All that a step may touch; each user of this module has one of its own.
World = ty.TypeVar('World')
World_contra = ty.TypeVar('World_contra', contravariant=True)


class Step(ty.Protocol[World_contra]):
    """One reversible change: ``do`` and ``undo`` side by side."""

    @property
    def kind(self) -> str:
        """Return the name by which recovery finds the class."""

    def facts(self) -> record_model.Facts:
        """Return what another process needs to undo it."""

    def do(self, world: World_contra, /) -> None:
        """Change the world, or raise; it may have changed all the same."""

    def undo(self, world: World_contra, /) -> None:
        """Change it back, whether or not it was changed."""


class Held(ty.Generic[World]):
    """A step under way; handed out by :meth:`Transaction.hold`.

    :ivar failure: what the last try to undo it raised
    """

    def __init__(self, txn: 'Transaction[World]', step: Step[World],
                 entry: record_model.Entry) -> None:
        self._txn = txn
        self.step = step
        self.entry = entry
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Act now, for a hold that was taken with ``start=False``."""
        self.step.do(self._txn.world)
        self._txn.note(self, Phase.DONE)

    def release_early(self) -> bool:
        """Undo before the block ends, if that is possible already.

        Where it is not, nothing is lost: it is undone when the block ends.
        """
        return self._txn.undo(self)


class Transaction(ty.Generic[World]):
    """The steps of one operation and the record of them.

    :raises RollbackIncomplete: on leaving, when something could not be
        undone; the record stays for the next start
    """

    def __init__(self, store: store_module.Store,
                 record: record_model.Record, world: World) -> None:
        self._store = store
        self._helds: list[Held[World]] = []
        self._outcomes_wait = False
        self._is_behind = False
        self.record = record
        self.world = world

    @classmethod
    def resume(cls, store: store_module.Store, record: record_model.Record,
               world: World, steps: cabc.Sequence[Step[World]]) -> (
                   'Transaction[World]'):
        """Take over the record of a dead owner, to settle it.

        :param steps: one for each entry of the record, in its order
        """
        txn = cls(store, record, world)
        txn._helds = [Held(txn, step, entry)
                      for step, entry in zip(steps, record.entries,
                                             strict=True)]
        return txn

    def __enter__(self) -> 'Transaction[World]':
        try:
            self._store.write(self.record)
        except BaseException:
            # Nothing was done yet, so there is nothing to remember.
            with contextlib.suppress(errors.JournalError):
                self._store.remove(self.record.id)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        try:
            self.settle()
        except (errors.RollbackIncomplete, errors.JournalError) as failure:
            if not self.record.committed:
                raise failure from exc
            # The image is there: no caller must hear that it is not.
            LOG.error('Record %s is left: %s', self.record.id, failure)

    def artifact(self, step: Step[World]) -> Held[World]:
        """Do a step whose result remains if the operation succeeds."""
        held = self._begin(step, Role.ARTIFACT)
        held.start()
        return held

    def artifacts(self) -> list[Held[World]]:
        """Return the artifacts that are not undone."""
        return [held for held in self._helds
                if held.entry.role == Role.ARTIFACT
                and held.entry.phase != Phase.UNDONE]

    @contextlib.contextmanager
    def hold(self, step: Step[World], *,
             start: bool = True) -> cabc.Iterator[Held[World]]:
        """Do a step and undo it when the block ends, whatever happens.

        :param start: False when the block calls :meth:`Held.start` itself;
            the intent is written all the same
        :raises UndoFailed: when the block went well and the undo did not; it
            is tried once more at the end of the transaction
        """
        held = self._begin(step, Role.HOLD)
        try:
            if start:
                held.start()
            yield held
        except BaseException:
            self.undo(held)
            raise
        if not self.undo(held) and not self.record.committed:
            raise errors.UndoFailed(
                step=held.step.kind,
                reason=str(held.failure)) from held.failure

    @contextlib.contextmanager
    def outcomes_later(self) -> cabc.Iterator[None]:
        """Write the outcome of no hold while the block runs.

        For a block that must not wait for the disk: it is written with the
        next intent or undo, or after the block.

        :raises JournalError: when the block went well and that cannot be
            written
        """
        self._outcomes_wait = True
        try:
            yield
        finally:
            self._outcomes_wait = False
        if self._is_behind:
            self._write()

    def commit(self) -> None:
        """Say durably that the operation succeeded.

        :raises JournalError: when that cannot be written; not committed
        """
        self.record.committed = True
        try:
            self._write()
        except BaseException:
            self.record.committed = False
            raise

    def give_room_back(self) -> None:
        """Say that no more is written on this host.

        :raises JournalError: when that cannot be written
        """
        if self.record.reservations:
            self.record.reservations = []
            self._write()

    def settle(self, *, artifacts: bool = True) -> bool:
        """Undo what must not remain, the last step first, and forget.

        An interrupt is raised when all is undone, not before.

        :param artifacts: False undoes holds alone, and leaves what is
            elsewhere to a later call
        :returns: False when the record stays for that
        :raises RollbackIncomplete: when a step could not be undone; the
            others were, and the record stays
        :raises JournalError: when only the record could not be removed
        """
        interrupt = None
        is_settled = True
        for held in reversed(self._helds):
            is_artifact = held.entry.role == Role.ARTIFACT
            if is_artifact and self.record.committed:
                continue
            if is_artifact and not artifacts:
                is_settled = is_settled and held.entry.phase == Phase.UNDONE
            else:
                try:
                    self.undo(held)
                except BaseException as exc:  # noqa: BLE001 - raised below
                    interrupt = exc
        failed = [held for held in reversed(self._helds) if held.failure]
        if failed:
            raise self._incomplete(failed) from interrupt
        if is_settled:
            self._store.remove(self.record.id)
        if interrupt is not None:
            raise interrupt
        return is_settled

    def note(self, held: Held[World], phase: record_model.Phase) -> None:
        """Write down how far a step came.

        :raises JournalError: when that cannot be written
        """
        held.entry.phase = phase
        held.entry.facts = held.step.facts()
        LOG.debug('%s %s: %s', self.record.id, held.step.kind, phase)
        if (self._outcomes_wait and phase == Phase.DONE
                and held.entry.role == Role.HOLD):
            self._is_behind = True
        else:
            self._write()

    def _write(self) -> None:
        self._store.write(self.record)
        self._is_behind = False

    def _begin(self, step: Step[World],
               role: record_model.Role) -> Held[World]:
        entry = record_model.Entry(kind=step.kind, role=role,
                                   phase=Phase.INTENT, facts=step.facts())
        held = Held(self, step, entry)
        self.record.entries.append(entry)
        self._helds.append(held)
        self.note(held, Phase.INTENT)
        return held

    def undo(self, held: Held[World]) -> bool:
        """Undo one step now and tell whether that succeeded.

        A step whose undo is interrupted is asked again before the interrupt
        goes on: what encloses it must not be undone before it is. After the
        commit the interrupt comes too late and ends here.
        """
        try:
            return self._undo(held)
        except BaseException as exc:  # noqa: BLE001 - raised below
            interrupt = exc
        try:
            is_undone = self._undo(held)
        except BaseException as exc:
            held.failure = exc
            raise
        if not self.record.committed:
            raise interrupt
        LOG.warning('%r comes after the commit of record %s', interrupt,
                    self.record.id)
        return is_undone

    def _undo(self, held: Held[World]) -> bool:
        if held.entry.phase == Phase.UNDONE:
            return True
        try:
            held.step.undo(self.world)
        # Law 6: whatever one undo raises, the others run, and it is kept.
        except Exception as exc:  # noqa: BLE001
            held.failure = exc
            LOG.warning('%s of record %s is not undone yet: %s',
                        held.step.kind, self.record.id, exc)
            return False
        held.failure = None
        try:
            self.note(held, Phase.UNDONE)
        except errors.JournalError as exc:
            # The world is as it should be: only the record is behind. It is
            # removed at the end, or the undo is asked again, which is safe.
            LOG.warning('%s', exc)
        return True

    def _incomplete(self, failed: cabc.Sequence[Held[World]]) -> (
            errors.RollbackIncomplete):
        undone = '; '.join(
            f'{held.step.kind}: {str(held.failure) or repr(held.failure)}'
            for held in failed)
        return errors.RollbackIncomplete(
            reason=f'The {self.record.operation} snapshot of '
                   f'{self.record.instance_name} is not cleaned up',
            undone=undone, record=self.record.id)
