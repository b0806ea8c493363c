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

"""Several snapshots at once, on a file system that has not room for all."""

import shutil

import fixtures

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.journal import record as record_model
from nova_snap import units
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene

RESERVE = units.MiB
OTHER = 'another-instance'
# What the snapshot of the fake guest reserves: mostly for qcow2's tables.
LIKELY = 4 * units.MiB
# What a guest writes between two looks, and what its image takes.
FAST = units.MiB
IMAGE = 2 * units.MiB
# Of the fake guest.
MEMORY = 256 * units.MiB
# Bytes: less than the files of the fake guest's disk are long.
LITTLE = 100


class RoomTestCase(flow_scene.FlowTestCase):

    def setUp(self):
        super().setUp()
        self.fake.guest.create()
        self.before = self.state()

    def other(self, size, path=None):
        """Return a process with another operation under way."""
        process = self.fake.process()
        record = record_model.Record(
            id='other', operation='live', instance_uuid=OTHER,
            instance_name='other', images=[], host=self.fake.host,
            machine_id=self.fake.machine_id, boot_id='',
            started_at='', reservations=[record_model.Reservation(
                str(path or self.fake.snapshots / 'nova_snap-other'), size)])
        process.store.write(record)
        self.addCleanup(process.store.remove, record.id)
        return process.node.locks.instance(OTHER)

    def plan(self):
        process = self.fake.process()
        return snapshot.plan(process.node, flow_scene.request())


class ReservedTestCase(RoomTestCase):

    def test_what_another_one_will_write_is_not_free(self):
        self.fake.free = 100 * units.MiB
        with self.other(100 * units.MiB):
            error = self.assertRaises(errors.NotEnoughSpace, self.plan)
        self.assertIn('100.0 MiB are for other', str(error))

    def test_what_it_has_written_is_not_counted_twice(self):
        self.fake.free = 100 * units.MiB
        scratch = self.fake.snapshots / 'nova_snap-other'
        scratch.mkdir()
        (scratch / 'delta.qcow2').write_bytes(bytes(2 * units.MiB))
        with self.other(101 * units.MiB - RESERVE):
            self.plan()
        (scratch / 'delta.qcow2').unlink()
        with self.other(101 * units.MiB - RESERVE):
            self.assertRaises(errors.NotEnoughSpace, self.plan)
        scratch.rmdir()

    def test_what_a_dead_one_has_reserved_is_free(self):
        self.fake.free = 100 * units.MiB
        self.other(100 * units.MiB)
        self.plan()

    def test_what_is_reserved_elsewhere_is_free_here(self):
        self.fake.free = 100 * units.MiB
        with self.other(100 * units.MiB, path='/proc/nova_snap-other'):
            self.plan()

    def test_one_that_reserves_after_the_plan_is_seen(self):
        self.fake.free = 100 * units.MiB
        process = self.fake.process()
        other = self.other(100 * units.MiB)
        self.addCleanup(other.__exit__, None, None, None)
        process.calls.then('check', other.__enter__)
        self.assertRaises(errors.NotEnoughSpace, self.take, process)
        self.assertEqual(['other'], self.records())
        self.assert_guest_untouched(self.before)
        self.assertEqual({}, self.fake.glance.stored)

    def test_its_own_is_seen_until_all_is_written(self):
        process = self.fake.process()
        seen = []

        def look():
            seen.extend([reserved.size for reserved in record.reservations]
                        for record in process.store.read_all())

        for call in ('convert', 'upload'):
            process.calls.then(call, look)
        self.take(process)
        [[size], none] = seen
        self.assertTrue(0 < size <= LIKELY, size)
        self.assertEqual([], none)


class WatchedTestCase(RoomTestCase):

    def gives_up(self, call, **asked):
        """Let the file system fill up at a call."""
        process = self.fake.process()
        process.calls.then(call, lambda: setattr(
            process.world.files, '_free', RESERVE - 1))
        error = self.assertRaises(errors.SpaceReserveReached, self.take,
                                  process, **asked)
        self.assertIn('space_reserve', str(error))
        self.assert_nothing_left(self.before)

    def test_while_the_disk_is_copied(self):
        self.gives_up('blockRebase')

    def test_while_the_image_is_written(self):
        self.gives_up('blockJobAbort')

    def test_while_the_guest_is_saved_for_it(self):
        self.gives_up('managedSave', cold=True)


