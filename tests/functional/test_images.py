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

import dataclasses
import socket
import time
import tracemalloc
import uuid

import ddt
import fixtures

from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.model import request as request_model
from nova_snap.services import sessions
from nova_snap.transfer import ahead
from nova_snap.transfer import source as source_module
from nova_snap import units
from tests.functional import glance_base
from tests.lab import proxy
from tests.unit.model import test_inheritance

DATA_BYTES = glance_base.DATA_BYTES
HALF = glance_base.HALF
# Seconds: no wait of an upload is shorter than what the operator set.
QUICK = 2
# Seconds from the last byte to the first one that such a proxy hands on: more
# than a piece, and an answer to a small image, may take. And more than these.
BUFFERS = 5
LONG = 30


class CheckTestCase(glance_base.GlanceTest):

    def refused(self, error, **session):
        return self.assertRaises(error, self.make_images(**session).check)

    def test_glance_answers_and_takes_us(self):
        self.images.check()

    def test_a_glance_that_is_down_is_unavailable(self):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            closed = f'http://127.0.0.1:{probe.getsockname()[1]}'

        refused = self.refused(errors.ImageServiceUnavailable,
                               endpoint=closed)

        self.assertIn(closed, str(refused))

    def test_a_glance_that_hangs_is_unavailable(self):
        self.proxy.inject(proxy.Fault('GET', '^/v2/images', hang_after=0))

        self.refused(errors.ImageServiceUnavailable, timeout=1)

    def test_credentials_that_glance_does_not_take_are_refused(self):
        self.proxy.headers['X-Auth-Token'] = 'refused'

        refused = self.refused(errors.ImageServiceRefused)

        self.assertEqual(401, refused.status)
        self.assertIn('OS_*', str(refused))

    def test_a_user_without_a_role_is_refused(self):
        self.assertEqual(403, self.refused(errors.ImageServiceRefused,
                                           roles='stranger').status)

    def test_a_glance_that_is_overloaded_is_unavailable(self):
        self.proxy.inject(proxy.Fault('GET', proxy.IMAGES, status=503))

        self.refused(errors.ImageServiceUnavailable)


@ddt.ddt
class RecordTestCase(glance_base.GlanceTest):

    def create(self, spec, images=None):
        self.addCleanup(self.make_images(roles='admin').delete,
                        spec.image_id)
        return (images or self.images).create(spec)

    def test_glance_keeps_the_record_of_a_snapshot(self):
        nova = dataclasses.replace(
            test_inheritance.NOVA, project_uuid=self.project,
            image_properties={'hw_qemu_guest_agent': 'True',
                              'traits_required': "['CUSTOM_A']"})
        asked = request_model.RequestedImage(str(uuid.uuid4()), 'größer')
        spec = image_model.snapshot_spec(
            request_model.Request(str(uuid.uuid4()), (asked,),
                                  properties={'colour': 'blue'}), asked,
            image_model.Origin(units.GiB, nova),
            disk_format='qcow2',
        )

        self.create(spec)

        found = self.direct.get(spec.image_id)
        for field in dataclasses.fields(spec):
            self.assertEqual(getattr(spec, field.name),
                             getattr(found, field.name), field.name)
        self.assertEqual('queued', found.status)

    def test_a_record_may_be_asked_for_again(self):
        spec = self.spec()
        self.create(spec)

        self.assertEqual(spec.image_id, self.images.create(spec).image_id)

    def test_other_clients_image_is_not_taken_for_ours(self):
        spec = self.spec()
        self.create(spec)

        refused = self.assertRaises(
            errors.ImageServiceError, self.images.create,
            self.spec(image_id=spec.image_id))

        self.assertEqual(409, refused.status)

    @ddt.named_data(
        ['the answer is lost', {'lose_response': True}],
        ['the request is lost', {'drop_after': 0}],
        ['Glance is overloaded', {'status': 503}],
    )
    def test_it_is_made_once_though(self, fault):
        self.proxy.inject(proxy.Fault('POST', proxy.IMAGES, **fault))
        spec = self.spec()

        self.create(spec)

        self.assertEqual('queued', self.direct.get(spec.image_id).status)

    def test_a_member_may_not_make_it_for_another_project(self):
        refused = self.assertRaises(
            errors.ImageServiceRefused, self.images.create,
            self.spec(owner='bank'))

        self.assertEqual(403, refused.status)
        for word in ('project bank', 'role admin', 'service'):
            self.assertIn(word, str(refused))

    def test_an_admin_may_make_it_for_another_project(self):
        admin = self.make_images(roles='admin')
        spec = self.spec(owner='bank')

        self.create(spec, admin)

        self.assertEqual('bank', admin.get(spec.image_id).owner)

    def test_a_format_that_glance_does_not_know_is_an_error(self):
        refused = self.assertRaises(
            errors.ImageServiceError, self.images.create,
            self.spec(disk_format='floppy'))

        self.assertIn('floppy', str(refused))

    def test_properties_are_set(self):
        image_id = self.queued()

        self.images.set_properties(image_id, {'colour': 'blue', 'a/b': 'x'})
        self.images.set_properties(image_id, {'colour': 'red'})

        properties = self.direct.get(image_id).properties
        self.assertEqual(('red', 'x'),
                         (properties['colour'], properties['a/b']))

    def test_properties_of_a_deleted_image_are_an_error(self):
        self.assertRaises(errors.ImageGone, self.images.set_properties,
                          str(uuid.uuid4()), {'colour': 'blue'})

    @ddt.named_data(
        ['nothing goes wrong', None],
        ['the answer is lost', {'lose_response': True}],
        ['the request is lost', {'drop_after': 0}],
    )
    def test_it_is_deleted_though(self, fault):
        image_id = self.queued()
        if fault:
            self.proxy.inject(proxy.Fault('DELETE', proxy.IMAGE, **fault))

        self.images.delete(image_id)
        self.images.delete(image_id)

        self.assertIsNone(self.direct.get(image_id))

    def test_a_reader_may_not_delete_it(self):
        reader = self.make_images(roles='reader')

        self.assertRaises(errors.ImageServiceRefused, reader.delete,
                          self.queued())


