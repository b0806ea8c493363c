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

"""Snapshots that wait for their turn to read or write a whole image."""

import contextlib
import dataclasses
import itertools
import shutil
import threading

import ddt

from nova_snap.flows import snapshot
from tests.fakes import calls as fake_calls
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.flow import test_direct
from tests.flow import test_into_ceph

When = fake_calls.When

# Seconds for another thread of the test.
PATIENCE = 20
TO_THE_GUEST = ('fsFreeze', 'backupBegin', 'fsThaw', 'abortJob')
OTHER = '0b708a7f-a14f-42bf-bf80-ca5745ad69d1'


class Turn:
    """One turn for all; its holder must not ask for another.

    :ivar is_waited_for: another thread has waited for it
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._holder = None
        self.is_waited_for = threading.Event()

    @contextlib.contextmanager
    def __call__(self):
        assert self._holder != threading.get_ident(), 'it would wait for ever'
        if not self._lock.acquire(blocking=False):
            self.is_waited_for.set()
            assert self._lock.acquire(timeout=PATIENCE)
        self._holder = threading.get_ident()
        try:
            yield
        finally:
            self._holder = None
            self._lock.release()

    @property
    def is_free(self):
        return self._holder is None


def in_turn(node, turn):
    """Return a node whose operations take a turn each."""
    return dataclasses.replace(node, world=dataclasses.replace(
        node.world, disk_turn=turn))


@ddt.ddt
class OneTurnTestCase(flow_scene.FlowTestCase):
    """What waits for a turn has done nothing to its guest, or is done."""

    spec = fake_node.GuestSpec(second=True)
    waits = 0

    def take_in_turns(self, **asked):
        process, turn = self.fake.process(), Turn()

        @contextlib.contextmanager
        def looked_at():
            # It might have to wait here.
            self.waits += 1
            self.assertEqual([], list(self.holds()))
            with turn():
                yield

        result = snapshot.take(in_turn(process.node, looked_at),
                               flow_scene.request(**asked))
        self.assertNotEqual(0, self.waits)
        self.assert_all_or_nothing()
        return result

    def holds(self):
        guest = self.fake.guest
        for what, held in (('frozen', guest.agent.frozen),
                           ('in a backup job', guest.backup),
                           ('mirrored', guest.mirrors),
                           ('saved', guest.saved is not None)):
            if held:
                yield what

    @ddt.data('rebase', 'copy', 'backup')
    def test_live(self, method):
        self.fake.set(live_method=method)
        self.fake.guest.create()
        self.take_in_turns(quiesce='require')

    def test_live_and_converted_from_a_job(self):
        self.fake.set(live_method='backup')
        self.fake.guest.create()
        self.take_in_turns(image_format='vmdk')

    @ddt.data(False, True)
    def test_cold(self, has_clones):
        self.fake.has_clones = has_clones
        self.fake.guest.create()
        self.take_in_turns(cold=True)

    def test_off(self):
        self.take_in_turns()


class TwoGuestsTestCase(flow_scene.FlowTestCase):
    """The other one waits before its job, not in it."""

    def setUp(self):
        super().setUp()
        self.fake.set(live_method='backup')
        self.fake.guest.create()
        xml = self.fake.xml
        for word, other in (
                (fake_node.UUID, OTHER), (fake_node.NAME, 'other'),
                (self.fake.disks[0], str(self.fake.folder / 'other'))):
            xml = xml.replace(word, other)
        shutil.copy(self.fake.disks[0], self.fake.folder / 'other')
        self.fake.libvirtd.define(xml).create()

    def test_its_job_begins_after_the_end_of_the_first(self):
        process, turn = self.fake.process(), Turn()
        node = in_turn(process.node, turn)
        second = threading.Thread(target=snapshot.take, args=(
            node, flow_scene.request(instance_uuid=OTHER, quiesce='require',
                                     image_id=OTHER)))

        def begin_the_second():
            second.start()
            self.assertTrue(turn.is_waited_for.wait(PATIENCE))

        process.calls.then('upload', begin_the_second)
        snapshot.take(node, flow_scene.request(quiesce='require'))
        second.join(PATIENCE)
        self.assertEqual(
            2 * ['fsFreeze', 'backupBegin', 'fsThaw', 'abortJob'],
            [call.name for call in process.calls.made
             if call.name in TO_THE_GUEST])
        self.assertEqual(2 * ['active'], [
            image.status for image in self.fake.glance.stored.values()])


class WhileGlanceHashesTest(flow_scene.FlowTestCase):
    """Glance may read a whole image before it takes its location."""

    def take_and_look(self, process=None, **asked):
        """Take it; tell at each location whether the turn is free."""
        process, turn, free = process or self.fake.process(), Turn(), []

        def look():
            free.append(turn.is_free)
            process.calls.then('add_location', look, When.BEFORE)

        process.calls.then('add_location', look, When.BEFORE)
        snapshot.take(in_turn(process.node, turn),
                      flow_scene.request(**asked))
        self.assertTrue(turn.is_free)
        self.assert_all_or_nothing()
        return free


@ddt.ddt
class WrittenTestCase(WhileGlanceHashesTest):

    spec = fake_node.GuestSpec(second=True)

    def make_node(self, spec):
        return test_into_ceph.into_ceph(super().make_node(spec))

    def setUp(self):
        super().setUp()
        self.fake.guest.create()

    @ddt.data(*itertools.product(('backup', 'rebase'), ('glance', 'host')))
    @ddt.unpack
    def test_another_may_have_its_turn(self, method, hashed):
        self.fake.set(live_method=method, location_hash=hashed)
        self.assertEqual([True], self.take_and_look())

    def test_of_a_guest_that_is_off_too(self):
        self.fake.power_off_guest()
        self.assertEqual([True], self.take_and_look())

    def test_of_several_disks_the_last_one_ends_it(self):
        """The next one is read without a wait: its guest would wait, too."""
        self.assertEqual([False, True], self.take_and_look(
            set_id='5e7a0000-0000-4000-8000-000000000000'))

    def test_what_has_changed_alone(self):
        self.fake.set(incremental='flat')
        self.take_and_look()
        self.assertEqual([True], self.take_and_look(image_id=OTHER))

    @ddt.data('backup', 'rebase')
    def test_where_it_is_refused_at_the_end_the_image_is_sent(self, method):
        self.fake.set(live_method=method)
        process = self.fake.process()

        def forbid():
            self.fake.glance.is_service = False
            self.fake.glance.shows_locations = False

        process.calls.then('fill', forbid)
        self.assertEqual([True], self.take_and_look(process))
        self.assertIn('upload', process.calls.names())


class DirectTestCase(WhileGlanceHashesTest, test_direct.DirectTest):

    def test_another_may_have_its_turn(self):
        self.fake.set(location_hash='host')
        self.assertEqual([True], self.take_and_look())
