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

"""What the tests of volumes share: guests on Ceph, and a look at Cinder."""

import collections.abc as cabc
import contextlib
import fcntl
import functools
import json
import re
import typing as ty

from tests.functional import base
from tests.functional import kills
from tests.lab import cinder as cinder_module
from tests.lab.guest import copy as guest_copy
from tests.lab.guest import domain as guest_domain
from tests.lab.guest import volumes as guest_volumes
from tests.lab import proof
from tests.lab import proxy
from tests.lab import records
from tests.lab import storage as storage_module

# Of an instance of Nova's that was booted from a volume, and whose image has
# an agent.
NOVA = guest_domain.NovaMetadata(
    display_name='from a volume', image_id='', disk_format='raw',
    image_properties={'hw_qemu_guest_agent': 'yes', 'hw_disk_bus': 'virtio',
                      'img_bdm_v2': 'True',
                      'img_root_device_name': '/dev/vda'})

# Paths of Cinder's API, to match faults with.
SNAPSHOTS = r'^/v3/snapshots$'
SNAPSHOT = r'^/v3/snapshots/[^/]+$'

# What a guest says when its agent freezes and when it thaws.
FROZEN, THAWED = 'GUEST fsfreeze freeze', 'GUEST fsfreeze thaw'

Json: ty.TypeAlias = dict[str, ty.Any]


@functools.cache
def storage() -> storage_module.Storage:
    """Start Ceph and Cinder, or find them, with a root disk to boot from."""
    lab = base.lab()
    found = storage_module.Storage(lab.run_dir, lab.glance)
    with open(lab.run_dir / 'volumes.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found.start()
        guest_volumes.root_snapshot(found, lab.glance)
    return found


class VolumeTest(kills.KillTest):
    """A test on guests whose disks are volumes.

    :ivar cinder: the real one, asked directly
    :ivar between: the proxy through which the product asks it
    """

    def setUp(self) -> None:
        self.storage = storage()
        self.cinder = self.storage.cinder
        self.snapshots_before = {one['id']
                                 for one in self.cinder.snapshots()}
        super().setUp()
        self.between = proxy.Proxy(
            self.cinder.endpoint.removesuffix('/v3'))
        self.addCleanup(self.between.stop)
        self.options['cinder'] = {
            'endpoint_template': f'{self.between.endpoint}/v3'}

    # Guests

    def guest_of_volumes(self, *, shared: bool = False,
                         token: str = cinder_module.IDENTITY,
                         **facts: ty.Any) -> guest_volumes.VolumeGuest:
        """Boot a guest with a root volume and another one.

        :param shared: until the class is over, as in FunctionalTest
        :param token: whose the volumes are
        :param facts: other fields of the lab's ``Spec``, as ``agent``
        """
        facts = {'agent': 'run', 'nova': NOVA, **facts}

        def make() -> guest_volumes.VolumeGuest:
            return guest_volumes.VolumeGuest.attach(
                self.lab.libvirtd, self.storage,
                [self.cinder.make('volume', token, size=guest_volumes.SIZE,
                                  snapshot_id=self._root()),
                 self.cinder.make('volume', token, size=guest_volumes.SIZE,
                                  description='the second')], **facts)

        guest = self.kept(('volumes', repr(facts)), make, shared=shared)
        if guest.spec.agent == 'run':
            self.await_agent(guest)
        return guest

    def agent_guest(self) -> guest_volumes.VolumeGuest:
        """Return the guest of the tests of kills."""
        return self.guest_of_volumes(shared=True)

    def _power_cycle_once(self, *_: ty.Any) -> None:
        """Do nothing: no step touches the definition of such a guest."""

    def _root(self) -> str:
        return guest_volumes.root_snapshot(self.storage, self.lab.glance)

    def boot_image(self, image: Json) -> guest_copy.Found:
        """Boot a guest from an image without data, as Nova does.

        :param image: as Glance shows it
        :returns: what the guest found on its disks
        """
        guest = guest_volumes.VolumeGuest.attach(
            self.lab.libvirtd, self.storage,
            [self.cinder.make('volume', size=entry['volume_size'],
                              snapshot_id=entry['snapshot_id'])
             for entry in mapping(image)], quiet=True)
        try:
            return guest.look_inside()
        finally:
            guest.remove()

    # The product

    def create(self, guest: guest_domain.Guest, name: str = 'image',
               *arguments: str, expected: int = 0) -> Json:
        """Run image-create and return its image, or what it printed."""
        ended = self.child('image-create', guest.spec.name, name, '--json',
                           *arguments)
        self.assertEqual(expected, ended.code, ended.stdout + ended.stderr)
        if expected:
            return {'stderr': ended.stderr}
        said = json.loads(ended.stdout)
        return self.image(said['images'][0]['image_id'])

    # Cinder

    def new_snapshots(self) -> list[Json]:
        """Return the snapshots that were made since the test began."""
        return [one for one in self.cinder.snapshots()
                if one['id'] not in self.snapshots_before]

    def areas(self, image: Json) -> list[list[records.Slot]]:
        """Read the records in an image's snapshots, straight from Ceph."""
        found: list[list[records.Slot]] = []
        for entry in mapping(image):
            snapshot = self.cinder.show('snapshot', entry['snapshot_id'])
            assert snapshot is not None
            path = self.folder / f'volume-{len(found)}'
            self.storage.ceph.export(
                f'volume-{snapshot["volume_id"]}@snapshot-{snapshot["id"]}',
                path)
            found.append(records.read_device(path, len(found[0])) if found
                         else proof.read_records(path, 'raw'))
            path.unlink()
        return found

    def _delete_images(self) -> None:
        """Delete what a test has made, with its snapshots."""
        super()._delete_images()
        for one in self.new_snapshots():
            self.cinder.delete('snapshot', one['id'])

    # What must be true afterwards

    def assert_nothing_left(self, *image_ids: str) -> None:
        """Assert that no snapshot was left either, but those of images."""
        super().assert_nothing_left(*image_ids)
        named = [entry['snapshot_id'] for image_id in image_ids
                 for entry in mapping(self.image(image_id))]
        self.assertEqual(
            dict.fromkeys(named, 'available'),
            {one['id']: one['status'] for one in self.new_snapshots()})

    @contextlib.contextmanager
    def not_frozen(self,
                   guest: guest_domain.Guest) -> cabc.Iterator[None]:
        """Assert that a guest writes on."""
        before = guest.console().count(FROZEN)
        yield
        self.assertEqual(before, guest.console().count(FROZEN))


def mapping(image: Json) -> list[Json]:
    """Return the image's block device mapping."""
    return list(json.loads(image['block_device_mapping']))


def freeze_of(console: str) -> tuple[int, int]:
    """Return the last records before the last freeze and before its end."""
    head, _, tail = console.rpartition(FROZEN)
    frozen = tail.partition(THAWED)[0]
    before = re.findall(r'^REC (\d+)', head, re.MULTILINE)
    within = re.findall(r'^REC (\d+)', frozen, re.MULTILINE)
    return int(before[-1]), int((before + within)[-1])
