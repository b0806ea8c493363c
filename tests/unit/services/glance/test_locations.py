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

"""Locations in Glance, by both of its APIs, at the wire."""

import ddt

from nova_snap import errors
from nova_snap.model import ceph as ceph_model
from tests.contract import locations as locations_contract
from tests.fakes.ceph import cluster as fake_cluster
from tests.fakes.glance import mocked as fake_glance
from tests.unit.services.glance import test_images

DATA = b'of the guest'
STORES = [{'id': 'ceph', 'type': 'rbd', 'default': 'true', 'properties': {
    'pool': 'images', 'fsid': fake_cluster.FSID}},
    {'id': 'file', 'type': 'file', 'properties': {}}]


class FakeSide:
    """A fake Glance behind a wire."""

    data = DATA

    def __init__(self, glance, images):
        self._glance = glance
        self._images = images
        glance.ceph = fake_cluster.FakeCluster('images')

    def put(self, image_id):
        name = ceph_model.Name('images', image_id, 'snap')
        self._glance.ceph.create(name, len(DATA))
        self._glance.ceph.pools['images'][image_id].data = DATA
        self._glance.ceph.create_snapshot(name)
        return name.location(fake_cluster.FSID)

    def as_service(self):
        self._glance.is_service, self._glance.stores = True, STORES
        return self._images

    def as_member(self):
        self._glance.is_service, self._glance.stores = False, None
        return self._images


class ContractTestCase(locations_contract.LocationContract,
                       test_images.ImagesBase):

    def setUp(self):
        super().setUp()
        self.side = FakeSide(self.glance, self.images)


@ddt.ddt
class AnswerTestCase(test_images.ImagesBase):

    def setUp(self):
        super().setUp()
        self.side = FakeSide(self.glance, self.images)
        self.glance.add('i', disk_format='raw', container_format='bare')

    def add(self, way=locations_contract.NEW, sha512=None):
        return self.images.add_location('i', self.side.put('i'), way,
                                        size=len(DATA), sha512=sha512)

    def asked(self):
        return [(request.method, request.path)
                for request in self.http.request_history]

    @ddt.data((True, True, locations_contract.NEW),
              (False, True, locations_contract.OLD),
              (False, False, None))
    @ddt.unpack
    def test_the_way(self, has_new, has_old, way):
        self.glance.has_location_api = has_new
        self.glance.shows_locations = has_old

        self.assertEqual(way, self.images.location_way('i'))

    def test_an_answer_that_is_lost_is_seen_by_the_image(self):
        locate = self.glance.locate

        def lose(*args, **kwargs):
            locate(*args, **kwargs)
            raise fake_glance.lost()

        self.glance.locate = lose

        self.assertEqual('active', self.add().status)
        self.assertEqual(1, self.asked().count(
            ('POST', '/v2/images/i/locations')))

    def test_a_question_that_is_lost_is_asked_again(self):
        locate, lost = self.glance.locate, [fake_glance.lost()]

        def lose(*args, **kwargs):
            if lost:
                raise lost.pop()
            locate(*args, **kwargs)

        self.glance.locate = lose

        self.assertEqual('active', self.add().status)

    def test_one_that_is_always_lost_is_given_up(self):
        def lose(*args, **kwargs):
            raise fake_glance.lost()

        self.glance.locate = lose

        self.assertRaises(errors.ImageServiceUnavailable, self.add)

    def test_what_glance_is_long_at_work_on_is_stuck(self):
        def work(image_id, *args, **kwargs):
            self.glance.images[image_id].status = 'importing'

        self.glance.locate = work

        error = self.assertRaises(errors.ImageStuck, self.add)

        self.assertEqual('importing', error.image_status)

    def test_a_task_that_has_not_begun_is_waited_for(self):
        url = self.side.put('i')

        def later(image_id, *args, **kwargs):
            self.glance.images[image_id]['os_glance_import_task'] = 'a-task'
            self.clock.after(1, done)

        def done():
            del self.glance.images['i']['os_glance_import_task']
            type(self.glance).locate(self.glance, 'i', url, {}, is_new=True)

        self.glance.locate = later

        made = self.images.add_location(
            'i', url, locations_contract.NEW, size=len(DATA), sha512=None)

        self.assertEqual('active', made.status)

    def test_glance_forbids_it_all_the_same(self):
        self.glance.is_service = self.glance.shows_locations = False
        for way in (locations_contract.NEW, locations_contract.OLD):
            self.assertRaises(errors.ImageServiceRefused, self.add, way)
            self.glance.ceph.pools['images'].clear()