class MemoryTestCase(RoomTestCase):
    """A guest that is to be saved where libvirt saves guests."""

    def setUp(self):
        super().setUp()
        self.saves = '/var/lib/libvirt/qemu/save'
        self.useFixture(fixtures.MonkeyPatch(
            'nova_snap.hypervisor.host.Host.save_directory',
            lambda host: self.saves))

    def test_with_less_room_than_memory_it_is_refused(self):
        self.fake.free = MEMORY
        error = self.assertRaises(errors.NotEnoughSpace, self.take, cold=True)
        self.assertIn(self.saves, str(error))
        self.assertIn('256.0 MiB', str(error))
        self.assert_nothing_left(self.before)

    def test_live_it_is_not_saved(self):
        self.fake.free = MEMORY
        self.take()

    def test_with_room_it_is_reserved(self):
        process = self.fake.process()
        seen = []
        process.calls.then('managedSave', lambda: seen.extend(
            reserved for record in process.store.read_all()
            for reserved in record.reservations))
        self.take(process, cold=True)
        self.assertEqual(record_model.Reservation(
            f'{self.saves}/{fake_node.NAME}.save', MEMORY), seen[1])

    def test_the_plan_says_how_much_and_where(self):
        process = self.fake.process()
        made = snapshot.plan(process.node, flow_scene.request(cold=True))
        said = ' '.join(made.sentences())
        self.assertIn(f'256.0 MiB of memory are written to {self.saves}',
                      said)

    def test_where_it_is_not_known_it_is_tried(self):
        self.saves = None
        self.fake.free = MEMORY
        self.take(cold=True)


class SmallFileSystem:
    """One that the guests' disks are on, too; each delta grows at each look.

    :ivar lowest: what was ever free; below 0 guests would have stopped
    """

    def __init__(self, folder, size):
        self._folder = folder
        self._size = size
        self._written = {}
        self.lowest = size

    def free(self):
        files = [*self._folder.glob('*/delta.qcow2'),
                 *self._folder.glob('*/image-*')]
        self._written = {
            file: self._written.get(file, 0)
            + (FAST if file.suffix else IMAGE - self._written.get(file, 0))
            for file in files}
        free = self._size - sum(self._written.values())
        self.lowest = min(self.lowest, free)
        return free


class MeasuredTestCase(flow_scene.FlowTestCase):
    """A guest that is off, whose layers take more than its image will."""

    def plan(self, free):
        self.fake.free = free
        process = self.fake.process()
        made = snapshot.plan(process.node, flow_scene.request())
        return made, process.calls.names()

    def test_with_room_for_all_layers_it_is_not_measured(self):
        _, calls = self.plan(units.GiB)
        self.assertNotIn('measure', calls)

    def test_with_less_its_image_counts(self):
        self.fake.set(space_reserve=0)
        made, _ = self.plan(LITTLE)
        self.assertIn('may need', ' '.join(made.remarks))
        self.useFixture(fixtures.MonkeyPatch(
            'tests.fakes.qemu_img.CLUSTER', 1))
        made, _ = self.plan(LITTLE)
        self.assertLess(made.need.likely, LITTLE)


class FiveAtOnceTestCase(flow_scene.FlowTestCase):
    """Five guests, each snapshot begun when the one before is copied."""

    def setUp(self):
        super().setUp()
        self.guests = [self.define(number) for number in range(5)]
        self.done, self.errors = [], []

    def define(self, number):
        uuid = fake_node.UUID[:-1] + str(number)
        disk = self.fake.folder / f'disk-{number}'
        shutil.copy(self.fake.disks[0], disk)
        guest = self.fake.libvirtd.define(
            self.fake.xml.replace(fake_node.UUID, uuid)
            .replace(fake_node.NAME, f'guest-{number}')
            .replace(self.fake.disks[0], str(disk))
            # The fake tells all who listen of a job on a disk of this name.
            .replace("dev='vda'", f"dev='vd{number}'"))
        guest.create()
        # The guest writes faster than its disk is copied.
        guest.mirror_life.ready_after = 12
        return guest

    def take_from(self, number):
        if number == len(self.guests):
            return
        process = self.fake.process()
        process.calls.then('blockRebase',
                           lambda: self.take_from(number + 1))
        try:
            self.take(process, image_id=flow_scene.IMAGE[:-1] + str(number),
                      instance_uuid=fake_node.UUID[:-1] + str(number))
            self.done.append(number)
        except errors.SnapError as exc:
            self.errors.append(type(exc))
            # Refused, it has started none after it.
            if isinstance(exc, errors.Refused):
                self.take_from(number + 1)

    def assert_all_is_well(self, file_system):
        self.assertGreater(file_system.lowest, 0)
        for guest in self.guests:
            self.assertTrue(guest.isActive() and guest.isPersistent())
            self.assertEqual({}, guest.mirrors)
        self.assertEqual([], list(self.fake.snapshots.iterdir()))
        self.assertEqual([], self.records())
        self.assertEqual(
            ['active'] * len(self.done),
            [image.status for image in self.fake.glance.stored.values()])

    def take_all(self, size):
        file_system = SmallFileSystem(self.fake.snapshots, size)
        self.fake.free = file_system.free
        self.fake.set(space_reserve=8 * FAST)
        self.take_from(0)
        self.assert_all_is_well(file_system)
        self.assertEqual(5, len(self.done) + len(self.errors))

    def test_with_room_for_all_all_are_taken(self):
        self.take_all(units.GiB)
        self.assertEqual([], self.errors)

    def test_with_room_for_some_no_guest_stops(self):
        self.take_all(60 * FAST)
        self.assertEqual({errors.SpaceReserveReached}, set(self.errors))
        self.assertNotEqual([], self.done)

    def test_what_is_reserved_is_refused_to_the_others(self):
        self.take_all(12 * FAST)
        self.assertIn(errors.NotEnoughSpace, self.errors)
