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

"""A snapshot in every state of a server, and what else Nova takes one for."""

import libvirt

from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.e2e import waiting
from tests.lab import proof

# Seconds for Nova to delete the image that a rotation or unshelve ended.
DELETED_TIMEOUT = 60


def live(scene: scenes.Scene) -> None:
    """The guest runs on."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    taken = scene.take(server, 'live')
    checks.is_whole(server, qemu_pid)
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)


def paused(scene: scenes.Scene) -> None:
    """The guest stays paused."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    server.change('pause', 'PAUSED')
    taken = scene.take(server, 'paused', 'PAUSED')
    with server.domain() as domain:
        checks.expect(domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED,
                      'the guest is not paused any more')
        checks.expect(domain.isPersistent(), 'the domain is transient')
    server.change('unpause', 'ACTIVE')
    checks.is_whole(server, qemu_pid)
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)


def suspended(scene: scenes.Scene) -> None:
    """The guest stays suspended, and its memory is not lost."""
    server = scene.server()
    server.change('suspend', 'SUSPENDED')
    taken = scene.take(server, 'suspended', 'SUSPENDED')
    with server.domain() as domain:
        checks.expect(not domain.isActive(), 'the guest was started')
        checks.expect(domain.hasManagedSaveImage(), 'its memory is lost')
    server.change('resume', 'ACTIVE')
    checks.is_whole(server, None)
    checks.expect(not scenes.BOOTED.search(server.console()),
                  'the guest was booted, not resumed')
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)


def stopped(scene: scenes.Scene) -> None:
    """The guest stays off."""
    server = scene.server()
    server.change('stop', 'SHUTOFF')
    taken = scene.take(server, 'stopped', 'SHUTOFF')
    with server.domain() as domain:
        checks.expect(not domain.isActive(), 'the guest was started')
        checks.expect(domain.isPersistent(), 'the domain is gone')
    server.change('start', 'ACTIVE')
    # It may have been switched off between a record and its report.
    proof.check_instant(server.found().records - 1,
                        reported_before=taken.after,
                        reported_after=taken.after)
    checks.is_whole(server, None)
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)


def live_disabled(scene: scenes.Scene) -> None:
    """The guest is saved, and goes on where it was."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    taken = scene.take(server, 'cold')
    checks.is_whole(server, None)
    checks.expect(server.qemu_pid() != qemu_pid, 'it was taken live')
    checks.expect(not scenes.BOOTED.search(server.console()),
                  'the guest was booted, not resumed')
    scene.prove(taken)
    checks.nothing_is_left(scene.cloud)


def raw(scene: scenes.Scene) -> None:
    """The image is raw; the openstack command asks for it."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    before = server.last_record()
    scene.run('openstack', 'server', 'image', 'create', '--name', 'raw',
              '--wait', server.id)
    taken = scenes.Taken(scene.wait_image('raw'), before,
                         server.last_record())
    server.wait_status('ACTIVE')
    checks.is_whole(server, qemu_pid)
    scene.prove(taken, 'raw')
    checks.nothing_is_left(scene.cloud)


def backup(scene: scenes.Scene) -> None:
    """Of two backups one is kept."""
    server = scene.server()
    qemu_pid = server.qemu_pid()
    for name in ('backup-1', 'backup-2'):
        before = server.last_record()
        scene.run('nova', 'backup', server.id, name, 'daily', '1')
        image = scene.wait_image(name)
        server.wait_status('ACTIVE')
    after = server.last_record()
    waiting.wait_until(lambda: scene.image_names() == ['backup-2'],
                       timeout=DELETED_TIMEOUT, what='the first one deleted')
    properties = image.properties
    checks.expect((properties['image_type'], properties['backup_type']) ==
                  ('backup', 'daily'), f'the image says {properties}')
    checks.is_whole(server, qemu_pid)
    scene.prove(scenes.Taken(image, before, after))
    checks.nothing_is_left(scene.cloud)


def shelve(scene: scenes.Scene) -> None:
    """The guest goes on from its image, which is deleted then."""
    server = scene.server()
    before = server.last_record()
    scene.run('nova', 'shelve', server.id)
    server.wait_status('SHELVED_OFFLOADED')
    checks.expect(not server.console_file.parent.exists(),
                  'its files are still on the node')
    (name,) = scene.image_names()
    checks.stored_image_is_sound(scene.cloud, scene.wait_image(name).id,
                                 scene.image_format)
    scene.run('nova', 'unshelve', server.id)
    server.wait_status('ACTIVE')
    found = server.found()
    checks.expect(found.records_ok and found.data_ok and
                  found.records > before,
                  f'the guest finds {found}, but had reported {before}')
    checks.is_whole(server, None)
    waiting.wait_until(lambda: not scene.image_names(),
                       timeout=DELETED_TIMEOUT, what='its image deleted')
    checks.nothing_is_left(scene.cloud)
