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

"""Images in Ceph that begin as the last one of their guest."""

import json
import pathlib
import uuid as uuid_module

import ddt
import libvirt

from nova_snap.cmd import image_create
from nova_snap import errors
from nova_snap.flows import recovery
from nova_snap.model import checkpoint as checkpoint_model
from nova_snap.model.plan import incremental as incremental_plan
from nova_snap.model import request as request_model
from nova_snap.steps import checkpoint as checkpoint_step
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import disks as fake_disks
from tests.fakes import domain as fake_domain
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.flow import test_into_ceph

When = fake_calls.When
FOREIGN = '<domaincheckpoint><name>monday</name></domaincheckpoint>'


def request(image_id, **asked):
    return request_model.Request(
        fake_node.UUID, (request_model.RequestedImage(image_id, 'image'),),
        **asked)


class IncrementalTest(test_into_ceph.IntoCephTest):

    mode = 'clone'

    def setUp(self):
        super().setUp()
        self.fake.set(incremental=self.mode)
        self.fake.guest.create()

    def next(self, process=None, **asked):
        """Take one more image; return its id and the result."""
        image_id = str(uuid_module.uuid4())
        process = process or self.fake.process()
        result = flow_scene.snapshot.take(process.node,
                                          request(image_id, **asked))
        self.assert_hidden()
        return image_id, result

    def assert_hidden(self):
        self.assertEqual([], [one.getName()
                              for one in self.fake.guest.checkpoints
                              if one.getName() != 'monday'])

    def assert_kept(self, image_id):
        """The next image begins as this one, and no bitmap is left over."""
        kept = checkpoint_step.kept(self.fake.process().world,
                                    fake_node.UUID)
        self.assertEqual(image_id, kept.base.image_id)
        self.assertEqual({kept.base.checkpoint}, self.fake.guest.bitmaps)

    def assert_content(self, image_id):
        """It is the disk as it was at that moment."""
        url = self.fake.glance.stored[image_id]['locations'][0]['url']
        data, _ = self.fake.ceph.content(url)
        self.assertEqual(self.fake.libvirtd.moments[-1].content,
                         json.loads(data)['clusters'])

    def parent(self, image_id):
        return self.fake.ceph.pools[fake_disks.IMAGES][image_id].parent


class ClonesTestCase(IncrementalTest):

    def test_the_first_is_whole_and_the_next_begins_as_it(self):
        first, result = self.next()
        self.assertIn('no image of this guest', result.written)
        self.assert_kept(first)

        self.fake.guest.begin(b'changed')
        process = self.fake.process()
        second, result = self.next(process)

        self.assertIn(f'have changed since image {first}', result.written)
        self.assert_kept(second)
        self.assert_content(second)
        self.assertEqual(first, self.parent(second).image)
        self.assertEqual(
            [f'protect images/{first}@snap', f'clone images/{first}@snap',
             f'fill images/{second}', f'snapshot images/{second}@snap',
             f'protect images/{second}@snap'], process.calls.of('ceph'))

    def test_it_says_so_before_and_after(self):
        first, _ = self.next()
        plan = self.plan()
        self.assertTrue(any(f'begins as image {first}' in line
                            for line in plan.sentences()), plan.sentences())
        _, result = self.next()
        self.assertIn('written', image_create._describe(result, 1))

    def test_not_too_many_in_a_row(self):
        ids = []
        for _ in range(incremental_plan.DEEPEST + 2):
            image_id, result = self.next()
            ids.append(image_id)
        self.assertIn('clones in a row', result.written)
        self.assertIsNone(self.parent(ids[-1]))
        self.assertIsNotNone(self.parent(ids[-2]))

    def test_the_guest_restarts_in_between(self):
        first, _ = self.next()
        self.fake.power_off_guest()
        self.fake.guest.create()
        second, result = self.next()
        self.assertIn(first, result.written)
        self.assert_kept(second)

    def test_nova_defines_it_anew_in_between(self):
        first, _ = self.next()
        # It refuses, as libvirt does, where there is a checkpoint.
        self.fake.guest.destroy()
        self.fake.guest.undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        self.fake.guest = self.fake.libvirtd.define(self.fake.xml)
        self.fake.guest.bitmaps.add(checkpoint_model.name(first))
        self.fake.guest.create()
        _, result = self.next()
        self.assertIn(first, result.written)


class FlatTestCase(IncrementalTest):

    mode = 'flat'

    def test_it_needs_the_last_image_no_more(self):
        first, _ = self.next()
        second, result = self.next()
        self.assertIn(first, result.written)
        self.assertIsNone(self.parent(second))
        self.fake.ceph.version = 1
        self.fake.ceph.destroy(
            self.fake.glance.stored[first]['locations'][0]['url'])
        self.assert_content(second)
        third, result = self.next()
        self.assertIn(second, result.written)
        self.assert_kept(third)


