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

"""The contract of Cinder, on the fake one: behind a wire and without."""

import collections.abc as cabc
import contextlib
import dataclasses
import json
import typing as ty

from oslotest import base
from requests_mock.contrib import fixture as requests_fixture

from nova_snap.services.cinder import volumes as volumes_module
from tests.contract import cinder
from tests.fakes import calls as fake_calls
from tests.fakes.cinder import api
from tests.fakes.cinder import mocked as fake_cinder
from tests.fakes.cinder import store as cinder_store
from tests.fakes.cinder import volumes as fake_volumes
from tests.fakes import clock as fake_clock
from tests.fakes import http as fake_http

# Longer than anything in a fake Cinder takes.
LONG_SECONDS = 10


class FakeSide:
    """What each fake lets a test do."""

    volume_id = fake_cinder.VOLUME

    def __init__(self, fake: cinder_store.FakeCinder,
                 volumes: volumes_module.Volumes,
                 clock: fake_clock.FakeClock) -> None:
        self._fake = fake
        self._clock = clock
        self.volumes = volumes

    def ask(self, method: str, path: str, body: ty.Any = None,
            version: str = cinder.OLD_VERSION) -> int:
        return api.answer(self._fake, fake_http.Request(
            method, path, {'OpenStack-API-Version': f'volume {version}'},
            [json.dumps(body).encode()]), path).status

    def wait(self, snapshot_id: str, status: str | None) -> None:
        self._clock.sleep(LONG_SECONDS)
        found = self._fake.snapshots.get(snapshot_id)
        assert (found and found.status) == status, found

    @contextlib.contextmanager
    def room(self, number: int) -> cabc.Iterator[None]:
        before = self._fake.maximum
        self._fake.maximum = (
            self._fake.limits()['totalSnapshotsUsed'] + number)
        try:
            yield
        finally:
            self._fake.maximum = before

    @contextlib.contextmanager
    def standstill(self) -> cabc.Iterator[None]:
        after = self._fake.after
        held: list[tuple[float, cabc.Callable[[], None]]] = []
        self._fake.after = lambda *what: held.append(what)
        try:
            yield
        finally:
            self._fake.after = after
            for seconds, act in held:
                after(seconds, act)

    @contextlib.contextmanager
    def broken(self) -> cabc.Iterator[None]:
        self._fake.fails.add(self.volume_id)
        try:
            yield
        finally:
            self._fake.fails.clear()

    @contextlib.contextmanager
    def volume_in(self, status: str) -> cabc.Iterator[None]:
        before = self._fake.volumes[self.volume_id]
        self._fake.volumes[self.volume_id] = dataclasses.replace(
            before, status=status)
        try:
            yield
        finally:
            self._fake.volumes[self.volume_id] = before


class MockedTestCase(base.BaseTestCase):
    """The real client, on the fake at its wire."""

    def setUp(self) -> None:
        super().setUp()
        clock = fake_clock.FakeClock()
        fake = fake_cinder.FakeCinder(
            self.useFixture(requests_fixture.Fixture()))
        fake.after = clock.after
        fake.create_seconds = fake.delete_seconds = 1
        self.side: ty.Any = FakeSide(fake, fake_cinder.make_volumes(clock),
                                     clock)


class DirectTestCase(base.BaseTestCase):
    """A fake without a wire, as the flows have it."""

    def setUp(self) -> None:
        super().setUp()
        clock = fake_clock.FakeClock()
        fake = fake_volumes.FakeCinder(clock)
        fake.volumes[fake_cinder.VOLUME] = fake_cinder.volume()
        self.side: ty.Any = FakeSide(
            fake, fake_volumes.FakeVolumes(
                fake, fake_calls.Calls(before_each=lambda: None)), clock)


class MockedSnapshotTest(cinder.SnapshotContract, MockedTestCase):
    pass


class DirectSnapshotTest(cinder.SnapshotContract, DirectTestCase):
    pass
