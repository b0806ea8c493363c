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

"""The contract of Cinder, on the real one."""

import collections.abc as cabc
import contextlib
import functools
import typing as ty
import uuid

from keystoneauth1 import token_endpoint
from oslotest import base
import requests

from nova_snap.services.cinder import volumes as volumes_module
from nova_snap.services import sessions
from tests.contract import cinder
from tests.lab import cinder as cinder_module
from tests.volumes import scene

# A member of the project that has the volumes.
MEMBER = f'ann:{cinder_module.PROJECT}:member,reader'

# GiB.
SIZE = 1

# Seconds for an answer of a Cinder on this machine.
TIMEOUT = 60


@functools.cache
def _volume() -> str:
    """Make a volume that is in use."""
    real = scene.storage().cinder
    made = real.make('volume', size=SIZE)
    real.attach(made, str(uuid.uuid4()), '/dev/vda')
    return made


class RealSide:
    """The lab's Cinder, on Ceph."""

    def __init__(self) -> None:
        self._storage = scene.storage()
        self._cinder = self._storage.cinder
        self.volume_id = _volume()
        self.volumes = volumes_module.Volumes(
            sessions.make_session(
                token_endpoint.Token(self._cinder.endpoint, MEMBER),
                {'timeout': TIMEOUT}),
            {'service_type': 'volumev3',
             'endpoint_template': self._cinder.endpoint})

    def ask(self, method: str, path: str, body: ty.Any = None,
            version: str = cinder.OLD_VERSION) -> int:
        return requests.request(
            method, f'{self._cinder.endpoint}{path}', json=body,
            headers={'X-Auth-Token': MEMBER,
                     'OpenStack-API-Version': f'volume {version}'},
            timeout=TIMEOUT).status_code

    def wait(self, snapshot_id: str, status: str | None) -> None:
        self._cinder.wait('snapshot', snapshot_id, status)

    @contextlib.contextmanager
    def room(self, number: int) -> cabc.Iterator[None]:
        self._cinder.limit_snapshots(self.volumes.limits().used + number)
        try:
            yield
        finally:
            self._cinder.limit_snapshots(-1)

    @contextlib.contextmanager
    def standstill(self) -> cabc.Iterator[None]:
        with self._cinder.standstill():
            yield

    @contextlib.contextmanager
    def broken(self) -> cabc.Iterator[None]:
        name = f'volume-{self.volume_id}'
        self._storage.ceph.rename(name, 'elsewhere')
        try:
            yield
        finally:
            self._storage.ceph.rename('elsewhere', name)

    @contextlib.contextmanager
    def volume_in(self, status: str) -> cabc.Iterator[None]:
        self._reset(status)
        try:
            yield
        finally:
            self._reset('in-use')

    def _reset(self, status: str) -> None:
        self._cinder.call('POST', f'volumes/{self.volume_id}/action',
                          {'os-reset_status': {'status': status}})


class RealTestCase(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.side = RealSide()


class RealSnapshotTest(cinder.SnapshotContract, RealTestCase):
    pass
