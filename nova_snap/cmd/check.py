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

"""nova-snap check"""

import argparse
import collections.abc as cabc
import shutil
import typing as ty

from nova_snap.cmd import configuration as configuration_module
from nova_snap.cmd import runtime as runtime_module
from nova_snap.cmd import shim
from nova_snap.cmd import show
from nova_snap.conf import files as conf_files
from nova_snap import errors
from nova_snap.flows import into_ceph as into_ceph_flow
from nova_snap.flows import recovery
from nova_snap.host import file_systems
from nova_snap.host import files as files_module
from nova_snap.host import processes
from nova_snap.host import systemd
from nova_snap.model import layer as layer_model
from nova_snap.model.plan import direct as direct_plan
from nova_snap.model.plan import into_ceph as into_ceph_plan
from nova_snap.steps import world as world_module
from nova_snap import units

# Nova 34 supports nothing older.
# :source: nova/virt/libvirt/driver.py MIN_LIBVIRT_VERSION, MIN_QEMU_VERSION
MIN_LIBVIRT = (8, 0, 0)
MIN_QEMU = (6, 2, 0)
TOOLS = {'qemu-img': 'qemu-utils', 'setpriv': 'util-linux',
         'prlimit': 'util-linux'}

QEMU_NBD = 'qemu-nbd'

Finding = tuple[bool, str]
# What a look is at.
Seen = ty.TypeVar('Seen')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what check takes."""
    parser.add_argument('--json', action='store_true',
                        help='print it for a program to read')


def run(arguments: argparse.Namespace,
        runtime: runtime_module.Runtime) -> None:
    """Say in words whether this node is ready.

    :raises Refused: when it is not
    :raises OutputLost: when it cannot be said
    """
    node = runtime.node(signed_in=False)
    findings = _said_once([
        *(_finding(look, node) for look in LOOKS),
        *(_finding(look, runtime.configuration)
          for look in LOOKS_AT_CONFIGURATION)])
    if arguments.json:
        show.as_json([{'ready': good, 'says': words}
                      for good, words in findings])
    else:
        show.out('\n'.join(('ok   ' if good else 'NO   ') + words
                           for good, words in findings))
    bad = sum(not good for good, _ in findings)
    if bad:
        raise errors.Refused(reason=f'This node is not ready: {bad} of '
                                    f'{len(findings)} checks say no')


def _finding(look: cabc.Callable[[Seen], str], seen: Seen) -> Finding:
    try:
        return True, look(seen)
    except errors.SnapError as exc:
        return False, str(exc)


def _said_once(findings: list[Finding]) -> list[Finding]:
    """Drop what was said before, as of credentials for two services."""
    return list(dict.fromkeys(findings))


def _tools(node: world_module.Node) -> str:
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise errors.Refused(
                reason=f'{tool} is not there: install the package {package}')
    if (node.world.settings.upload == 'stream'
            and shutil.which(QEMU_NBD) is None):
        raise errors.Refused(
            reason=f'{QEMU_NBD} is not there, and [nova_snap]upload = stream '
                   'needs it: install the package qemu-utils')
    return 'qemu-img, setpriv and prlimit are there'


def _hypervisor(node: world_module.Node) -> str:
    libvirt = node.world.host.connection
    for name, version, least in (
            ('libvirt', libvirt.version(), MIN_LIBVIRT),
            ('QEMU', libvirt.qemu_version(), MIN_QEMU)):
        if version < least:
            raise errors.Refused(
                reason=f'{name} is {_dotted(version)}, and {_dotted(least)} '
                       'is the oldest that works')
    return (f'libvirt {_dotted(libvirt.version())} with QEMU '
            f'{_dotted(libvirt.qemu_version())} at {libvirt.uri}')


def _snapshots_directory(node: world_module.Node) -> str:
    settings = node.world.settings
    path = settings.snapshots_directory
    room = files_module.snapshots_room(
        path, is_default=settings.snapshots_directory_is_default)
    free = node.world.files.free_bytes(room)
    for domain in node.world.host.domains():
        files_module.check_qemu_enters(room, domain.model().qemu_user)
    return (f'snapshots_directory {path} has {units.format_bytes(free)} '
            'free')


def _journal(node: world_module.Node) -> str:
    node.store.prepare()
    file_systems.check_lasting(str(node.store.path))
    left = [f for f in recovery.status(node)
            if f.outcome != recovery.Outcome.UNDER_WAY]
    if left:
        raise errors.Refused(
            reason=f'earlier snapshots have left records, {len(left)} in all: '
                   '"nova-snap status" shows them')
    return (f'the journal {node.store.path} is on a local disk, and nothing '
            'is left in it')


def _image_service(node: world_module.Node) -> str:
    node.world.images.check()
    return 'Glance answers and takes our credentials'


def _delivery(node: world_module.Node) -> str:
    """Say where images are written, and how they get there."""
    world = node.world
    if world.settings.deliver != into_ceph_plan.RBD:
        return 'images are uploaded to Glance'
    found, why = into_ceph_flow.find(world)
    if found is None:
        raise errors.Refused(
            reason='Images are uploaded, although [nova_snap]deliver is rbd: '
                   + why)
    said = (f'images are written into pool {found.pool} of Ceph cluster '
            f'{found.fsid} ({why})')
    if node.nova_compute_runs() and not world.settings.rbd_glance_pool:
        # It signs in with those credentials alone, not with OS_*.
        said += (f'; those of nova-compute only if {direct_plan.OPTION} = '
                 f'{found.pool} is in nova.conf, or a user with the role '
                 'service in [nova_snap] or [service_user]')
    return said


def _volume_service(node: world_module.Node) -> str:
    try:
        node.world.volumes.check()
    except errors.VolumeServiceAbsent as exc:
        return f'{exc}. Volume-backed instances are not snapshotted here'
    return 'Cinder answers and takes our credentials'


def _nova(node: world_module.Node) -> str:
    if node.nova_compute_runs():
        if not processes.nova_computes() and not processes.sees_host():
            return ('whether a nova-compute runs on this host is not known: '
                    'this container sees its own processes alone. Its guests '
                    'are taken as if one ran: live; cold only through Nova')
        return ('a nova-compute runs here: its guests are snapshotted live; '
                'cold only through Nova')
    return 'no nova-compute runs here'


def _ceph(node: world_module.Node) -> str:
    """Say what Ceph does for guests of Nova's whose disks are there."""
    settings = node.world.settings
    if not settings.rbd_user:
        return 'Ceph is not asked: no [libvirt]rbd_user is set'
    ceph = node.world.ceph(layer_model.CephClient(
        settings.rbd_user, settings.images_rbd_ceph_conf))
    fsid = ceph.fsid()
    pool, why = direct_plan.pool(settings, direct_plan.Facts(
        fsid, node.world.images.stores(), parent_pool=None))
    said = f'Ceph {fsid} answers {ceph.client}: root disks there are '
    if pool is None:
        return (f'{said}cloned where the image that they were made of is, and '
                f'else read and sent ({why})')
    ceph.check_writable(pool)
    return f'{said}cloned into pool {pool} ({why})'