@ddt.ddt
class UploadTestCase(glance_base.GlanceTest):

    def setUp(self):
        super().setUp()
        self.image_id = self.queued()

    def inject(self, **fault):
        return self.proxy.inject(proxy.Fault('PUT', proxy.FILE, **fault))

    def upload(self, images=None, **options):
        return (images or self.images).upload(
            self.image_id, self.source(**options))

    def fails(self, error, images=None):
        return self.assertRaises(error, self.upload, images)

    def test_it_is_whole(self):
        image = self.upload()

        self.assertEqual('active', image.status)
        (put,) = self.puts()
        self.assertEqual(str(DATA_BYTES), put.headers['Content-Length'])
        self.assertEqual(str(DATA_BYTES),
                         put.headers['x-openstack-image-size'])
        self.assertIn('nova_snap/', put.headers['User-Agent'])
        self.assert_whole(self.image_id)

    def test_an_empty_file_is_an_empty_image(self):
        with open(self.path, 'wb'):
            pass

        self.assertEqual(0, self.upload().size)

    def test_it_is_not_held_in_memory(self):
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()

        # Not through the proxy, which is in this process too.
        self.upload(self.direct)

        _, peak = tracemalloc.get_traced_memory()
        # What is read ahead, what is sent, and some change.
        most = (ahead.DEPTH + 4) * source_module.CHUNK_BYTES
        self.assertLess(most, DATA_BYTES)
        self.assertLess(peak - before, most)

    def test_it_keeps_below_the_bandwidth(self):
        began = time.monotonic()

        self.upload(bandwidth=DATA_BYTES // 2)

        # A burst of half a second is free.
        self.assertGreater(time.monotonic() - began, 1.4)
        self.assert_whole(self.image_id)

    @ddt.data(0, 1, HALF, DATA_BYTES - 1)
    def test_it_is_whole_after_a_break_at_byte(self, where):
        fault = self.inject(drop_after=where)

        self.upload()

        self.assertTrue(fault.happened.is_set())
        self.assertEqual(2, len(self.puts()))
        self.assert_whole(self.image_id)

    def test_a_break_after_the_last_byte_is_a_lost_answer(self):
        self.inject(drop_after=DATA_BYTES)

        self.upload()

        self.assertEqual(1, len(self.puts()))
        self.assert_whole(self.image_id)

    def test_it_is_whole_after_two_breaks(self):
        self.inject(drop_after=HALF)
        self.inject(drop_after=HALF // 2)

        self.upload()

        self.assertEqual(3, len(self.puts()))
        self.assert_whole(self.image_id)

    def test_it_is_given_up_when_every_attempt_breaks(self):
        self.inject(nth=None, drop_after=HALF)
        images = self.make_images(policy=sessions.Policy(num_retries=1))

        self.fails(errors.ImageServiceUnavailable, images)

        self.assertEqual(2, len(self.puts()))
        self.assert_nothing_stored(self.image_id)

    def test_a_lost_answer_is_looked_up(self):
        self.inject(lose_response=True)

        self.assertEqual('active', self.upload().status)

        self.assertEqual(1, len(self.puts()))
        self.assert_whole(self.image_id)

    @ddt.data(500, 504)
    def test_it_is_sent_again_after_status(self, status):
        self.inject(status=status)

        self.upload()

        self.assert_whole(self.image_id)

    def test_it_is_sent_again_after_an_early_503(self):
        self.inject(status=503, answer_early=True)

        self.upload()

        self.assert_whole(self.image_id)

    def test_an_image_deleted_half_way_ends_it(self):
        self.inject(call=lambda: self.direct.delete(self.image_id),
                    call_after=HALF)

        gone = self.fails(errors.ImageGone)

        self.assertIn(self.image_id, str(gone))
        self.assertEqual(1, len(self.puts()))
        self.assert_nothing_stored(self.image_id)

    def test_an_image_deleted_before_ends_it(self):
        self.direct.delete(self.image_id)

        self.fails(errors.ImageGone)

        self.assertEqual(1, len(self.puts()))

    def test_no_room_ends_it(self):
        with self.glance.use_up_quota(self.project, HALF):
            full = self.fails(errors.ImageQuotaExceeded)

        self.assertIn('quota', str(full))
        self.assertEqual(1, len(self.puts()))
        self.assert_nothing_stored(self.image_id)

    def test_no_room_ends_it_without_a_proxy_too(self):
        # Glance answers with most of the data still on its way.
        with self.glance.use_up_quota(self.project, units.MiB):
            self.fails(errors.ImageQuotaExceeded, self.direct)

        self.assert_nothing_stored(self.image_id)

    def test_a_reader_is_refused(self):
        reader = self.make_images(roles='reader')

        self.assertEqual(403, self.fails(errors.ImageServiceRefused,
                                         reader).status)
        self.assert_nothing_stored(self.image_id)

    def test_credentials_that_glance_does_not_take_are_refused(self):
        self.proxy.headers['X-Auth-Token'] = 'refused'

        self.assertEqual(401,
                         self.fails(errors.ImageServiceRefused).status)

    def test_data_of_another_format_than_the_record_says_are_an_error(self):
        spec = self.spec(disk_format='qcow2')
        self.direct.create(spec)
        self.addCleanup(self.direct.delete, spec.image_id)

        refused = self.assertRaises(
            errors.ImageServiceError, self.images.upload, spec.image_id,
            self.source())

        self.assertEqual(415, refused.status)
        self.assertIn('qcow2', str(refused))
        self.assertEqual(1, len(self.puts()))

    def test_a_glance_that_takes_nothing_more_is_given_up(self):
        self.inject(hang_after=HALF)
        images = self.make_images(timeout=QUICK, policy=self.quick(
            stall=1, finish=1, settle=1))
        began = time.monotonic()

        refused = self.fails(errors.ImageServiceUnavailable, images)

        self.assertIn('saving', str(refused))
        self.assertLess(time.monotonic() - began, 20)
        self.assertNotEqual('active', self.direct.get(self.image_id).status)

    def test_an_answer_that_does_not_come_is_looked_up(self):
        self.inject(hang_after=DATA_BYTES)
        images = self.make_images(timeout=QUICK, policy=self.quick(
            stall=1, finish=1, settle=glance_base.TIMEOUT))

        self.upload(images)

        self.assert_whole(self.image_id)

    @ddt.named_data(
        ('as long as its image may take', QUICK, {'finish': LONG}),
        ('as long as the operator lets Nova wait', LONG, {'finish': 1}),
    )
    def test_a_proxy_that_buffers_is_waited_for(self, timeout, patience):
        self.inject(buffers=BUFFERS)
        log = self.useFixture(fixtures.FakeLogger())
        images = self.make_images(timeout=timeout, policy=self.quick(
            stall=1, settle=1, **patience))
        began = time.monotonic()

        self.upload(images)

        self.assertGreater(time.monotonic() - began, BUFFERS)
        # Its answer came, and the image need not be looked for.
        self.assertNotIn('broke off', log.output)
        self.assertEqual(1, len(self.puts()))
        self.assert_whole(self.image_id)

    def test_a_slow_link_is_not_a_silent_one(self):
        images = self.make_images(timeout=QUICK, policy=self.quick(
            stall=1, finish=5, settle=1))

        self.upload(images, bandwidth=DATA_BYTES // 3)

        self.assert_whole(self.image_id)

    def test_an_image_that_is_active_already_is_not_overwritten(self):
        self.upload()
        with open(self.path, 'r+b') as out:
            out.write(b'other')

        self.fails(errors.ImageCorrupt)

        self.assert_whole(self.image_id)
