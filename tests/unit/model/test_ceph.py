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

"""Names in Ceph, and the addresses that Glance has for them."""

import ddt
from oslotest import base

from nova_snap.model import ceph as ceph_model

FSID = 'a592a220-0932-4ef1-b7c3-b07e692c6795'


@ddt.ddt
class NameTestCase(base.BaseTestCase):

    @ddt.data(('images', 'one', 'snap'), ('a b', 'x/y', 's%2F'))
    def test_an_address_is_read_as_it_was_written(self, parts):
        name = ceph_model.Name(*parts)

        url = name.location(FSID)

        self.assertEqual((FSID, name), ceph_model.of_location(url))
        self.assertEqual(6, url.count('/') + 1)

    def test_an_address_is_written_as_glance_writes_it(self):
        self.assertEqual(
            f'rbd://{FSID}/images/one/snap',
            ceph_model.Name('images', 'one', 'snap').location(FSID))

    @ddt.data('file:///a', 'rbd://one', 'rbd://a/b/c', 'rbd://a//c/d',
              'rbd://a/b/c/d/e')
    def test_what_is_no_snapshot_in_ceph_is_none(self, url):
        self.assertIsNone(ceph_model.of_location(url))

    def test_a_name_is_written_as_rbd_takes_it(self):
        name = ceph_model.Name('vms', 'disk')

        self.assertEqual('vms/disk', str(name))
        self.assertEqual('vms/disk@one', str(name.at('one')))
