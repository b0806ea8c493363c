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

"""nova-compute is killed during a snapshot and started again."""

import collections.abc

from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.e2e import server as server_module
from tests.lab import proxy

# Bytes of an image after which its upload is under way.
UPLOADED = 1 << 20

# The name of the image.
KILLED = 'killed'


def in_mirror(scene: scenes.Scene) -> None:
    """While libvirt copies the disk."""
    server = scene.server()
    killed_when(scene, server, server.is_mirrored, 'a block job')


def in_convert(scene: scenes.Scene) -> None:
    """While qemu-img writes the image."""
    server = scene.server()

    def is_converted() -> bool:
        return any(' convert ' in command and
                   str(scene.cloud.layout.snapshots) in command
                   for _, command in checks.processes('qemu-img'))

    killed_when(scene, server, is_converted, 'qemu-img convert')


def in_upload(scene: scenes.Scene) -> None:
    """While Glance gets the image."""
    server = scene.server()
    fault = scene.between.inject(proxy.Fault(
        'PUT', proxy.FILE, call=lambda: None, call_after=UPLOADED))
    killed_when(scene, server, fault.happened.is_set, 'an upload')


def while_saved(scene: scenes.Scene) -> None:
    """While the guest is down for a cold snapshot."""
    server = scene.server()

    def is_saved() -> bool:
        with server.domain() as domain:
            return not domain.isActive() and domain.hasManagedSaveImage()

    killed_when(scene, server, is_saved, 'a saved guest', same_qemu=False)
    checks.expect(not scenes.BOOTED.search(server.console()),
                  'the guest was booted, not resumed')


def killed_when(scene: scenes.Scene, server: server_module.Server,
                look: collections.abc.Callable[[], object], what: str, *,
                same_qemu: bool = True,
                then: collections.abc.Callable[[], object] | None = None,
                may_be_made: bool = False) -> None:
    """Kill nova-compute at a moment, and check what its next start mends.

    :param then: called when it is dead, before it is started
    :param may_be_made: the image may be there in the end, whole
    :raises ProofFailed: naming what was not mended
    """
    compute = scene.cloud.compute
    qemu_pid = server.qemu_pid() if same_qemu else None

    def kill() -> None:
        compute.kill()
        if then is not None:
            then()

    with scenes.watching(look, kill, timeout=scenes.MOMENT_TIMEOUT,
                         what=what):
        before = server.last_record()
        scene.run('nova', 'image-create', server.id, KILLED)
    after = server.last_record()
    scene.between.clear()
    compute.start()
    scene.cloud.wait_compute()
    server.wait_status('ACTIVE')
    checks.is_whole(server, qemu_pid)
    checks.nothing_is_left(scene.cloud)
    names = scene.image_names()
    if may_be_made and names:
        scene.prove(scenes.Taken(scene.wait_image(KILLED), before, after))
        return
    checks.expect(not names, f'there is an image of it: {names}')
