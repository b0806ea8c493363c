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

import json
import typing as ty

from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.e2e import server as servers
from tests.e2e import waiting
from tests.lab import proof

# Seconds for nova-compute to be told that all snapshots are made.
PATIENCE = 90

# Words of nova-compute's log.
FROZEN = 'is frozen, for'
THAWED = 'is thawed'
UNASKED = 'was thawed before it was asked for'


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


def _server(scene: scenes.Scene) -> servers.Server:
    """Return a new server whose disks are volumes, its agent connected."""
    scene.cloud.need_volumes()
    server = servers.Server.boot_from_volumes(scene.cloud, 'volumes')

    def has_agent() -> bool:
        with server.domain() as domain:
            return "state='connected'" in domain.XMLDesc()

    waiting.wait_until(has_agent, timeout=PATIENCE, what='a guest agent')
    return server


def _prove(scene: scenes.Scene, taken: scenes.Taken) -> None:
    """Prove that an image boots, and that its volumes are of one instant.

    :raises ProofFailed: saying what is wrong
    """
    copy = servers.Server.boot(scene.cloud, 'from-snapshots',
                               taken.image.id)
    found = copy.found()
    checks.expect(found.mounted and found.is_prefix and not found.errors,
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
