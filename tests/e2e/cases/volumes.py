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

"""Servers whose disks are volumes: nova-api snapshots what we hold still."""

import contextlib
import json
import signal
import typing as ty

from tests.e2e import checks
from tests.e2e import clients
from tests.e2e import scene as scenes
from tests.e2e import server as server_module
from tests.e2e import waiting
from tests.lab import errors
from tests.lab import proof

# Seconds for nova-compute to be told that all snapshots are made.
PATIENCE = 90

# Words of nova-compute's log.
FROZEN = 'is frozen, for'
THAWED = 'is thawed'
UNASKED = 'was thawed before it was asked for'
LATE = 'the volumes that were snapshotted are not consistent'

# Seconds of [nova_snap]quiesce_limit, for the cases in which it is reached.
SOON = 5

# What the images of two snapshots of one server need not have in common; what
# only ours has, and only nova-api's; and what Cinder says of its volume: Nova
# has it of a volume that was there before the server.
ITS_OWN = frozenset(('id', 'name', 'created_at', 'updated_at', 'file', 'self',
                     'direct_url', 'locations', 'block_device_mapping',
                     'nova_snap_consistency', 'nova_snap_consistency_of',
                     'boot_roles', 'signature_verified'))


def by_nova(scene: scenes.Scene) -> None:
    """nova-api snapshots the volumes of a guest that we hold frozen."""
    server = _server(scene)
    qemu_pid = server.qemu_pid()
    log = _Log(scene)
    taken = scene.take(server, 'volumes')
    log.wait(THAWED)
    checks.expect(FROZEN in log.said(), 'the guest was not frozen')
    checks.expect(UNASKED not in log.said(), 'it was thawed unasked')
    checks.is_whole(server, qemu_pid)
    mapping = json.loads(_image(scene, 'volumes')['block_device_mapping'])
    checks.expect(len(mapping) == 2, f'the image names {mapping}')
    _prove(scene, taken)
    checks.nothing_is_left(scene.cloud)
    server.delete()


def by_command(scene: scenes.Scene) -> None:
    """nova-snap writes what nova-api writes, and deletes all of it."""
    server = _server(scene)
    # Until Nova starts it anew its domain does not tell what Nova settled for
    # it at its first start: hw_disk_bus and such.
    scene.api.compute.reboot_server(server.id, 'HARD')
    server.wait_status('ACTIVE')
    server.wait_writing(-1)
    wait_agent(server)
    qemu_pid = server.qemu_pid()
    scene.take(server, 'novas')
    before = server.last_record()
    said = clients.nova_snap('image-create', server.id, 'ours',
                             '--quiesce', 'require')
    taken = scenes.Taken(scene.wait_image('ours'), before,
                         server.last_record())
    checks.is_whole(server, qemu_pid)
    novas, ours = _image(scene, 'novas'), _image(scene, 'ours')
    checks.expect(ours['nova_snap_consistency'] == 'frozen', said)
    for of_it in (_entries, _rest):
        checks.expect(of_it(novas) == of_it(ours),
                      f'{of_it(ours)} is not {of_it(novas)}')
    _prove(scene, taken)
    clients.nova_snap('image-delete', taken.image.id, '--yes')
    snapshots = {entry['snapshot_id']
                 for entry in json.loads(ours['block_device_mapping'])}
    left = {one.id for one in scene.api.block_storage.snapshots()}
    checks.expect(not snapshots & left, f'left: {snapshots & left}')
    checks.expect('ours' not in scene.image_names(), 'the image is left')
    checks.nothing_is_left(scene.cloud)
    server.delete()


def api_is_killed(scene: scenes.Scene) -> None:
    """nova-api has the guest frozen, and dies before it asks for the thaw."""
    server = _server(scene)
    qemu_pid = server.qemu_pid()
    nova_api = scene.cloud.apis['nova']
    log = _Log(scene)
    with scenes.watching(
            lambda: FROZEN in log.said(),
            lambda: nova_api.daemon.send_signal(signal.SIGKILL),
            timeout=scenes.MOMENT_TIMEOUT, what='a frozen guest'), \
            contextlib.suppress(errors.LabError):
        scene.run('nova', 'image-create', server.id, 'killed')
    try:
        log.wait(UNASKED)
    finally:
        nova_api.stop()
        nova_api.start()
        nova_api.wait_ready()
    checks.is_whole(server, qemu_pid)
    checks.nothing_is_left(scene.cloud)
    server.delete()


def thaw_is_late(scene: scenes.Scene) -> None:
    """nova-compute waits for Cinder, and asks for the thaw too late."""
    server = _server(scene)
    qemu_pid = server.qemu_pid()
    log = _Log(scene)
    with scene.cloud.volumes.cinder.standstill(asks=False):
        scene.run('nova', 'image-create', server.id, 'late')
        log.wait(UNASKED)
        server.wait_writing()
    log.wait(LATE)
    checks.is_whole(server, qemu_pid)
    checks.nothing_is_left(scene.cloud)
    server.delete()


def _entries(image: dict[str, ty.Any]) -> list[dict[str, ty.Any]]:
    """Return the entries of a mapping, but for whose snapshots they are."""
    entries = json.loads(image['block_device_mapping'])
    for entry in entries:
        checks.expect(entry.pop('snapshot_id'), 'a snapshot is not named')
    return sorted(entries, key=lambda entry: str(entry['device_name']))


def _rest(image: dict[str, ty.Any]) -> dict[str, ty.Any]:
    """Return what two images of one server have in common."""
    return {name: value for name, value in image.items()
            if name not in ITS_OWN}


def _server(scene: scenes.Scene) -> server_module.Server:
    """Return a new server whose disks are volumes, its agent connected."""
    scene.cloud.need_volumes()
    server = server_module.Server.boot_from_volumes(scene.cloud, 'volumes')
    wait_agent(server)
    return server


def wait_agent(server: server_module.Server) -> None:
    """Wait until the agent of a guest is connected."""
    def has_agent() -> bool:
        with server.domain() as domain:
            return "state='connected'" in domain.XMLDesc()

    waiting.wait_until(has_agent, timeout=PATIENCE, what='a guest agent')


def _prove(scene: scenes.Scene, taken: scenes.Taken) -> None:
    """Prove that an image boots, and that its volumes are of one instant.

    :raises ProofFailed: saying what is wrong
    """
    copy = server_module.Server.boot(scene.cloud, 'from-snapshots',
                               taken.image.id)
    found = copy.found()
    checks.expect(found.mounted and found.records_ok and not found.errors,
                  f'the volumes are not of one instant: {found}')
    proof.check_instant(found.records - 1, reported_before=taken.before,
                        reported_after=taken.after)
    copy.delete()


def _image(scene: scenes.Scene, name: str) -> dict[str, ty.Any]:
    """Return an image's record, as Glance shows it."""
    (image,) = scene.api.image.images(name=name)
    shown = scene.api.image.get(f'/images/{image.id}').json()
    checks.expect(shown['size'] == 0, f'the image has {shown["size"]} bytes')
    return dict(shown)


class _Log:
    """What nova-compute has logged since a moment."""

    def __init__(self, scene: scenes.Scene) -> None:
        self._file = scene.cloud.compute.log
        self._since = self._file.stat().st_size

    def said(self) -> str:
        """Return it."""
        with self._file.open('rb') as file:
            file.seek(self._since)
            return file.read().decode(errors='replace')

    def wait(self, words: str) -> None:
        """Wait until it says something.

        :raises LabError: when it does not in time
        """
        waiting.wait_until(lambda: words in self.said(), poll=0.1,
                           timeout=PATIENCE, what=f'{words!r} in the log')
