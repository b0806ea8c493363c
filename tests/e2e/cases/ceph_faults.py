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

"""What goes wrong in a Ceph that has the root disks and the images.

The command says what it is, the guest stays, and ``nova-snap recover``
removes what could not be removed at once.
"""

import collections.abc
import contextlib

from tests.e2e.cases import in_ceph
from tests.e2e.cases import volumes as volumes_cases
from tests.e2e import checks
from tests.e2e import clients
from tests.e2e import config
from tests.e2e import scene as scenes
from tests.e2e import waiting
from tests.lab import ceph as ceph_module
from tests.lab import errors

# What a guest says when its agent thaws its file systems.
THAWED = 'GUEST fsfreeze thaw'
# What nova-compute says when it thaws a guest because Ceph is slow, and
# seconds for that: 8, and the machine may be slow.
RANG = '(Ceph has not made its snapshot)'
RANG_SECONDS = 14


def dead_osd(scene: scenes.Scene) -> None:
    """The OSD answers nothing from the freeze on; the guest is thawed.

    The thaw ends when the disk takes what it writes.
    """
    server, ceph = scene.server(), scene.cloud.volumes.ceph
    volumes_cases.wait_agent(server)
    qemu_pid = server.qemu_pid()
    thawed, log = server.console().count(THAWED), scene.cloud.compute.log
    rang = log.read_text(errors='replace').count(RANG)
    try:
        # Not before: the freeze itself waits for all that is written.
        with scenes.watching(
                lambda: in_ceph.is_at(scene, 'FreezeFilesystems', 'done'),
                lambda: ceph.stand_still('osd'),
                timeout=scenes.MOMENT_TIMEOUT, what='a freeze'):
            scene.run('nova', 'image-create', server.id, 'dead')
        waiting.wait_until(
            lambda: log.read_text(errors='replace').count(RANG) > rang,
            timeout=RANG_SECONDS, what='a thaw that is requested')
    finally:
        ceph.go_on('osd')
    waiting.wait_until(lambda: server.console().count(THAWED) > thawed,
                       timeout=RANG_SECONDS, what='a thaw')
    server.wait_status('ACTIVE')
    checks.is_whole(server, qemu_pid)
    checks.nothing_is_left(scene.cloud)


def wrong_key(scene: scenes.Scene) -> None:
    """The key of the node is wrong: the guest's QEMU has another one."""
    name = f'ceph/ceph.client.{ceph_module.CLIENT}.keyring'
    ceph = scene.cloud.volumes.ceph
    scene.cloud.machine.write(
        name, f'[client.{ceph_module.CLIENT}]\nkey = '
        f'{ceph_module.WRONG_KEY}\n')
    try:
        said = _planned(scene)
    finally:
        scene.cloud.machine.write(name, ceph.client_keyring())
    checks.expect(f'ceph auth get client.{ceph_module.CLIENT}' in said
                  and 'backup' in said, said)


def small_caps(scene: scenes.Scene) -> None:
    """The user must not write to the pool of the images."""
    with scene.cloud.volumes.ceph.without_cap(ceph_module.IMAGES):
        said = _planned(scene)
    checks.expect(f'profile rbd pool={ceph_module.IMAGES}' in said, said)


def no_pool(scene: scenes.Scene) -> None:
    """The pool that is named is none."""
    cloud = scene.cloud
    options = cloud.compute.options

    @contextlib.contextmanager
    def named() -> collections.abc.Iterator[None]:
        # The command reads it, and nova-compute does not.
        cloud.compute.configure(config.merge(
            {**options}, {'nova_snap': {'rbd_glance_pool': 'nowhere'}}))
        try:
            yield
        finally:
            cloud.compute.configure(options)

    _refused(scene, named(), '[nova_snap]rbd_glance_pool')


def _planned(scene: scenes.Scene) -> str:
    """Return what the command says that it would do."""
    return clients.nova_snap('image-create', scene.server().id, 'planned',
                             '--dry-run')


def _refused(scene: scenes.Scene,
             fault: contextlib.AbstractContextManager[None],
             words: str) -> None:
    """Check that the command fails with some words, and leaves nothing."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    said = ''
    with fault:
        try:
            clients.nova_snap('image-create', server.id, 'refused')
        except errors.LabError as exc:
            said = str(exc)
    checks.expect(words in said, f'it said {said or "nothing: it passed"}')
    clients.nova_snap('recover')
    checks.is_whole(server, qemu_pid)
    checks.nothing_is_left(scene.cloud)
    checks.expect(not scene.image_names(), 'there is an image of it')
