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

"""The options: one group a file, with Nova's names and defaults.

The doors alone use this package. The command registers everything on a
ConfigOpts of its own::

    conf = cfg.ConfigOpts()
    nova_snap.conf.register_opts(conf)
    conf(arguments, project='nova')
    settings = nova_snap.conf.settings(conf)

Where Nova's options are registered already, only
:func:`register_beside_nova` is needed. Values are read once, by
:func:`settings`, and handed down.
"""

import collections.abc
import contextlib
import copy
import os
import types
import typing as ty

from oslo_config import cfg

from nova_snap.conf import cinder
from nova_snap.conf import compute
from nova_snap.conf import ephemeral_storage
from nova_snap.conf import glance
from nova_snap.conf import imagecache
from nova_snap.conf import libvirt
from nova_snap.conf import netconf
from nova_snap.conf import nova_snap as own
from nova_snap.conf import paths
from nova_snap.conf import service_user
from nova_snap.conf import workarounds
from nova_snap import errors
from nova_snap.model import settings as settings_model
from nova_snap import units

# The groups that Nova has too; a test compares them with Nova's.
NOVA_MODULES = (
    paths,
    netconf,
    compute,
    imagecache,
    libvirt,
    workarounds,
    ephemeral_storage,
    glance,
    cinder,
    service_user,
)

# What Nova connects to when connection_uri is empty.
_DEFAULT_URIS = {
    'kvm': 'qemu:///system',
    'qemu': 'qemu:///system',
    'lxc': 'lxc:///',
    'parallels': 'parallels:///system',
}

# An address must not depend on where a process was started: QEMU, which
# writes into one of them, has another working directory than we have.
_ABSOLUTE_PATHS = (
    (None, 'state_path'),
    (None, 'instances_path'),
    ('libvirt', 'snapshots_directory'),
    ('nova_snap', 'journal_dir'),
)

# Nova gives these no bounds, and with less no image can be looked at.
_POSITIVE_LIMITS = (
    ('libvirt', 'images_cpu_time_limit'),
    ('libvirt', 'images_address_space_limit'),
)

# With Nova's default, which is never meant. Appended, the group is the one
# that is there.
_NO_STATE_PATH = (
    'no nova.conf that is read sets it, and nova-snap needs it. Set it to the '
    'value that nova-compute has (often /var/lib/nova). Without Nova this '
    'makes the smallest nova.conf: mkdir -p /etc/nova '
    '/var/lib/nova/instances/snapshots && printf '
    "'[DEFAULT]\\nstate_path = /var/lib/nova\\n' >>/etc/nova/nova.conf")


def register_own(conf: cfg.ConfigOpts) -> None:
    """Register [nova_snap] alone, where Nova registered the rest."""
    _register(conf, own)


