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

from oslo_log import log as logging

from nova_snap import errors
from nova_snap.journal import transaction
from nova_snap.model import plan as plan_model
from nova_snap.steps import freeze
from nova_snap.steps import world as world_module

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def frozen(txn: transaction.Transaction,
           plan: plan_model.Plan) -> cabc.Iterator[bool]:
    """Freeze, run the block, thaw; tell the block whether it is frozen.

    :raises QuiesceFailed: when it is required and cannot be done; thawed
    """
    world: world_module.World = txn.world
    is_frozen = False
    started = world.clock.monotonic()
    try:
        with contextlib.ExitStack() as thaw:
            if plan.wants_freeze:
                is_frozen = _freeze(txn, plan, thaw)
            yield is_frozen
    finally:
        if is_frozen:
            LOG.info('Guest %s frozen for %.2f s', plan.instance_name,
                     world.clock.monotonic() - started)


def _freeze(txn: transaction.Transaction, plan: plan_model.Plan,
            thaw: contextlib.ExitStack) -> bool:
    world: world_module.World = txn.world
    timeout = world.settings.freeze_timeout
    uuid = plan.instance_uuid
    freezing = None
    try:
        thaw.enter_context(txn.hold(freeze.BoundAgentWaits(uuid, timeout)))
        world.host.domain(uuid).ask_agent_time()
        freezing = thaw.enter_context(txn.hold(
            freeze.FreezeFilesystems(uuid, plan.qemu_id, timeout),
            start=False))
        freezing.start()
    except errors.QuiesceFailed as exc:
        # What is frozen all the same and does not thaw must not wait for
        # the end of an upload.
        may_be_frozen = freezing and not freezing.release_early()
        if plan.requires_freeze or may_be_frozen:
            raise
        LOG.warning('%s is snapshotted without frozen file systems: %s',
                    plan.instance_name, exc)
        return False
    return True
