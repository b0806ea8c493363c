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

"""What one release of Nova has and another has not.

A feature is looked for, and no version is compared: Nova's maintainers take
features back into older releases, and distributions do as well.
"""

import collections.abc as cabc
import pkgutil
import typing as ty

import nova.conf
from nova import exception

from nova_snap import errors

CONF = nova.conf.CONF

_DRIVER = 'nova.virt.libvirt.driver.LibvirtDriver.'
# Whatever else of Nova the driver uses. Without one of these a snapshot would
# fail when it is nearly done.
NEEDED = (
    'nova.block_device.strip_dev',
    'nova.compute.power_state.SHUTDOWN',
    'nova.compute.task_states.DELETING',
    'nova.compute.task_states.IMAGE_PENDING_UPLOAD',
    'nova.compute.task_states.IMAGE_UPLOADING',
    'nova.compute.utils.disk_ops_semaphore',
    'nova.compute.vm_states.DELETED',
    'nova.compute.vm_states.SOFT_DELETED',
    'nova.context.get_admin_context',
    'nova.exception.HypervisorUnavailable',
    'nova.exception.ImageNotAuthorized',
    'nova.exception.ImageNotFound',
    'nova.exception.ImageQuotaExceeded',
    'nova.exception.InstanceNotFound',
    'nova.exception.InstanceNotRunning',
    'nova.exception.InstanceQuiesceNotSupported',
    'nova.exception.NovaException',
    'nova.image.glance._session_and_auth',
    'nova.image.glance.generate_glance_url',
    'nova.objects.fields.MigrationType',
    'nova.privsep.path.chown',
    'nova.privsep.sys_admin_pctxt',
    'nova.virt.libvirt.utils.get_disk_type_from_path',
    f'{_DRIVER}_can_quiesce',
    f'{_DRIVER}_create_snapshot_metadata',
    f'{_DRIVER}_get_all_assigned_mediated_devices',
    f'{_DRIVER}_requires_quiesce',
)


def check() -> None:
    """Look for all that every release has.

    :raises ConfigError: naming what this Nova has not
    """
    for name in NEEDED:
        try:
            pkgutil.resolve_name(name)
        except (AttributeError, ImportError) as exc:
            raise _missing(name) from exc


def power_up(driver: ty.Any) -> cabc.Callable[[ty.Any], None]:
    """Return what powers up the dedicated CPUs of an instance.

    The releases before 27 switch no CPU off.

    :param driver: Nova's
    :raises ConfigError: when this Nova switches them off and has neither
    :source: nova/virt/libvirt/cpu/api.py power_up_for_instance; power_up of
        27.0 and 28.0
    """
    # A group of options raises an AttributeError for one that it has not.
    if not hasattr(CONF.libvirt, 'cpu_power_management'):
        return lambda instance: None
    for name, owner in (('power_up_for_instance',
                         getattr(driver, 'cpu_api', None)),
                        ('power_up', _resolve('nova.virt.libvirt.cpu.api'))):
        if hasattr(owner, name):
            return ty.cast(cabc.Callable[[ty.Any], None],
                           getattr(owner, name))
    raise _missing('nova.virt.libvirt.cpu.api.API.power_up_for_instance')


def quiesce_failed(reason: str) -> exception.NovaException:
    """Make what nova-api takes for a freeze or a thaw that failed.

    :source: nova/compute/api.py snapshot_volume_backed, which lets an image
        that demands no freeze go on; InstanceQuiesceFailed since 27
    """
    kind = getattr(exception, 'InstanceQuiesceFailed', None)
    if kind is not None:
        return kind(reason=reason)
    return exception.InstanceQuiesceNotSupported(
        f'Failed to quiesce instance: {reason}')


def _resolve(name: str) -> ty.Any:
    try:
        return pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return None


def _missing(name: str) -> errors.ConfigError:
    return errors.ConfigError(
        option='[DEFAULT]compute_driver',
        reason=f'nova_snap.LibvirtDriver needs {name}, which this Nova has '
               'not. Set libvirt.LibvirtDriver, Nova\'s own driver')
