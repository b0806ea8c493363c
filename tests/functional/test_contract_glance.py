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

"""The contract of Glance, on the real one."""

import collections.abc as cabc
import contextlib
import uuid

from oslotest import base

from nova_snap.services.glance import images as images_module
from tests.contract import glance
from tests.functional import glance_base


class RealSide(glance.HttpSide):
    """The lab's Glance, and a project of this test alone."""

    def __init__(self) -> None:
        self._glance = glance_base.glance()
        self._project = uuid.uuid4().hex
        super().__init__(self._glance.endpoint, self._as('member,reader'))

    def _as(self, roles: str) -> str:
        return f'ann:{self._project}:{roles}'

    @contextlib.contextmanager
    def reader(self) -> cabc.Iterator[images_module.Images]:
        yield self.images_of(self._as('reader'))

    def quota(self, left: int) -> contextlib.AbstractContextManager[None]:
        return self._glance.use_up_quota(self._project, left)


class RealTestCase(base.BaseTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.side = RealSide()


class RealRecordTest(glance.RecordContract, RealTestCase):
    pass


class RealDataTest(glance.DataContract, RealTestCase):
    pass
