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

"""A fake Glance at the wire, for requests-mock, and a clock that it obeys."""

import re

from keystoneauth1 import noauth
import requests
import requests_mock

from nova_snap.services.glance import images as images_module
from nova_snap.services import sessions
from tests.fakes import clock as fake_clock
from tests.fakes.glance import api
from tests.fakes.glance import store as glance_store
from tests.fakes import http as fake_http

ENDPOINT = 'http://glance.test:9292'

# Seconds; numbers that differ from each other.
POLICY = sessions.Policy(
    num_retries=2,
    timeouts=sessions.Timeouts(answer=1, stall=2, finish=3, settle=100))

Trouble = glance_store.Trouble


class Clock(fake_clock.FakeClock):
    """Notes how long it was asked to sleep, each time."""

    def __init__(self):
        super().__init__()
        self.sleeps = []

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        super().sleep(seconds)


class FakeGlance(glance_store.FakeGlance):
    """The service.

    :ivar silent: requests for a record that get no answer before one does
    """

    def __init__(self, mocker, clock):
        super().__init__(clock.after)
        self.silent = 0
        mocker.register_uri(requests_mock.ANY,
                            re.compile(f'^{re.escape(ENDPOINT)}/v2/'),
                            content=self._answer)

    def _answer(self, request, context):
        asked = fake_http.Request.mocked(request)
        record = api.IMAGE.fullmatch(asked.path)
        if record and not record[2] and self.silent:
            self.silent -= 1
            raise lost()
        answer = api.answer(self, asked)
        context.status_code = answer.status
        context.headers['Content-Type'] = answer.content_type
        return answer.body()


def make_images(clock, *, auth=None, policy=POLICY, us=None, timeout=None,
                **options):
    """Make the thing under test, pointed at the fake.

    :param us: as whom it asks, where the session cannot say it
    :param timeout: that the operator has set
    """
    session = sessions.make_session(
        auth or noauth.NoAuth(endpoint=ENDPOINT),
        {'timeout': timeout or policy.timeouts.answer})
    return images_module.Images(session, options, policy=policy, clock=clock,
                                us=us)


def lost():
    """Return what requests raises when a connection breaks."""
    return requests.exceptions.ConnectionError('Connection reset by peer')
