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

import ddt
import fixtures
from oslotest import base

from nova_snap import errors
from nova_snap.services import retry
from tests.fakes.glance import mocked as fake_glance


def silence(number=0):
    return errors.ImageServiceUnavailable(call='look', status=503,
                                          reason=f'busy {number}')


class AttemptsTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = fake_glance.Clock()

    def test_waits_grow_up_to_a_limit_and_the_last_attempt_has_none(self):
        attempts = retry.Attempts(7, self.clock)
        for _ in range(7):
            attempts.failed(silence())
        last = silence()

        self.assertIs(last, self.assertRaises(
            errors.ImageServiceUnavailable, attempts.failed, last))
        self.assertEqual([1, 2, 4, 8, 16, 30, 30], self.clock.sleeps)

    def test_without_retries_the_first_attempt_is_the_last(self):
        attempts = retry.Attempts(0, self.clock)

        self.assertRaises(errors.ImageServiceUnavailable, attempts.failed,
                          silence())
        self.assertEqual([], self.clock.sleeps)

    def test_each_wait_is_logged_with_its_reason(self):
        log = self.useFixture(fixtures.FakeLogger())

        retry.Attempts(1, self.clock).failed(silence())

        self.assertIn('again in 1.0 s', log.output)
        self.assertIn('busy', log.output)


@ddt.ddt
class CallTestCase(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = fake_glance.Clock()
        self.asked = 0

    def call(self, *answers, num_retries=2):
        """Ask for what gives one answer after the other."""
        left = list(answers)

        def ask():
            self.asked += 1
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return retry.Retry(num_retries, self.clock).call(ask)

    def test_an_answer_is_taken_at_once(self):
        self.assertEqual('yes', self.call('yes'))
        self.assertEqual([], self.clock.sleeps)

    def test_silence_is_asked_again(self):
        self.assertEqual('yes', self.call(silence(), silence(), 'yes'))
        self.assertEqual([1, 2], self.clock.sleeps)

    def test_the_last_silence_is_the_error(self):
        error = self.assertRaises(errors.ImageServiceUnavailable, self.call,
                                  *map(silence, range(3)))

        self.assertIn('busy 2', str(error))
        self.assertEqual(3, self.asked)

    def test_each_call_has_all_attempts(self):
        again = retry.Retry(1, self.clock)
        for _ in range(2):
            answers = [silence(), None]

            def ask(answers=answers):
                answer = answers.pop(0)
                if answer:
                    raise answer

            again.call(ask)

        self.assertEqual([1, 1], self.clock.sleeps)

    @ddt.data(
        errors.ImageServiceError(call='look', status=400, reason='odd'),
        errors.VolumeServiceRefused(call='look', status=403, reason='no'),
        errors.StorageError(reason='a disk'),
        ValueError('a mistake'))
    def test_what_another_try_does_not_better_is_raised_at_once(self, error):
        self.assertIs(error, self.assertRaises(type(error), self.call, error))
        self.assertEqual([], self.clock.sleeps)
