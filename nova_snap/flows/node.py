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

"""What one process on one compute node works with."""

import collections.abc as cabc
import dataclasses
import datetime
import uuid as uuid_module

from nova_snap.host import locks as locks_module
from nova_snap.journal import record as record_model
from nova_snap.journal import store as store_module
from nova_snap.steps import world as world_module


@dataclasses.dataclass(frozen=True)
class Node:
    """The world, the memory of what was done to it, and who we are.

    :ivar nova_compute_runs: asks whether a nova-compute is on this host
    :ivar why_away: asks Nova about a guest of Nova's that a recovery would
        define or start; None where Nova cannot be asked: then none of them
        comes back while a nova-compute runs
    """

    world: world_module.World
    store: store_module.Store
    locks: locks_module.Locks
    machine_id: str
    boot_id: str
    nova_compute_runs: cabc.Callable[[], bool]
    why_away: world_module.WhyAway | None = None

    def new_record(self, operation: str, instance_uuid: str,
                   instance_name: str, image_id: str = '',
                   image_name: str = '') -> record_model.Record:
        """Begin the record of an operation by this process."""
        return record_model.Record(
            id=str(uuid_module.uuid4()), operation=operation,
            instance_uuid=instance_uuid, instance_name=instance_name,
            image_id=image_id, image_name=image_name,
            host=self.world.settings.host, machine_id=self.machine_id,
            boot_id=self.boot_id,
            started_at=datetime.datetime.fromtimestamp(
                self.world.clock.time(), datetime.UTC
            ).isoformat('T', 'seconds'))
