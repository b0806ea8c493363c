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

"""The contract of Ceph, on the fake one."""

from oslotest import base

from tests.contract import ceph as ceph_contract
from tests.fakes import calls as fake_calls
from tests.fakes.ceph import cluster as fake_cluster
from tests.fakes.ceph import rbd as fake_rbd


class FakeTestCase(ceph_contract.CephContract, base.BaseTestCase):

    disks, images = 'vms', 'images'

    def setUp(self):
        super().setUp()
        self.cluster = fake_cluster.FakeCluster(self.disks, self.images)
        self.ceph = self._seen(self.cluster)
        self.cluster.is_managed = True
        reader = fake_cluster.FakeCluster()
        reader.pools = self.cluster.pools
        reader.read_only = {self.images}
        self.reader = self._seen(reader)

    def let_clone(self, version):
        self.cluster.version = version

    def _seen(self, cluster):
        return fake_rbd.FakeCeph(
            cluster, fake_calls.Calls(before_each=lambda: None))
