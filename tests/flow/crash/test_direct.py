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

"""A snapshot that Ceph makes, hit at every call."""

from tests.fakes import disk_in_ceph as fake_disk_in_ceph
from tests.flow.crash import points
from tests.flow import scene as flow_scene
from tests.flow import test_direct


class DirectTest(points.CrashTests, flow_scene.FlowTestCase):

    spec = test_direct.IN_CEPH
    version = 2

    def prepare(self, fake):
        super().prepare(fake)
        fake.ceph.has_bindings = True
        fake.ceph.version = self.version
        fake.glance.stores = [test_direct.STORE]
        fake.set(rbd_user=fake_disk_in_ceph.USER)


class SecondVersionTestCase(DirectTest):
    """Clones whose parent may go before them."""

    asked = {'quiesce': 'want'}


class FirstVersionTestCase(DirectTest):
    """Clones that keep their parent."""

    version = 1


class ManagerTestCase(DirectTest):
    """Clones that a manager flattens."""

    def prepare(self, fake):
        super().prepare(fake)
        fake.ceph.is_managed = True


class ReadTestCase(DirectTest):
    """Where Glance takes no locations."""

    def prepare(self, fake):
        super().prepare(fake)
        fake.glance.is_service = fake.glance.shows_locations = False


del DirectTest
