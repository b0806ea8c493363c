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

"""What Nova knows of an instance, asked when its guest shall come back."""

import typing as ty

from nova.compute import task_states
from nova.compute import vm_states
import nova.conf
from nova import context as nova_context
from nova import exception
from nova import objects
from nova.objects import fields

CONF = nova.conf.CONF

# An instance whose guest another host has, or will have.
# :source: nova/compute/manager.py _destroy_evacuated_instances
EVACUATED = ('accepted', 'pre-migrating', 'done')


def why_away(uuid: str) -> str | None:
    """Say why a guest must not be started or defined here, if it must not.

    Raises what Nova's database raises: then it cannot be told.

    :source: nova/compute/manager.py _destroy_evacuated_instances
    """
    context: ty.Any = nova_context.get_admin_context()
    try:
        instance = objects.Instance.get_by_uuid(context, uuid)
    except exception.InstanceNotFound:
        return 'Nova has deleted it'
    if instance.host != CONF.host:
        return f'Nova has it on {instance.host}'
    if (instance.deleted or instance.task_state == task_states.DELETING
            or instance.vm_state in (vm_states.DELETED,
                                     vm_states.SOFT_DELETED)):
        return 'Nova deletes it'
    evacuations = objects.MigrationList.get_by_filters(context, {
        'source_compute': CONF.host, 'instance_uuid': uuid,
        'migration_type': fields.MigrationType.EVACUATION,
        'status': list(EVACUATED)})
    return 'it was evacuated' if evacuations else None
