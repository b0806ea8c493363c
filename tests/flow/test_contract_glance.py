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

"""The contract of Glance, on the fake one: behind a wire and without."""

import collections.abc as cabc
import contextlib
import json
import typing as ty

from oslotest import base

from nova_snap.services.glance import images as images_module
from tests.contract import glance
from tests.fakes import calls as fake_calls
from tests.fakes.glance import api
from tests.fakes.glance import images as fake_images
from tests.fakes.glance import server as glance_server
from tests.fakes.glance import store as glance_store
from tests.fakes import http as fake_http


class FakeSide:
    """What each fake lets a test do."""

    images: images_module.Images

    def __init__(self, fake: glance_store.FakeGlance) -> None:
        self._fake = fake

    @contextlib.contextmanager
    def reader(self) -> cabc.Iterator[images_module.Images]:
        self._fake.reads_only = True
        try:
            yield self.images
        finally:
            self._fake.reads_only = False

    @contextlib.contextmanager
    def quota(self, left: int) -> cabc.Iterator[None]:
        self._fake.quota = left
        try:
            yield
        finally:
            self._fake.quota = None


class DirectSide(FakeSide):
    """A fake without a wire, as the flows have it."""

    def __init__(self) -> None:
        super().__init__(glance_store.FakeGlance())
        self.images = fake_images.FakeImages(
            self._fake, fake_calls.Calls(before_each=lambda: None))

    def ask(self, method: str, path: str, *, body: ty.Any = None,
            blocks: cabc.Iterable[bytes] = (),
            headers: cabc.Mapping[str, str] | None = None) -> (
                tuple[int, ty.Any]):
        answer = api.answer(self._fake, fake_http.Request(
            method, f'/v2/images{path}', headers or {},
            blocks or [json.dumps(body).encode()]))
        return answer.status, answer.content


class ServerSide(FakeSide, glance.HttpSide):
    """A fake that listens."""

    def __init__(self, fake: glance_server.Glance) -> None:
        FakeSide.__init__(self, fake)
        glance.HttpSide.__init__(self, fake.url, 'a-token')


class DirectTestCase(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.side: ty.Any = DirectSide()


class ServerTestCase(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.side: ty.Any = ServerSide(self.useFixture(glance_server.Glance()))


class DirectRecordTest(glance.RecordContract, DirectTestCase):
    pass


class DirectDataTest(glance.DataContract, DirectTestCase):
    pass


class ServerRecordTest(glance.RecordContract, ServerTestCase):
    pass


class ServerDataTest(glance.DataContract, ServerTestCase):
    pass
