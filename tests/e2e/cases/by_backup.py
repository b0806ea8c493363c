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

"""Snapshots by a backup job, and what is done to the server while it runs."""

import contextlib
import threading

import libvirt
from openstack import exceptions

from tests.e2e.cases import kills
from tests.e2e.cases import snapshots
from tests.e2e.cases import stop
from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.e2e import server as server_module
from tests.e2e import waiting
from tests.lab import proxy

# Seconds for Nova to delete a server.
DELETED_TIMEOUT = 60
# Seconds for Nova to attach a volume, or to detach one: libvirt itself waits
# for the end of a job that hinders it half a minute.
# :source: libvirt src/qemu/qemu_domainjob.c, QEMU_JOB_WAIT_TIME
ATTACH_TIMEOUT = 25
# Seconds that an upload may stand still: less than makes us give it up.
STILL_SECONDS = 100


def _is_backed_up(server: server_module.Server) -> bool:
    try:
        with server.domain() as domain:
            return 'nova_snap-' in domain.backupGetXMLDesc()
    except libvirt.libvirtError:
        return False


def live(scene: scenes.Scene) -> None:
    """The guest runs on, and is never undefined."""
    server = scene.server()
    seen: list[bool] = []
    with scenes.watching(lambda: _is_backed_up(server),
                         lambda: seen.append(_is_persistent(server)),
                         timeout=scenes.MOMENT_TIMEOUT, what='a backup job'):
        snapshots.live(scene)
    checks.expect(seen == [True], 'the domain was undefined')


def _is_persistent(server: server_module.Server) -> bool:
    with server.domain() as domain:
        return bool(domain.isPersistent())


def killed(scene: scenes.Scene) -> None:
    """nova-compute dies while Glance gets the image."""
    kills.in_upload(scene)
    checks.expect(not _is_backed_up(scene.server()), 'the job runs on')


def deleted(scene: scenes.Scene) -> None:
    """The customer deletes the server while Glance gets the image."""
    server = scene.server()
    fault = scene.between.inject(proxy.Fault(
        'PUT', proxy.FILE, call=lambda: None, call_after=kills.UPLOADED))
    with scenes.watching(fault.happened.is_set, server.delete,
                         timeout=scenes.MOMENT_TIMEOUT, what='an upload'):
        scene.run('nova', 'image-create', server.id, 'deleted')
    scene.between.clear()
    waiting.wait_until(lambda: not scene.image_names(),
                       timeout=DELETED_TIMEOUT, what='no image of it')
    checks.nothing_is_left(scene.cloud)


def stopped(scene: scenes.Scene) -> None:
    """The service is stopped while the disk is read."""
    stop.stop_when(scene, _is_backed_up)


def attached(scene: scenes.Scene) -> None:
    """A volume comes and goes, and the server is rebooted, in an upload.

    Nova refuses that, until an administrator resets the server's state: Nova
    does not know of the snapshot any more then, and the snapshot fails.
    """
    scene.cloud.need_volumes()
    server = scene.server()
    volume = _volume(scene)
    go_on = threading.Event()
    fault = scene.between.inject(proxy.Fault(
        'PUT', proxy.FILE, call_after=kills.UPLOADED,
        call=lambda: go_on.wait(STILL_SECONDS)))

    def act() -> None:
        try:
            _refused(server, volume)
            scene.cloud.connect('admin').compute.reset_server_state(
                server.id, 'active')
            _attach_and_detach(server, volume)
            checks.expect(_is_backed_up(server), 'the job has ended')
            server.api.compute.reboot_server(server.id, 'HARD')
            server.wait_status('ACTIVE')
        finally:
            go_on.set()

    with scenes.watching(fault.happened.is_set, act,
                         timeout=2 * STILL_SECONDS, what='an upload'):
        scene.run('nova', 'image-create', server.id, 'attached')
    scene.between.clear()
    waiting.wait_until(lambda: not scene.image_names(),
                       timeout=DELETED_TIMEOUT, what='no image of it')
    server.wait_status('ACTIVE')
    server.wait_writing(-1)
    checks.is_whole(server, None)
    checks.nothing_is_left(scene.cloud)
    scene.api.block_storage.delete_volume(volume)


def _volume(scene: scenes.Scene) -> str:
    """Make a volume, and return its id."""
    storage = scene.api.block_storage
    made = storage.create_volume(size=server_module.VOLUME_GIB)
    waiting.wait_until(
        lambda: storage.get_volume(made.id).status == 'available',
        timeout=server_module.VOLUME_TIMEOUT, what='a volume')
    return str(made.id)


def _refused(server: server_module.Server, volume: str) -> None:
    """Check that Nova refuses at once what would disturb the snapshot."""
    compute = server.api.compute
    for what, call in (
            ('an attachment', lambda: compute.create_volume_attachment(
                server.id, volume_id=volume)),
            ('a soft reboot', lambda: compute.reboot_server(
                server.id, 'SOFT')),
            ('a hard reboot', lambda: compute.reboot_server(
                server.id, 'HARD'))):
        with contextlib.suppress(exceptions.ConflictException):
            call()
            checks.expect(False, f'Nova takes {what} during a snapshot')


def _attach_and_detach(server: server_module.Server, volume: str) -> None:
    compute = server.api.compute
    compute.create_volume_attachment(server.id, volume_id=volume)
    _wait_for_volume(server, volume, 'in-use', 2)
    compute.delete_volume_attachment(server.id, volume)
    _wait_for_volume(server, volume, 'available', 1)


def _wait_for_volume(server: server_module.Server, volume: str, status: str,
                     disks: int) -> None:
    """Wait until Cinder says so, and the guest has so many disks."""
    def is_so() -> bool:
        with server.domain() as domain:
            return (server.api.block_storage.get_volume(volume).status
                    == status
                    and domain.XMLDesc().count('<disk ') == disks)

    waiting.wait_until(is_so, timeout=ATTACH_TIMEOUT,
                       what=f'volume {volume} {status}')
