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

"""Glance would refuse a raw image of the disk for its first bytes."""

import logging

import ddt
import fixtures

from nova_snap import errors
from nova_snap.flows import snapshot
from nova_snap.model import request as request_model
from tests.contract import first_bytes
from tests.fakes import calls as fake_calls
from tests.fakes import disk as fake_disk
from tests.fakes.glance import record as image_record
from tests.fakes.glance import store as glance_store
from tests.fakes import node as fake_node
from tests.flow import scene as flow_scene
from tests.flow import test_adopted_image

When = fake_calls.When

ODD = first_bytes.boot_sector()
SOUND = first_bytes.boot_sector(first_bytes.LINUX)
MADE_IN_QCOW2 = 'the image is made in qcow2'


class FirstBytesTestCase(flow_scene.FlowTestCase):

    spec = fake_node.GuestSpec(driver_format='raw', layers=1)

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.WARNING))

    def begins(self, first):
        """Let the disk begin so."""
        file = fake_disk.DiskFile.load(self.fake.disks[0])
        file.begin(first)
        file.save(self.fake.disks[0])

    def begins_while_it_runs(self, process, call, first):
        """Let the guest write another beginning before a call."""
        process.calls.then(call, lambda: self.begins(first), When.BEFORE)

    def assert_in_qcow2(self, result):
        [remark] = [remark for remark in result.plan.remarks
                    if MADE_IN_QCOW2 in remark]
        self.assertEqual(1, self.log.output.count(remark))
        self.assertEqual('qcow2', self.image().format)
        (stored,) = self.fake.glance.stored.values()
        self.assertEqual('qcow2', stored['disk_format'])
        self.assert_all_or_nothing()


@ddt.ddt
class ChangedTestCase(FirstBytesTestCase):
    """The operator has named no format."""

    @ddt.data('off', 'live', 'cold')
    def test_the_image_is_made_in_qcow2(self, how):
        self.begins(ODD)
        if how != 'off':
            self.fake.guest.create()
        self.assert_in_qcow2(self.take(cold=how == 'cold'))

    @ddt.data('file', 'stream')
    def test_a_guest_that_wrote_it_since_the_plan(self, upload):
        self.fake.set(upload=upload)
        self.fake.guest.create()
        process = self.fake.process()
        self.begins_while_it_runs(process, 'blockRebase', ODD)
        result = self.take(process)

        self.assert_in_qcow2(result)
        self.assertIn('set_properties disk_format=qcow2',
                      process.calls.of('glance'))

    def test_an_image_that_takes_its_place_is_in_qcow2_too(self):
        self.fake.guest.create()
        self.fake.glance.troubles = [
            glance_store.Trouble(leaves='saving', answer=502)]
        process = self.fake.process()
        self.begins_while_it_runs(process, 'blockRebase', ODD)
        self.assert_in_qcow2(self.take(process))

    def test_a_guest_that_wrote_it_before_it_was_saved(self):
        self.fake.guest.create()
        process = self.fake.process()
        self.begins_while_it_runs(process, 'managedSave', ODD)
        self.assert_in_qcow2(self.take(process, cold=True))

    def test_a_record_of_novas_is_left_to_nova(self):
        """Its driver hears of the format before the upload."""
        self.fake.glance.create(image_record.of_spec(
            test_adopted_image.RECORD))
        self.begins(ODD)
        formats = []
        process = self.fake.process()

        def before_upload(image_formats):
            formats.extend(image_formats)
            self.fake.glance.patch(flow_scene.IMAGE, [
                {'op': 'add', 'path': '/disk_format', 'value': 'qcow2'}])

        process.world.observer.before_upload = before_upload
        self.take(process, made_by=request_model.Party.NOVA)
        self.assertEqual(['qcow2'], formats)
        self.assertEqual('qcow2', self.image().format)

    def test_a_dry_run_says_it(self):
        self.begins(ODD)
        plan = snapshot.plan(self.fake.process().node, flow_scene.request())
        self.assertIn('image format qcow2', plan.sentences())
        self.assertIn(MADE_IN_QCOW2, plan.sentences()[-1])

    def test_a_disk_that_glance_takes_stays_raw(self):
        self.begins(SOUND)
        self.assertEqual((), self.take().plan.remarks)
        self.assertEqual('raw', self.image().format)

    def test_where_it_cannot_be_looked_at_the_image_stays_raw(self):
        self.begins(SOUND)
        process = self.fake.process()
        process.calls.fail_named('begins')
        self.take(process)
        self.assertEqual('raw', self.image().format)
        self.assertIn('It is not known whether Glance takes',
                      self.log.output)


@ddt.ddt
class NamedTestCase(FirstBytesTestCase):
    """The operator has named raw, and it stays."""

    def refused(self, **asked):
        """Take it, and return the warnings."""
        error = self.assertRaises(errors.ImageServiceError, self.take,
                                  image_format='raw', **asked)
        self.assertEqual(415, error.status)
        self.assertEqual({}, self.fake.glance.stored)
        return self.log.output

    @ddt.data('off', 'live', 'cold')
    def test_it_is_warned_of_once_with_the_cure(self, how):
        self.begins(ODD)
        if how != 'off':
            self.fake.guest.create()
        said = self.refused(cold=how == 'cold')
        self.assertEqual(1, said.count(
            f'if it does, run "nova-snap image-create {fake_node.NAME} '
            'nightly --format qcow2"'))

    def test_what_is_in_an_overlay_is_known_when_the_guest_is_off(self):
        self.fake = self.make_node(fake_node.GuestSpec())
        self.begins(ODD)
        plan = snapshot.plan(self.fake.process().node,
                             flow_scene.request(image_format='raw'))
        self.assertIn('--format qcow2', plan.sentences()[-1])

    def test_what_is_in_an_overlay_is_looked_at_once_more(self):
        self.fake = self.make_node(fake_node.GuestSpec())
        self.begins(ODD)
        process = self.fake.process()
        process.calls.fail_named('begins')
        self.assertRaises(errors.ImageServiceError, self.take, process,
                          image_format='raw')
        self.assertIn('--format qcow2', self.log.output)

    def test_what_is_in_an_overlay_of_a_running_guest_is_seen_later(self):
        self.fake = self.make_node(fake_node.GuestSpec())
        self.begins(ODD)
        self.fake.guest.create()
        self.assertIn('--format qcow2', self.refused())


class RecordTestCase(FirstBytesTestCase):

    def test_a_format_that_glance_does_not_take_fails_the_snapshot(self):
        self.fake.guest.create()
        before = self.state()
        process = self.fake.process()
        self.begins_while_it_runs(process, 'blockRebase', ODD)
        process.calls.fail_named('set_properties')
        self.assertRaises(errors.ImageServiceError, self.take, process)
        self.assert_nothing_left(before)