@ddt.ddt
class WholeTestCase(IncrementalTest):
    """What makes the next image a whole one, and what is kept then."""

    def break_bitmap(self, first):
        self.fake.guest.broken_bitmaps.add(checkpoint_model.name(first))

    def replace_disk(self, first):
        self.fake.guest.bitmaps.clear()

    def delete_image(self, first):
        self.fake.ceph.destroy(
            self.fake.glance.stored[first]['locations'][0]['url'])

    def make_another_image(self, first):
        pool = self.fake.ceph.pools[fake_disks.IMAGES]
        image = pool[first]
        self.delete_image(first)
        pool[first] = type(image)(image.data, image.size)
        name = checkpoint_model.Base('', fake_disks.IMAGES, first, '', 0, 0)
        self.fake.ceph.create_snapshot(name.snapshot)

    def resize(self, first):
        path = pathlib.Path(self.fake.disks[0])
        file = json.loads(path.read_bytes())
        file['virtual_size'] *= 2
        path.write_text(json.dumps(file))

    def forget(self, first):
        self.fake.process().world.checkpoints.write(fake_node.UUID, None)

    def spoil(self, first):
        self.fake.process().world.checkpoints.write(
            fake_node.UUID, {'version': 99})

    @ddt.data(
        ('break_bitmap', 'missing or broken bitmap'),
        ('replace_disk', 'missing or broken bitmap'),
        ('delete_image', 'was deleted'),
        ('make_another_image', 'other data by now'),
        ('resize', 'another size'))
    @ddt.unpack
    def test_it_says_why_and_begins_anew(self, happens, why):
        first, _ = self.next()
        getattr(self, happens)(first)
        second, result = self.next()
        self.assertIn('the whole disk: ', result.written)
        self.assertIn(why, result.written)
        self.assertIsNone(self.parent(second))
        self.assert_kept(second)
        _, result = self.next()
        self.assertIn(second, result.written)

    @ddt.data('forget', 'spoil')
    def test_what_is_kept_is_lost(self, happens):
        """As on another host: a bitmap is left, which disturbs no image."""
        first, _ = self.next()
        getattr(self, happens)(first)
        second, result = self.next()
        self.assertIn('no image of this guest', result.written)
        _, result = self.next()
        self.assertIn(second, result.written)

    def test_the_image_is_deleted_after_the_plan(self):
        first, _ = self.next()
        process = self.fake.process()
        process.calls.then('backupBegin', lambda: self.delete_image(first))
        second, result = self.next(process)
        self.assertIn('not there any more', result.written)
        self.assert_content(second)
        self.assert_kept(second)

    def test_it_is_uploaded_in_the_end(self):
        first, _ = self.next()
        process = self.fake.process()

        def forbid():
            self.fake.glance.is_service = False
            self.fake.glance.shows_locations = False

        process.calls.then('fill', forbid)
        _, result = self.next(process)
        self.assertIn('was uploaded', result.written)
        # The last image that lies in Ceph is as good as before.
        self.assert_kept(first)

    @ddt.data(
        ('snapshots', fake_domain.Metadata(
            '<domainsnapshot><name>s</name></domainsnapshot>')),
        ('checkpoints', fake_domain.Metadata(FOREIGN)))
    @ddt.unpack
    def test_a_guest_with_metadata_of_others_is_left_alone(self, name, one):
        getattr(self.fake.guest, name).append(one)
        _, result = self.next()
        self.assertIn('libvirt has snapshots', result.written)
        self.assertEqual(set(), self.fake.guest.bitmaps)
        self.assertEqual([one], getattr(self.fake.guest, name))

    def test_a_libvirt_that_makes_no_checkpoint(self):
        self.fake.guest.refuses_checkpoints = True
        image_id, result = self.next()
        self.assertIn('unsupported', result.written)
        self.assert_content(image_id)
        self.assertEqual(set(), self.fake.guest.bitmaps)

    def test_cold_it_is_whole_and_the_last_one_stays_the_base(self):
        first, _ = self.next()
        self.assertTrue(any(
            'known of a guest that runs' in line
            for line in self.plan(cold=True).sentences()))
        self.next(cold=True)
        self.assert_kept(first)

    def test_a_raw_disk(self):
        self.fake = self.make_node(fake_node.GuestSpec(
            driver_format='raw', layers=1))
        self.fake.set(incremental=self.mode)
        self.fake.guest.create()
        _, result = self.next()
        self.assertIn('the disk is raw', result.written)

    def test_by_default_there_is_no_checkpoint(self):
        self.fake.set(incremental='none')
        process = self.fake.process()
        _, result = self.next(process)
        self.assertIsNone(result.written)
        self.assertEqual(set(), self.fake.guest.bitmaps)


class LeftTestCase(IncrementalTest):
    """What is left over goes with the next snapshot, or the guest."""

    def test_the_bitmap_of_a_guest_that_went_off(self):
        first, _ = self.next()
        process = self.fake.process()
        process.calls.then('backupBegin', self.fake.power_off_guest)
        self.assertRaises(errors.BackupFailed, self.next, process)
        self.assertEqual(2, len(self.fake.guest.bitmaps))
        self.fake.guest.create()
        second, result = self.next()
        self.assertIn(first, result.written)
        self.assert_kept(second)

    def test_an_image_that_could_not_be_committed(self):
        """It is deleted, and the next one begins as the one before."""
        first, _ = self.next()
        process = self.fake.process()
        process.calls.fail_named('journal write commit')
        self.assertRaises(errors.JournalError, self.next, process)
        self.assert_kept(first)
        second, result = self.next()
        self.assertIn(first, result.written)
        self.assert_kept(second)

    def test_a_guest_that_is_gone(self):
        self.next()
        self.fake.delete_guest()
        process = self.fake.process()
        recovery.recover(process.node)
        self.assertEqual([], process.world.checkpoints.guests())


del IncrementalTest
