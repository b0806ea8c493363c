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

"""One operation on one instance: its lock, its record, its transaction.

Whatever is done to an instance begins here, in this order: the lock is
taken, what a dead process left of the instance is settled, and then, when it
is known what will be done, the record is written. So a flow finds no trace
of an earlier one, and no other process comes between.
"""

import collections.abc as cabc
import contextlib
import datetime
import uuid as uuid_module

from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.journal import record as record_model
from nova_snap.steps import world as world_module


class Operation:
    """An instance that no other process works on; handed out by `begun`.

    :ivar record_id: that its record will have
    """

    def __init__(self, node: world_module.Node, instance_uuid: str,
                 unthawed: cabc.Sequence[recovery.Finding]) -> None:
        self._node = node
        self._instance_uuid = instance_uuid
        self.record_id = str(uuid_module.uuid4())
        self._unthawed = unthawed

    def transaction(self, kind: str, instance_name: str,
                    images: cabc.Iterable[record_model.Image] = (),
                    reservations: cabc.Iterable[record_model.Reservation] = (),
                    *, asks_agent: bool = True) -> world_module.Transaction:
        """Return the transaction of the operation, with its record.

        The record is written when the transaction is entered.

        :param kind: of operation, in a word
        :param images: those that the operation is to leave
        :param reservations: what it writes on this host
        :param asks_agent: the operation is for a guest that is not frozen
            and can be
        :raises InstanceBusy: when it is, and the guest did not thaw before
        """
        node = self._node
        if self._unthawed and asks_agent:
            raise recovery.busy(self._unthawed[0])
        recovery.thaw_later(node, self._unthawed)
        record = record_model.Record(
            id=self.record_id, operation=kind,
            instance_uuid=self._instance_uuid, instance_name=instance_name,
            images=list(images), reservations=list(reservations),
            host=node.world.settings.host,
            machine_id=node.machine_id, boot_id=node.boot_id,
            started_at=datetime.datetime.fromtimestamp(
                node.world.clock.time(), datetime.timezone.utc
            ).isoformat('T', 'seconds'))
        return world_module.Transaction(node.store, record, node.world)


@contextlib.contextmanager
def begun(node: world_module.Node, instance_uuid: str, *,
          nova_is_stopped: bool = False) -> cabc.Iterator[Operation]:
    """Hold an instance, with nothing left on it, until the block ends.

    A freeze may be left, of a guest whose agent does not thaw it.

    :param nova_is_stopped: no Nova acts on the host, as the operator says
    :raises InstanceBusy: when another process or thread holds it, or when
        what an earlier one left cannot be settled
    :raises JournalError: when the journal cannot be used
    """
    node.store.prepare()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(node.locks.instance(instance_uuid))
        except errors.InstanceLocked as exc:
            raise errors.InstanceBusy(
                instance=instance_uuid,
                reason='another snapshot of it is under way: "nova-snap '
                       'status" shows it') from exc
        yield Operation(node, instance_uuid, recovery.settle_instance(
            node, instance_uuid, nova_is_stopped=nova_is_stopped))
