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

"""Servers whose root disks lie in Ceph, and images that are written there.

Glance keeps its images in the same Ceph: none is uploaded.
"""

import collections.abc
import json
import typing as ty

from tests.e2e.cases import kills
from tests.e2e.cases import snapshots
from tests.e2e import checks
from tests.e2e import scene as scenes
from tests.e2e import waiting
from tests.lab import ceph as ceph_module
from tests.lab import errors
from tests.lab import proxy

# Both of Glance's ways to take a location: POST, and PATCH of the image.
LOCATIONS = r'^/v2/images/[^/]+/locations$'

# Nova's own driver.
NOVAS = 'libvirt.LibvirtDriver'

# Seconds for Glance to compute a hash when an image is active.
HASH_TIMEOUT = 60

# What each image has for itself.
ITS_OWN = frozenset(('id', 'name', 'created_at', 'updated_at', 'file', 'self',
                     'schema'))
# In what ours differ from Nova's, because we want it.
OURS = frozenset(('nova_snap_consistency', 'nova_snap_consistency_of'))
# Of data that are not the same: the guest writes on.
OF_DATA = frozenset(('checksum', 'os_hash_value', 'size'))


def by_ceph(case: collections.abc.Callable[[scenes.Scene], None]) -> (
        collections.abc.Callable[[scenes.Scene], None]):
    """Return a case in which no data of an image must be uploaded."""
    def run(scene: scenes.Scene) -> None:
        case(scene)
        uploads = scene.between.requests('PUT', proxy.FILE)
        checks.expect(not uploads, f'data were uploaded: {uploads}')
        ways = [*scene.between.requests('POST', LOCATIONS),
                *scene.between.requests('PATCH', proxy.IMAGE)]
        checks.expect(ways, 'no location was given to Glance')

    return run


def lives(scene: scenes.Scene) -> None:
    """Image and server go, each while the other lives."""
    server = scene.boot('goes')
    first = scene.take(server, 'first')
    second = scene.take(server, 'second')
    scene.api.image.delete_image(first.image)
    waiting.wait_until(lambda: first.image.id not in data(scene),
                       timeout=snapshots.DELETED_TIMEOUT,
                       what='the data of the first image deleted')
    checks.is_whole(server, server.qemu_pid())
    server.delete()
    disks = scene.cloud.volumes.ceph.images(ceph_module.DISKS)
    checks.expect(f'{server.id}_disk' not in disks, 'its disk is left')
    scene.prove(second)
    scene.api.image.delete_image(second.image)
    waiting.wait_until(lambda: second.image.id not in data(scene),
                       timeout=snapshots.DELETED_TIMEOUT,
                       what='the data of the second image deleted')
    checks.nothing_is_left(scene.cloud)


def data(scene: scenes.Scene) -> list[str]:
    """Name the data of Glance's images in Ceph."""
    return scene.cloud.volumes.ceph.images(ceph_module.IMAGES)


def killed_in_clone(scene: scenes.Scene) -> None:
    """nova-compute dies when Ceph is to clone the disk."""
    kills.killed_when(scene, scene.server(),
                      lambda: is_at(scene, 'CloneDisk', 'intent'), 'a clone')


def killed_in_flatten(scene: scenes.Scene) -> None:
    """nova-compute dies while Ceph flattens the clone."""
    was_child: list[bool] = []

    def look() -> None:
        ceph = scene.cloud.volumes.ceph
        known = {image.id for image in scene.api.image.images(
            status='active')}
        was_child.extend(ceph.is_child(image) for image in data(scene)
                         if image not in known)

    kills.killed_when(scene, scene.server(),
                      lambda: is_at(scene, 'CloneDisk', 'done'),
                      'a clone that is made', then=look)
    # A manager goes on by itself, and may have done it since.
    checks.expect(len(was_child) == 1, 'there was no clone to flatten')


def killed_in_location(scene: scenes.Scene) -> None:
    """nova-compute dies while Glance takes the location."""
    fault = scene.between.inject(proxy.Fault(
        'POST', LOCATIONS, nth=2, call=lambda: None))
    kills.killed_when(scene, scene.server(), fault.happened.is_set,
                      'a location', may_be_made=True)


def killed_in_write(scene: scenes.Scene) -> None:
    """nova-compute dies while it writes the image of a file."""
    kills.killed_when(scene, scene.server(),
                      lambda: is_at(scene, 'MakeData', 'done'),
                      'an image that is written')


def is_at(scene: scenes.Scene, kind: str, phase: str) -> bool:
    """Tell whether the journal of nova-compute has a step in a phase."""
    folder = scene.cloud.layout.run_dir / 'nova' / 'nova_snap' / 'records'
    for path in folder.glob('*.json'):
        try:
            record = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            continue
        if any((entry['kind'], entry['phase']) == (kind, phase)
               for entry in record['entries']):
            return True
    return False


def as_novas(scene: scenes.Scene) -> None:
    """Nova's own driver and ours make the same image of a server."""
    server = scene.server()
    options = scene.cloud.compute.options
    ours = _record(scene, scene.take(server, 'ours'))
    scene.cloud.restart_compute(
        {**options, 'DEFAULT': {'compute_driver': NOVAS}})
    novas = _record(scene, scene.take(server, 'novas'))
    differ = {name: (novas.get(name), ours.get(name))
              for name in {*novas, *ours} - OURS
              if novas.get(name) != ours.get(name)}
    checks.expect(not differ.keys() - OF_DATA,
                  f'Nova\'s has, and ours: {differ}')
    checks.expect(not novas.keys() & OURS, 'Nova\'s was made by us')
    checks.expect(ours.keys() >= OURS and ours['os_hash_value'],
                  f'ours is without its own: {ours}')
    checks.is_whole(server, None)
    checks.nothing_is_left(scene.cloud)


def _record(scene: scenes.Scene, taken: scenes.Taken) -> dict[str, ty.Any]:
    """Return what Glance says of an image, but for its id and the like."""
    image_id = taken.image.id
    asked = scene.cloud.connect('admin').image

    def shown() -> dict[str, ty.Any]:
        return dict(json.loads(asked.get(f'/images/{image_id}').text.replace(
            image_id, 'ID')))

    try:
        waiting.wait_until(lambda: shown()['os_hash_value'],
                           timeout=HASH_TIMEOUT, what='the hash')
    except errors.LabError:
        pass
    return {name: value for name, value in shown().items()
            if name not in ITS_OWN}
