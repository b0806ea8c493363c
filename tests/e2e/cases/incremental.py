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

"""Images in Ceph that begin as the last one of their server."""

import json
import os
import signal
import typing as ty

from tests.e2e.cases import in_ceph
from tests.e2e.cases import snapshots
from tests.e2e import catalog
from tests.e2e import checks
from tests.e2e import compute
from tests.e2e import scene as scenes
from tests.e2e import server as server_module
from tests.e2e import waiting
from tests.lab import process

FLAT, CLONE = 'flat', 'clone'

# How QEMU calls a bitmap that it was killed with.
BROKEN = 'in-use'


def flat(scene: scenes.Scene) -> compute.Options:
    """Return the options for images that need no other one."""
    return _options(scene, FLAT)


def clone(scene: scenes.Scene) -> compute.Options:
    """Return the options for images that stay clones."""
    return _options(scene, CLONE)


def _options(scene: scenes.Scene, mode: str) -> compute.Options:
    return scene.into_ceph(live_method='backup', incremental=mode)


def in_a_row(scene: scenes.Scene) -> None:
    """The second image begins as the first, which goes while it lives."""
    server, log = scene.server(), scene.cloud.compute.log
    ceph = scene.cloud.volumes.ceph
    # Of the first version Glance deletes no image that has a clone.
    ceph.let_clone(2)
    qemu_pid = server.qemu_pid()
    first = scene.take(server, 'first')
    second = scene.take(server, 'second')
    checks.expect(f'have changed since image {first.image.id}'
                  in log.read_text(errors='replace'),
                  'all of the second image was written')
    is_clone = scene.cloud.compute.options['nova_snap']['incremental'] == CLONE
    checks.expect(
        ceph.is_child(second.image.id) == is_clone,
        'it is a clone, or none, against its option')
    scene.prove(first)
    scene.api.image.delete_image(first.image)
    waiting.wait_until(
        lambda: first.image.id not in in_ceph.data(scene),
        timeout=snapshots.DELETED_TIMEOUT, what='the first image deleted')
    scene.prove(second)
    checks.is_whole(server, qemu_pid)
    checks.nothing_is_left(scene.cloud)


def resized(scene: scenes.Scene) -> None:
    """Nova resizes a server whose QEMU was killed with our bitmap."""
    server = scene.boot('resized')
    scene.take(server, 'first')
    # Its bitmap is in the file from the end of a QEMU on.
    server.change('stop', 'SHUTOFF')
    server.change('start', 'ACTIVE')
    qemu_pid = server.qemu_pid()
    assert qemu_pid is not None
    os.kill(qemu_pid, signal.SIGKILL)
    server.wait_status('SHUTOFF')
    flags = [bitmap['flags'] for bitmap in _bitmaps(server)]
    checks.expect(len(flags) == 1 and BROKEN in flags[0],
                  f'no broken bitmap: {flags}')
    server.resize(catalog.LARGER, 'SHUTOFF')
    checks.expect(not _bitmaps(server), 'the bitmap is left')
    server.change('start', 'ACTIVE')
    server.wait_writing()
    taken = scene.take(server, 'second')
    checks.is_whole(server, None)
    scene.prove(taken)
    server.delete()
    checks.nothing_is_left(scene.cloud)


def _bitmaps(server: server_module.Server) -> list[dict[str, ty.Any]]:
    """Return what qemu-img says of them in the server's root disk."""
    disk = server.console_file.with_name('disk')
    said = json.loads(process.run(
        ['qemu-img', 'info', '--force-share', '--output=json', '-f', 'qcow2',
         str(disk)]))
    return list(said['format-specific']['data'].get('bitmaps', []))
