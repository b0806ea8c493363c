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
import os

import ddt
import fixtures
from keystoneauth1 import token_endpoint
from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap import errors
from nova_snap.services.glance import upload as upload_module
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import sessions
from nova_snap.transfer import ahead
from nova_snap.transfer import source as source_module
from tests.fakes.glance import mocked as fake_glance

DATA = os.urandom(3 * wire_module.CHUNK_BYTES + 100)
HALF = 2 * wire_module.CHUNK_BYTES
# The look that ends a wait may come so many seconds after its end.
LATE = upload_module.LONGEST_LOOK_SECONDS
Trouble = fake_glance.Trouble


class ExpiringToken(token_endpoint.Token):
    """A token that can be had anew, so many times."""

    def __init__(self, renewals):
        super().__init__(fake_glance.ENDPOINT, 'first')
        self.renewals = renewals

    def invalidate(self):
        self.renewals -= 1
        self.token = 'next'
        return self.renewals >= 0


@ddt.ddt
class UploadTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger())
        self.path = os.path.join(
            self.useFixture(fixtures.TempDir()).path, 'flat')
        with open(self.path, 'wb') as out:
            out.write(DATA)
        self.clock = fake_glance.Clock()
        self.http = self.useFixture(requests_fixture.Fixture())
        self.glance = fake_glance.FakeGlance(self.http, self.clock)
        self.glance.add('an-id', disk_format='raw',
                        container_format='bare')

    def upload(self, *troubles, progress=None, auth=None,
               is_replaceable=False, **policy):
        self.glance.troubles = list(troubles)
        images = fake_glance.make_images(
            self.clock, auth=auth,
            policy=dataclasses.replace(fake_glance.POLICY, **policy))
        return images.upload('an-id', source_module.FileSource(self.path),
                             progress=progress,
                             is_replaceable=is_replaceable)

    def fails(self, error, *troubles, **kwargs):
        return self.assertRaises(error, self.upload, *troubles, **kwargs)

    def puts(self):
        return [request for request in self.http.request_history
                if request.method == 'PUT']

    def test_the_image_is_whole(self):
        image = self.upload()

        self.assertEqual('active', image.status)
        self.assertEqual(DATA, self.glance.data['an-id'])
        self.assertEqual([], self.clock.sleeps)

    def test_an_image_without_data(self):
        images = fake_glance.make_images(self.clock,
                                         policy=fake_glance.POLICY)

        image = images.upload('an-id', source_module.NoData())

        self.assertEqual(('active', 0), (image.status, image.size))
        (put,) = self.puts()
        self.assertEqual('0', put.headers['x-openstack-image-size'])

    def test_its_size_is_declared(self):
        self.upload()

        (put,) = self.puts()
        self.assertEqual(str(len(DATA)), put.headers['Content-Length'])
        self.assertEqual(str(len(DATA)),
                         put.headers['x-openstack-image-size'])
        self.assertNotIn('Transfer-Encoding', put.headers)

    def test_silence_is_bounded_and_an_upload_is_not(self):
        self.upload()

        (put,) = self.puts()
        timeouts = fake_glance.POLICY.timeouts
        self.assertEqual(
            (timeouts.stall, timeouts.after_last_byte(len(DATA))),
            put.timeout)

    def test_an_operator_who_waits_longer_is_followed(self):
        # As for a proxy that buffers, and a session that has no other end.
        images = fake_glance.make_images(self.clock, timeout=7000)

        images.upload('an-id', source_module.FileSource(self.path))

        (put,) = self.puts()
        stall, finish = put.timeout
        self.assertEqual(7000, stall)
        self.assertLess(7000, finish)

    def test_what_is_waited_for_is_said_at_once_and_until_when(self):
        self.upload(Trouble(read=HALF, error=fake_glance.lost(),
                            leaves='saving', later=(30, 'queued')))

        lines = [line for line in self.log.output.splitlines()
                 if 'waiting until' in line]
        self.assertEqual(1, len(lines))
        self.assertIn('still saving', lines[0])
        # Of the 100 s some two had gone by.
        self.assertRegex(lines[0], r'until \d\d:\d\d:\d\d \(98 s\)')

    def test_what_is_short_is_not_said(self):
        self.upload(Trouble(error=fake_glance.lost(), leaves='saving',
                            later=(1, 'active')))

        self.assertNotIn('waiting until', self.log.output)

    @ddt.data((None, 'active'), (HALF, None))
    @ddt.unpack
    def test_all_bytes_may_be_passed_on_as_long_as_an_answer_may_take(
            self, read, status):
        timeouts = sessions.Timeouts(answer=1, stall=2, finish=50, settle=1)
        trouble = Trouble(read=read, error=fake_glance.lost(),
                          leaves='saving', later=(40, 'active'))
        if status:
            self.assertEqual(status, self.upload(
                trouble, timeouts=timeouts).status)
        else:
            self.fails(errors.ImageServiceUnavailable, trouble,
                       timeouts=timeouts)

    def test_progress_is_told_of_each_attempt(self):
        told = []

        self.upload(Trouble(read=HALF, error=fake_glance.lost()),
                    progress=lambda done, total: told.append(done))

        chunk = wire_module.CHUNK_BYTES
        self.assertEqual([chunk, 2 * chunk, chunk, 2 * chunk, 3 * chunk,
                          len(DATA)], told)

    @ddt.named_data(
        ['a connection that broke', {'error': fake_glance.lost()}],
        ['a service that is overloaded', {'answer': 503}],
        ['a proxy that gave up', {'answer': 504}],
        ['an error inside of Glance', {'answer': 500}],
    )
    def test_sent_again_from_byte_0_after(self, trouble):
        self.upload(Trouble(read=HALF, **trouble))

        self.assertEqual([DATA[:HALF], DATA], self.glance.uploads)
        self.assertEqual(DATA, self.glance.data['an-id'])
        self.assertIn('broke off', self.log.output)

    def test_each_wait_is_twice_as_long(self):
        self.upload(*[Trouble(answer=503)] * 2)

        self.assertEqual([1, 2], self.clock.sleeps)

    def test_it_is_given_up_after_the_last_attempt(self):
        self.fails(errors.ImageServiceUnavailable, *[Trouble(answer=503)] * 3)

        self.assertEqual(3, len(self.glance.uploads))
        self.assertEqual('queued', self.glance.images['an-id']['status'])

    def test_there_may_be_one_attempt_only(self):
        self.fails(errors.ImageServiceUnavailable, Trouble(answer=503),
                   num_retries=0)

        self.assertEqual(1, len(self.glance.uploads))

    def test_it_waits_until_glance_has_let_go_of_the_broken_attempt(self):
        self.upload(Trouble(read=HALF, error=fake_glance.lost(),
                            leaves='saving', later=(30, 'queued')))

        self.assertEqual(2, len(self.puts()))
        self.assertEqual(DATA, self.glance.data['an-id'])

    def test_it_does_not_wait_for_ever(self):
        refused = self.fails(
            errors.ImageStuck,
            Trouble(read=HALF, error=fake_glance.lost(), leaves='saving'))

        self.assertIn('stays saving', str(refused))
        self.assertIn('Connection reset by peer', str(refused))
        self.assertEqual(1, len(self.puts()))
        self.assertEqual(100, sum(self.clock.sleeps))

    def test_it_waits_less_where_another_image_can_take_its_place(self):
        self.fails(
            errors.ImageStuck,
            Trouble(read=HALF, error=fake_glance.lost(), leaves='saving'),
            is_replaceable=True)

        self.assertTrue(15 <= sum(self.clock.sleeps) < 15 + LATE)
        self.assertIn('(13 s)', self.log.output)

    def test_a_glance_that_falls_silent_then_is_waited_for(self):
        def fall_silent():
            self.glance.silent = 10

        self.clock.after(5, fall_silent)

        self.fails(
            errors.ImageStuck,
            Trouble(read=HALF, error=fake_glance.lost(), leaves='saving'),
            is_replaceable=True)

        self.assertLess(40, sum(self.clock.sleeps))

    @ddt.data((len(DATA) / 50, 60), (len(DATA), 10))
    @ddt.unpack
    def test_an_image_that_has_all_its_data_may_be_put_into_a_slow_store(
            self, bytes_per_second, seconds):
        self.useFixture(fixtures.MockPatchObject(
            upload_module, 'SLOW_BYTES_PER_SECOND', bytes_per_second))

        image = self.upload(
            Trouble(error=fake_glance.lost(), leaves='saving',
                    later=(seconds, 'active')), is_replaceable=True)

        self.assertEqual('active', image.status)
        self.assertEqual(1, len(self.puts()))

    def test_a_small_one_that_has_all_its_data_is_not_worth_a_long_wait(self):
        self.fails(
            errors.ImageStuck,
            Trouble(error=fake_glance.lost(), leaves='saving',
                    later=(60, 'active')), is_replaceable=True)

        self.assertGreater(17 + LATE, sum(self.clock.sleeps))

    def test_a_glance_that_is_restarted_has_not_kept_the_image(self):
        # What is counted is the time for which it says so.
        self.glance.silent = 10

        self.upload(Trouble(read=HALF, error=fake_glance.lost(),
                            leaves='saving', later=(40, 'queued')),
                    is_replaceable=True)

        self.assertEqual(2, len(self.puts()))

    def test_a_glance_that_is_restarted_is_waited_for(self):
        self.glance.silent = 5

        self.upload(Trouble(read=HALF, error=fake_glance.lost()))

        self.assertEqual(DATA, self.glance.data['an-id'])

    def test_an_answer_that_comes_before_the_image_is_active_is_taken(self):
        # As from one of several databases that follow each other.
        image = self.upload(Trouble(answer=204, leaves='saving',
                                    later=(3, 'active')))

        self.assertEqual('active', image.status)
        self.assertEqual(1, len(self.puts()))

    @ddt.named_data(
        ['at once', 'active', None],
        ['when it is done', 'saving', (30, 'active')],
    )
    def test_a_lost_answer_is_looked_up(self, leaves, later):
        image = self.upload(Trouble(error=fake_glance.lost(), leaves=leaves,
                                    later=later))

        self.assertEqual('active', image.status)
        self.assertEqual(1, len(self.puts()))

    def test_a_lost_answer_for_half_of_it_is_not_believed(self):
        # As by a Glance that knows no sizes, behind a proxy that ends the
        # body in good order when its client is gone.
        self.fails(errors.ImageCorrupt,
                   Trouble(read=HALF, error=fake_glance.lost(),
                           leaves='active'))

    def test_an_attempt_believed_dead_that_succeeds_is_taken(self):
        self.upload(Trouble(error=fake_glance.lost()),
                    Trouble(answer=409, leaves='active'))

        self.assertEqual(DATA, self.glance.data['an-id'])

    def test_an_attempt_believed_dead_that_overtakes_the_next_is_taken(self):
        self.upload(Trouble(error=fake_glance.lost()),
                    Trouble(read=HALF, error=fake_glance.lost(),
                            leaves='active', keeps=DATA))

        self.assertEqual(DATA, self.glance.data['an-id'])

    def test_an_attempt_believed_dead_that_fails_is_repeated(self):
        self.upload(Trouble(read=HALF, error=fake_glance.lost()),
                    Trouble(answer=409, leaves='saving', later=(9, 'queued')))

        self.assertEqual(DATA, self.glance.data['an-id'])

    @ddt.named_data(
        ['before it begins', Trouble(answer=404, leaves='gone')],
        ['and Glance says so', Trouble(answer=410, leaves='gone')],
        ['and Glance says nothing',
         Trouble(read=HALF, error=fake_glance.lost(), leaves='gone')],
        ['while its answer is lost',
         Trouble(error=fake_glance.lost(), leaves='saving',
                 later=(5, 'gone'))],
        ['and is about to be purged',
         Trouble(error=fake_glance.lost(), leaves='pending_delete')],
    )
    def test_an_image_that_is_deleted_ends_it(self, trouble):
        gone = self.fails(errors.ImageGone, trouble)

        self.assertEqual('an-id', gone.image_id)
        self.assertEqual(1, len(self.puts()))

    def test_a_store_that_takes_no_images_is_not_a_deleted_image(self):
        refused = self.fails(errors.ImageServiceError, Trouble(answer=410))

        self.assertNotIsInstance(refused, errors.ImageGone)
        self.assertEqual(1, len(self.puts()))

    @ddt.named_data(
        ['no room', 413, errors.ImageQuotaExceeded],
        ['a full store', 507, errors.ImageQuotaExceeded],
        ['no role', 403, errors.ImageServiceRefused],
        ['data that are not what the record says', 415,
         errors.ImageServiceError],
        ['another size than was declared', 400, errors.ImageServiceError],
    )
    def test_no_second_attempt_after(self, answer, error):
        self.fails(error, Trouble(answer=answer))

        self.assertEqual(1, len(self.puts()))

    def test_a_state_that_ends_the_image_ends_it(self):
        refused = self.fails(
            errors.ImageServiceError,
            Trouble(error=fake_glance.lost(), leaves='killed'))

        self.assertNotIsInstance(refused, errors.Retriable)
        self.assertIn('killed', str(refused))

    def test_a_token_that_ran_out_is_renewed_once(self):
        self.upload(Trouble(read=HALF, answer=401), auth=ExpiringToken(9))

        first, second = self.puts()
        self.assertEqual('first', first.headers['X-Auth-Token'])
        self.assertEqual('next', second.headers['X-Auth-Token'])
        self.assertEqual(DATA, self.glance.data['an-id'])

    def test_a_token_that_stays_refused_ends_it(self):
        self.fails(errors.ImageServiceRefused, Trouble(answer=401),
                   Trouble(answer=401), auth=ExpiringToken(9))

        self.assertEqual(2, len(self.puts()))

    def test_a_token_that_cannot_be_renewed_ends_it(self):
        self.fails(errors.ImageServiceRefused, Trouble(answer=401),
                   auth=ExpiringToken(0))

        self.assertEqual(1, len(self.puts()))

    def test_a_redirect_is_not_followed_with_what_is_left(self):
        self.http.put(f'{fake_glance.ENDPOINT}/v2/images/an-id/file',
                      status_code=307, headers={
                          'Location': 'http://else:9292/v2/images/an-id/file'})

        refused = self.fails(errors.ImageServiceError)

        self.assertIn('[glance]endpoint_override = http://else:9292 in',
                      str(refused))
        self.assertEqual(1, len(self.puts()))

    def test_an_error_of_the_source_ends_it(self):
        def shrink(done, total):
            os.truncate(self.path, done)

        # More than is read ahead.
        os.truncate(self.path, (ahead.DEPTH + 4) * source_module.CHUNK_BYTES)
        self.fails(errors.StorageError, progress=shrink)

        self.assertEqual(1, len(self.puts()))

    def test_a_stop_by_the_operator_ends_it(self):
        def stop(done, total):
            raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, self.upload, progress=stop)
        self.assertEqual(1, len(self.puts()))

    @ddt.data('sha512', 'sha256', 'md5', None)
    def test_the_hash_is_compared_whichever_it_is(self, algorithm):
        self.glance.algorithm = algorithm

        self.upload()

        self.assertNotIn('was not', self.log.output)

    @ddt.data('sha512', 'sha256', None)
    def test_other_bytes_are_found_out(self, algorithm):
        self.glance.algorithm = algorithm

        def change(image_id, status, body):
            become(image_id, status, b'x' + body[1:])

        become, self.glance.become = self.glance.become, change

        corrupt = self.fails(errors.ImageCorrupt)

        self.assertIn(algorithm or 'md5', str(corrupt))

    def test_other_bytes_are_found_out_where_the_answer_was_lost(self):
        def change(image_id, status, body):
            become(image_id, status, b'x' + body[1:])

        become, self.glance.become = self.glance.become, change

        self.fails(errors.ImageCorrupt,
                   Trouble(error=fake_glance.lost(), leaves='active'))

    def test_an_unknown_hash_falls_back_on_the_checksum(self):
        def rename(image_id, status, body):
            become(image_id, status, body)
            self.glance.images[image_id]['os_hash_algo'] = 'sha-of-2099'

        become, self.glance.become = self.glance.become, rename

        self.upload()

        self.assertNotIn('was not', self.log.output)

    def test_no_hash_at_all_is_said(self):
        def forget(image_id, status, body):
            become(image_id, status, body)
            self.glance.images[image_id]['checksum'] = None

        self.glance.algorithm = None
        become, self.glance.become = self.glance.become, forget

        self.upload()

        self.assertIn('its content was not', self.log.output)

    def test_without_verification_hashes_are_not_compared(self):
        def change(image_id, status, body):
            become(image_id, status, b'x' + body[1:])

        become, self.glance.become = self.glance.become, change
        hashed = self.useFixture(fixtures.MockPatch(
            'nova_snap.transfer.ahead._hashed')).mock

        self.assertEqual('active', self.upload(verify=False).status)
        # Nor is one made.
        hashed.assert_not_called()

    def test_without_verification_the_size_is_compared(self):
        def cut(image_id, status, body):
            become(image_id, status, body[1:])

        become, self.glance.become = self.glance.become, cut

        corrupt = self.fails(errors.ImageCorrupt, verify=False)

        self.assertIn(str(len(DATA)), str(corrupt))
