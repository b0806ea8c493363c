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

"""What we rely on of Ceph: true of the fake and of the real one."""

import collections.abc as cabc
import typing as ty
import uuid

from nova_snap import clock as clock_module
from nova_snap.host import rbd as rbd_module
from nova_snap.host import rbd_opened
from nova_snap.model import ceph as ceph_model
from nova_snap import units

SIZE = 16 * units.MiB
DATA = b'of the guest'

# Seconds for a manager to flatten a clone of that, and between two looks.
FLATTEN_TIMEOUT = 60
LOOK_SECONDS = 0.1


class Stop(Exception):
    """What a progress raises to end a call."""


class CephContract:
    """To be mixed into a test.

    :ivar ceph: what is tried
    :ivar reader: the same cluster, of which nothing in ``images`` may be
        written, and nothing asked of its managers
    :ivar disks: a pool
    :ivar images: another one
    """

    ceph: rbd_module.Ceph
    reader: rbd_module.Ceph
    disks: str
    images: str

    def let_clone(self, version: int) -> None:
        """Have clones be of a version from here on."""
        raise NotImplementedError

    def make_disk(self) -> ceph_model.Name:
        """Make an image with data, and name it with a snapshot."""
        name = ceph_model.Name(self.disks, f'{uuid.uuid4()}_disk')
        self.ceph.create(name, SIZE)
        with self.ceph.opened(name, read_only=False) as disk:
            disk.write(0, DATA)
            disk.flush()
        return name.at('nova_snap-one')

    def make_clone(self) -> tuple[ceph_model.Name, ceph_model.Name]:
        """Make a snapshot and a clone of it, which is not flattened."""
        snapshot = self.make_disk()
        self.ceph.create_snapshot(snapshot)
        self.ceph.protect_snapshot(snapshot)
        clone = ceph_model.Name(self.images, str(uuid.uuid4()))
        self.ceph.clone(snapshot, clone)
        return snapshot, clone

    def found(self, name: ceph_model.Name) -> ceph_model.Image:
        image = self.ceph.find(name)
        assert image is not None
        return image

    def read(self, name: ceph_model.Name) -> bytes:
        with self.ceph.opened(name) as opened:
            self.assertEqual(SIZE, opened.size_bytes)
            return opened.read(0, len(DATA))

    def test_an_image_is_as_it_was_when_its_snapshot_was_made(self):
        snapshot = self.make_disk()
        self.ceph.create_snapshot(snapshot)
        with self.ceph.opened(snapshot.at(''), read_only=False) as disk:
            disk.write(0, b'xx')
            disk.flush()

        self.assertEqual(DATA, self.read(snapshot))
        self.assertEqual(b'xx' + DATA[2:], self.read(snapshot.at('')))

    def test_what_is_written_later_is_there_after_the_flush(self):
        name = ceph_model.Name(self.disks, f'{uuid.uuid4()}_disk')
        self.ceph.create(name, SIZE)
        blocks = range(0, SIZE, SIZE // (3 * rbd_opened.WRITES_AT_ONCE))
        with self.ceph.opened(name, read_only=False) as disk:
            for number, offset in enumerate(blocks):
                disk.write_later(offset, bytes([number + 1]) * 7)
            disk.flush()
            for number, offset in enumerate(blocks):
                self.assertEqual(bytes([number + 1]) * 7 + b'\0',
                                 disk.read(offset, 8)[:8])

    def test_a_later_write_that_fails_is_an_error_at_last(self):
        name = ceph_model.Name(self.disks, f'{uuid.uuid4()}_disk')
        self.ceph.create(name, SIZE)
        with self.ceph.opened(name, read_only=False) as disk:
            disk.write_later(0, DATA)
            disk.write_later(SIZE, b'behind its end')
            self.assertRaises(ceph_model.CephError, disk.flush)

    def test_a_snapshot_is_made_once(self):
        snapshot = self.make_disk()
        self.ceph.create_snapshot(snapshot)

        self.assertRaises(ceph_model.Exists, self.ceph.create_snapshot,
                          snapshot)
        self.assertEqual(('nova_snap-one',), self.found(snapshot).snapshots)

    def test_a_snapshot_that_is_protected_is_removed_all_the_same(self):
        snapshot = self.make_disk()
        self.ceph.create_snapshot(snapshot)
        self.ceph.protect_snapshot(snapshot)
        self.ceph.protect_snapshot(snapshot)
        self.assertEqual(('nova_snap-one',), self.found(snapshot).protected)

        self.ceph.remove_snapshot(snapshot)
        self.ceph.remove_snapshot(snapshot)

        self.assertEqual((), self.found(snapshot).snapshots)

    def test_what_is_not_there_is_none_or_gone(self):
        name = ceph_model.Name(self.disks, 'nowhere', 'never')

        self.assertIsNone(self.ceph.find(name))
        self.ceph.remove(name)
        self.ceph.remove_snapshot(name)
        for call in (self.ceph.create_snapshot, self.ceph.protect_snapshot):
            self.assertRaises(ceph_model.Gone, call, name)
        self.assertRaises(ceph_model.Gone, self.ceph.flatten, name,
                          lambda done, total: None)
        self.assertRaises(ceph_model.Gone, self.read, name)
        self.assertRaises(ceph_model.Gone, self.ceph.find,
                          ceph_model.Name('nopool', 'x'))
        self.assertRaises(ceph_model.Gone, self.ceph.check_writable,
                          'nopool')

    def test_a_pool_that_cannot_be_written_is_known_before(self):
        self.ceph.check_writable(self.images)

        error = self.assertRaises(ceph_model.Refused,
                                  self.reader.check_writable, self.images)

        self.assertIn(f'profile rbd pool={self.images}', str(error))
        snapshot, _ = self.make_clone()
        self.assertRaises(
            ceph_model.Refused, self.reader.clone, snapshot,
            ceph_model.Name(self.images, str(uuid.uuid4())))

    def test_a_clone_has_a_parent_until_it_is_flattened(self):
        said: list[tuple[int, ...]] = []
        for version in (1, 2):
            self.let_clone(version)
            snapshot, clone = self.make_clone()
            self.assertEqual(snapshot, self.found(clone).parent)
            said.clear()

            self.ceph.flatten(clone, lambda *done: said.append(done))

            self.assertIsNone(self.found(clone).parent)
            self.assertTrue(said)
            self.assertTrue(all(done < total for done, total in said))
            self.assertEqual(DATA, self.read(clone))
            self.ceph.flatten(clone, lambda done, total: None)
            self.ceph.remove_snapshot(snapshot)
            self.ceph.remove(snapshot)
            self.ceph.remove(clone)

    def test_a_flatten_that_is_stopped_can_be_done_again(self):
        snapshot, clone = self.make_clone()

        def stop(done: int, total: int) -> None:
            raise Stop

        self.assertRaises(Stop, self.ceph.flatten, clone, stop)

        self.assertEqual(snapshot, self.found(clone).parent)
        self.ceph.flatten(clone, lambda done, total: None)
        self.assertIsNone(self.found(clone).parent)

    def looks(self) -> cabc.Iterator[None]:
        """Yield each time to look what a manager has done, until too late."""
        return clock_module.Clock().looks(
            FLATTEN_TIMEOUT, first_pause=LOOK_SECONDS,
            longest_pause=LOOK_SECONDS)

    def wait_for_manager(self, clone: ceph_model.Name) -> None:
        """Wait until a manager has no task for a clone any more."""
        for _ in self.looks():
            if not self.ceph.flattening(clone):
                return
        raise AssertionError('no manager has done it')

    def test_a_manager_flattens_a_clone(self):
        _, clone = self.make_clone()

        self.ceph.add_flatten(clone)

        self.wait_for_manager(clone)
        self.assertIsNone(self.found(clone).parent)
        self.assertEqual(DATA, self.read(clone))

    def test_a_manager_and_this_host_may_flatten_the_same_clone(self):
        _, clone = self.make_clone()

        self.ceph.add_flatten(clone)
        self.ceph.flatten(clone, lambda done, total: None)

        self.assertIsNone(self.found(clone).parent)
        self.wait_for_manager(clone)
        self.assertEqual(DATA, self.read(clone))

    def test_what_a_manager_is_told_to_give_up_can_be_removed(self):
        _, clone = self.make_clone()
        self.ceph.add_flatten(clone)

        self.ceph.cancel_flatten(clone)
        self.ceph.cancel_flatten(clone)

        self.assertEqual([], self.ceph.flattening(clone))
        for _ in self.looks():
            try:
                return self.ceph.remove(clone)
            except ceph_model.Busy:
                continue
        raise AssertionError('the manager has it open still')

    def test_a_manager_has_no_task_for_what_is_not_there(self):
        name = ceph_model.Name(self.images, 'nowhere')

        self.assertRaises(ceph_model.Gone, self.ceph.add_flatten, name)
        self.assertEqual([], self.ceph.flattening(name))
        self.ceph.cancel_flatten(name)

    def test_a_client_that_must_not_ask_a_manager_hears_why(self):
        _, clone = self.make_clone()

        error = self.assertRaises(ceph_model.Refused,
                                  self.reader.add_flatten, clone)

        self.assertIn(f'profile rbd pool={self.images}', str(error))

    def test_an_image_has_one_name(self):
        snapshot, clone = self.make_clone()

        self.assertRaises(ceph_model.Exists, self.ceph.clone, snapshot,
                          clone)
        self.assertRaises(ceph_model.Exists, self.ceph.create, clone, SIZE)

    def test_an_image_with_snapshots_is_not_removed(self):
        snapshot = self.make_disk()
        self.ceph.create_snapshot(snapshot)

        self.assertRaises(ceph_model.Busy, self.ceph.remove, snapshot)

    def test_of_the_first_version_a_parent_stays_while_it_has_a_child(self):
        self.let_clone(1)
        snapshot, clone = self.make_clone()

        self.assertRaises(ceph_model.Busy, self.ceph.remove_snapshot,
                          snapshot)

        self.ceph.remove(clone)
        self.ceph.remove_snapshot(snapshot)
        self.assertEqual((), self.found(snapshot).snapshots)

    def test_of_the_second_version_it_is_in_the_trash(self):
        self.let_clone(2)
        snapshot, clone = self.make_clone()

        self.ceph.remove_snapshot(snapshot)

        self.assertEqual((), self.found(snapshot).snapshots)
        parent = self.found(clone).parent
        assert parent is not None
        self.assertEqual(snapshot.at(''), parent.at(''))
        self.assertRaises(ceph_model.Busy, self.ceph.remove, snapshot)
        self.ceph.remove(clone)
        self.ceph.remove(snapshot)
        self.assertIsNone(self.ceph.find(snapshot))

    if ty.TYPE_CHECKING:
        assertEqual: ty.Any
        assertRaises: ty.Any
        assertIn: ty.Any
        assertIsNone: ty.Any
        assertTrue: ty.Any
