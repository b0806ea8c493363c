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

"""What we rely on of Glance's locations: true of the fake and the real one."""

import hashlib
import typing as ty
import uuid

from nova_snap import errors
from nova_snap.model import ceph as ceph_model
from nova_snap.model import image as image_model
from nova_snap.services.glance import images as images_module

NEW = image_model.LocationWay(is_new=True)
OLD = image_model.LocationWay(is_new=False)


class Side(ty.Protocol):
    """A Glance whose images lie in Ceph, fake or real.

    :ivar data: that :meth:`put` puts there
    """

    data: bytes

    def put(self, image_id: str) -> str:
        """Put data where those of an image lie; return their location."""

    def as_service(self) -> images_module.Images:
        """Ask with the role service."""

    def as_member(self) -> images_module.Images:
        """Ask as a user does."""


class LocationContract:
    """To be mixed into a test."""

    side: Side

    def make(self) -> str:
        """Make the record of an image, without data."""
        image_id = str(uuid.uuid4())
        self.side.as_service().create(image_model.ImageSpec(
            image_id, 'located', 'raw', 'bare', 0, 0, None, 'private', {}))
        return image_id

    def status(self, image_id: str) -> str:
        found = self.side.as_service().get(image_id)
        assert found is not None
        return found.status

    def sha512(self) -> str:
        return hashlib.sha512(self.side.data).hexdigest()

    def test_the_way_is_asked_without_a_trace(self):
        image_id = self.make()

        self.assertEqual(NEW, self.side.as_service().location_way(image_id))
        self.assertEqual(OLD, self.side.as_member().location_way(image_id))

        self.assertEqual('queued', self.status(image_id))

    def test_of_an_image_that_is_gone_there_is_no_way(self):
        self.assertRaises(errors.ImageGone,
                          self.side.as_service().location_way,
                          str(uuid.uuid4()))

    def test_an_image_is_made_of_data_where_they_lie(self):
        image_id = self.make()
        url = self.side.put(image_id)

        made = self.side.as_service().add_location(
            image_id, url, NEW, size=len(self.side.data), sha512=None)

        self.assertEqual('active', made.status)
        self.assertIn(url, made.locations)

    def test_the_old_way_takes_a_hash_with_it(self):
        image_id = self.make()
        url = self.side.put(image_id)

        made = self.side.as_member().add_location(
            image_id, url, OLD, size=len(self.side.data),
            sha512=self.sha512())

        self.assertEqual(('active', 'sha512', self.sha512()),
                         (made.status, made.hash_algo, made.hash_value))

    def test_data_that_are_nowhere_make_no_image(self):
        for way in (NEW, OLD):
            image_id = self.make()
            url = ceph_model.of_location(self.side.put(image_id))
            assert url is not None
            nowhere = ceph_model.Name(url[1].pool, 'nowhere', 'snap')

            error = self.assertRaises(
                errors.ImageServiceError,
                self.side.as_service().add_location, image_id,
                nowhere.location(url[0]), way, size=1, sha512=None)

            self.assertNotIsInstance(error, errors.Retriable)
            self.assertEqual('queued', self.status(image_id))

    def test_data_of_another_size_are_refused(self):
        image_id = self.make()

        self.assertRaises(
            errors.ImageCorrupt, self.side.as_service().add_location,
            image_id, self.side.put(image_id), OLD, size=1, sha512=None)

    def test_the_stores_are_told_to_services(self):
        stores = self.side.as_service().stores()
        found = ceph_model.of_location(self.side.put(self.make()))
        assert stores is not None and found is not None

        self.assertIn((found[0], found[1].pool, True),
                      [(one.fsid, one.pool, one.is_default)
                       for one in stores])
        self.assertIsNone(self.side.as_member().stores())

    if ty.TYPE_CHECKING:
        assertEqual: ty.Any
        assertRaises: ty.Any
        assertIn: ty.Any
        assertIsNone: ty.Any
        assertNotIsInstance: ty.Any