def register_beside_nova(conf: cfg.ConfigOpts) -> None:
    """Register what Nova has not: [nova_snap], and what a later Nova brought.

    An option that Nova has stays Nova's: defaults differ by release.
    """
    register_own(conf)
    for module in NOVA_MODULES:
        for opt in module.OPTS:
            with contextlib.suppress(cfg.DuplicateOptError):
                conf.register_opt(opt, group=module.GROUP
                                  and module.GROUP.name)


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register everything that the command reads from nova.conf."""
    for module in (*NOVA_MODULES, own):
        _register(conf, module)


def _register(conf: cfg.ConfigOpts, module: types.ModuleType) -> None:
    if module.GROUP is None:
        conf.register_opts(module.OPTS)
        return
    # A group keeps the options that were registered in it: with a copy,
    # those of one ConfigOpts do not come up in the next.
    conf.register_group(copy.deepcopy(module.GROUP))
    conf.register_opts(module.OPTS, group=module.GROUP.name)


def list_opts() -> list[tuple[cfg.OptGroup | None, list[cfg.Opt]]]:
    """List all options, for oslo-config-generator."""
    return [(module.GROUP, getattr(module, 'SAMPLE_OPTS', module.OPTS))
            for module in (*NOVA_MODULES, own)]


def settings(conf: cfg.ConfigOpts) -> settings_model.Settings:
    """Read every option, so that a bad value is found at the start.

    :raises ConfigError: when a value cannot be used; nothing was touched
    """
    _read_all(conf)
    for group, name in _ABSOLUTE_PATHS:
        _check(os.path.isabs, conf, group, name,
               'is not the full path of a directory')
    for group, name in _POSITIVE_LIMITS:
        _check((1).__le__, conf, group, name, 'is not at least 1')
    if not _is_outside_package(conf.nova_snap.journal_dir):
        raise errors.ConfigError(option='[DEFAULT]state_path',
                                 reason=_NO_STATE_PATH)
    return _values(conf)


def _values(conf: cfg.ConfigOpts) -> settings_model.Settings:
    return settings_model.Settings(
        host=conf.host,
        state_path=conf.state_path,
        instances_path=conf.instances_path,
        image_cache=os.path.join(conf.instances_path,
                                 conf.image_cache.subdirectory_name),
        compute_driver=conf.compute_driver,
        virt_type=conf.libvirt.virt_type,
        connection_uri=(conf.libvirt.connection_uri
                        or _DEFAULT_URIS[conf.libvirt.virt_type]),
        snapshots_directory=conf.libvirt.snapshots_directory,
        snapshots_directory_is_default=_is_default(
            conf, 'libvirt', 'snapshots_directory'),
        snapshot_image_format=conf.libvirt.snapshot_image_format,
        snapshot_compression=conf.libvirt.snapshot_compression,
        images_cpu_time_limit=conf.libvirt.images_cpu_time_limit,
        images_address_space_limit=(
            conf.libvirt.images_address_space_limit * units.GiB),
        rbd_user=conf.libvirt.rbd_user or '',
        images_rbd_ceph_conf=conf.libvirt.images_rbd_ceph_conf,
        rbd_connect_timeout=conf.libvirt.rbd_connect_timeout,
        images_rbd_glance_store_name=(
            conf.libvirt.images_rbd_glance_store_name),
        disable_libvirt_livesnapshot=(
            conf.workarounds.disable_libvirt_livesnapshot),
        ephemeral_storage_encryption=(
            conf.ephemeral_storage_encryption.enabled),
        non_inheritable_image_properties=frozenset(
            conf.non_inheritable_image_properties),
        glance_num_retries=conf.glance.num_retries,
        cinder_http_retries=conf.cinder.http_retries,
        **{opt.dest: conf.nova_snap[opt.dest] for opt in own.SNAPSHOT_OPTS})


def _read_all(conf: cfg.ConfigOpts) -> None:
    for module in (*NOVA_MODULES, own):
        for opt in module.OPTS:
            _read(conf, module.GROUP and module.GROUP.name, opt.dest)


def _read(conf: cfg.ConfigOpts, group: str | None, name: str) -> ty.Any:
    with _naming(group, name):
        return conf[group][name] if group else conf[name]


def _check(is_good: collections.abc.Callable[[ty.Any], bool],
           conf: cfg.ConfigOpts, group: str | None, name: str,
           fault: str) -> None:
    value = _read(conf, group, name)
    if not is_good(value):
        raise errors.ConfigError(option=_full_name(group, name),
                                 reason=f'{value!r} {fault}')


def _is_outside_package(path: str) -> bool:
    """Say whether a directory is not that of this package.

    With Nova's default state_path, which is never meant, the journal would
    come to lie there, and the package be closed to all other users.
    """
    package = os.path.realpath(os.path.join(os.path.dirname(__file__), '..'))
    return os.path.realpath(path) != package


@contextlib.contextmanager
def _naming(group: str | None,
            name: str) -> collections.abc.Iterator[None]:
    """Turn what oslo.config says of a value into our error.

    :raises ConfigError: when the value cannot be parsed, or refers to an
        option that does not exist
    :source: oslo.config parses a value when it is read, not when the file
        is; ConfigOpts._do_get
    """
    try:
        yield
    except (cfg.Error, ValueError) as exc:
        raise errors.ConfigError(option=_full_name(group, name),
                                 reason=str(exc)) from exc


def _full_name(group: str | None, name: str) -> str:
    return f'[{group or "DEFAULT"}]{name}'


def _is_default(conf: cfg.ConfigOpts, group: str, name: str) -> bool:
    """Say whether neither the operator nor a program set an option."""
    info = conf.get_location(name, group)
    return info is None or info.location in (cfg.Locations.opt_default,
                                             cfg.Locations.set_default)
