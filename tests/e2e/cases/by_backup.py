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

import libvirt

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
