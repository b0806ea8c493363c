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

"""A Glance at the wire, whose images have a life, and a clock that it obeys.

It refuses what Glance refuses: a second record of an id, data for an image
that is not queued, data of another size than was declared.
"""

import dataclasses
import hashlib
import re

from keystoneauth1 import noauth
import requests

from nova_snap.services.glance import images as images_module
from nova_snap.services import sessions

ENDPOINT = 'http://glance.test:9292'

# Seconds; numbers that differ from each other.
POLICY = sessions.Policy(
    num_retries=2,
    timeouts=sessions.Timeouts(answer=1, stall=2, finish=3, settle=100))


class Clock:
    """Time passes by sleep alone; what is due happens on the way."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []
        self._due = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds
        for when, act in [due for due in self._due if due[0] <= self.now]:
            self._due.remove((when, act))
            act()

    def after(self, seconds, act):
        """Let something happen when so much has been slept."""
        self._due.append((self.now + seconds, act))


@dataclasses.dataclass
class Trouble:
    """What becomes of one upload.

    :ivar read: bytes that are taken before it strikes; None for all
    :ivar error: raised in place of an answer
    :ivar answer: status of an answer in place of the real one
    :ivar leaves: the image's status then; 'gone' for no image
    :ivar later: its status after so many seconds more
    :ivar keeps: the bytes that Glance has then, if not those it read
    """

    read: int | None = None
    error: Exception | None = None
    answer: int = 500
    leaves: str = 'queued'
    later: tuple[float, str] | None = None
    keeps: bytes | None = None


class FakeGlance:
    """The service.

    :ivar images: its records; ``data`` are their bytes
    :ivar troubles: one for each upload that is to come, None for a good one
    :ivar uploads: the bytes that each upload brought
    :ivar silent: requests for a record that find nobody before one answers
    """

    def __init__(self, mocker, clock):
        self.images = {}
        self.data = {}
        self.troubles = []
        self.uploads = []
        self.silent = 0
        self.algorithm = 'sha512'
        self._clock = clock
        image = re.compile(f'^{ENDPOINT}/v2/images/([^/]+)$')
        mocker.get(f'{ENDPOINT}/v2/images', json={'images': []})
        mocker.post(f'{ENDPOINT}/v2/images', json=self._create)
        mocker.get(image, json=self._show)
        mocker.patch(image, json=self._patch)
        mocker.delete(image, json=self._delete)
        mocker.put(re.compile(f'^{ENDPOINT}/v2/images/([^/]+)/file$'),
                   text=self._upload)

    def _create(self, request, context):
        values = request.json()
        if values['id'] in self.images:
            context.status_code = 409
            return {}
        context.status_code = 201
        self.images[values['id']] = {**values, 'status': 'queued'}
        return self.images[values['id']]

    def _found(self, request, context):
        if self.silent:
            self.silent -= 1
            raise lost()
        found = self.images.get(request.path.split('/')[3])
        context.status_code = 200 if found else 404
        return found or {}

    def _show(self, request, context):
        return self._found(request, context)

    def _patch(self, request, context):
        found = self._found(request, context)
        for change in request.json():
            found[change['path'][1:]] = change['value']
        return found

    def _delete(self, request, context):
        if self._found(request, context):
            context.status_code = 204
            del self.images[request.path.split('/')[3]]
        return {}

    def _upload(self, request, context):
        image_id = request.path.split('/')[3]
        found = self.images.get(image_id)
        if found is None or found['status'] != 'queued':
            context.status_code = 409 if found else 404
            return ''
        trouble = self.troubles.pop(0) if self.troubles else None
        body = b''
        for chunk in request._request.body:
            body += chunk
            if trouble and trouble.read and len(body) >= trouble.read:
                break
        self.uploads.append(body)
        if trouble is None:
            declared = int(request.headers['x-openstack-image-size'])
            whole = len(body) == declared
            context.status_code = 204 if whole else 400
            self.become(image_id, 'active' if whole else 'queued', body)
            return ''
        body = body if trouble.keeps is None else trouble.keeps
        self.become(image_id, trouble.leaves, body)
        if trouble.later:
            seconds, status = trouble.later
            self._clock.after(
                seconds, lambda: self.become(image_id, status, body))
        if trouble.error:
            raise trouble.error
        context.status_code = trouble.answer
        return ''

    def become(self, image_id, status, body=b''):
        """Give an image a state."""
        if status == 'gone':
            del self.images[image_id]
            return
        self.images[image_id]['status'] = status
        if status == 'active':
            self.data[image_id] = body
            self.images[image_id].update(
                size=len(body), checksum=hashlib.md5(body).hexdigest())
            if self.algorithm:
                self.images[image_id].update(
                    os_hash_algo=self.algorithm,
                    os_hash_value=hashlib.new(self.algorithm,
                                              body).hexdigest())


def make_images(clock, *, auth=None, policy=POLICY, **options):
    """Make the thing under test, pointed at the fake."""
    session = sessions.make_session(
        auth or noauth.NoAuth(endpoint=ENDPOINT),
        {'timeout': policy.timeouts.answer})
    return images_module.Images(session, options, policy=policy, clock=clock)


def lost():
    """Return what requests raises when a connection breaks."""
    return requests.exceptions.ConnectionError('Connection reset by peer')