def _stop_limit(node: world_module.Node) -> str:
    """Say whether nova-compute has the time to end snapshots when it stops.

    The driver makes do with less.
    """
    unit = systemd.unit_of_nova_compute()
    if unit is None:
        return 'no service of systemd runs nova-compute here'
    limit = systemd.stop_limit_of(unit)
    if limit is None:
        return f'systemd sets no limit to how long {unit} takes to stop'
    said = f'systemd kills {unit} {limit:g} s after it was told to stop'
    enough = systemd.STOP_SECONDS + systemd.OTHERS_SECONDS
    if limit >= enough:
        return f'{said}: that is enough to end snapshots'
    left = max(0, limit - systemd.OTHERS_SECONDS)
    folder = f'/etc/systemd/system/{unit}.d'
    return (f'{said}: a snapshot that has not ended within {left:g} s is '
            f'settled at its next start. {enough} s are enough: mkdir -p '
            f"{folder} && printf '[Service]\\nTimeoutStopSec={enough}\\n' "
            f'> {folder}/nova_snap.conf && systemctl daemon-reload && '
            f'systemctl restart {unit}')


def _configuration(found: configuration_module.Configuration) -> str:
    if found.away is not None:
        raise errors.Refused(
            reason=f'the nova-compute with the PID {found.away} runs in a '
                   'container, and the files that it reads are not those of '
                   'the same name here. Run this command in that container, '
                   'or name files with --config-file')
    if not found.files:
        return 'no file of options is there'
    settings = conf_files.settings_of(
        found.files, 'libvirt', set(found.conf['libvirt']))
    by_file: dict[str, list[str]] = {}
    for name, said in sorted(settings.items()):
        by_file.setdefault(said[-1].file, []).append(name)
    libvirt = ', '.join(f'{" and ".join(names)} from {file}'
                        for file, names in by_file.items())
    return (f'options are read from {", ".join(found.files)}, '
            f'{found.whose}; [libvirt] has '
            f'{libvirt or "its defaults"}')


def _driver(found: configuration_module.Configuration) -> str:
    settings = conf_files.settings_of(
        found.files, 'DEFAULT', ('compute_driver',)).get(
            'compute_driver', [])
    driver = settings[-1].value if settings else None
    ours = [one for one in settings
            if one.value.startswith(shim.DRIVER_PREFIX)]
    if ours and settings[-1] not in ours:
        raise errors.Refused(
            reason=f'compute_driver in {ours[-1].file} is '
                   f'{ours[-1].value}, and {settings[-1].file}, which is '
                   f'read after it, sets {driver}: that is what Nova loads. '
                   f'Set compute_driver in {settings[-1].file}')
    words = shim.look(driver)
    if driver is None:
        return f'no file sets compute_driver, and {words}'
    return (f'compute_driver is {driver}, set last in {settings[-1].file}: '
            f'{"ours" if ours else "not ours"}; {words}')


def _dotted(version: tuple[int, ...]) -> str:
    return '.'.join(map(str, version))


LOOKS = (_tools, _hypervisor, _snapshots_directory, _journal,
         _image_service, _delivery, _volume_service, _ceph, _nova,
         _stop_limit)
LOOKS_AT_CONFIGURATION = (_configuration, _driver)
