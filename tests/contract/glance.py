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

"""What the product needs of Glance: records, data, and how it refuses."""

import collections.abc as cabc
import contextlib
import hashlib
import os
import tempfile
import typing as ty
import uuid

import ddt
from keystoneauth1 import token_endpoint
import requests

from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.services.glance import images as images_module
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import sessions
from nova_snap.transfer import source as source_module
from nova_snap import units
from tests.contract import first_bytes

Json = dict[str, ty.Any]

# Two parts: between them a test can act while Glance saves.
PART = os.urandom(units.MiB)
DATA = 2 * PART

# Seconds for an answer of a Glance on this machine.
TIMEOUT = 60

BINARY = 'application/octet-stream'
PATCH_TYPE = 'application/openstack-images-v2.1-json-patch'


def _beginning(first: bytes) -> list[bytes]:
    """Return the data with another beginning."""
    return [first, DATA[len(first):]]


class Side(ty.Protocol):
    """A Glance, fake or real.

    :ivar images: the product's, as a member of a project
    """

    images: images_module.Images

    def ask(self, method: str, path: str, *, body: ty.Any = None,
            blocks: cabc.Iterable[bytes] = (),
            headers: cabc.Mapping[str, str] | None = None) -> (
                tuple[int, ty.Any]):
        """Send one request as the member, not through the product.

        :param path: below ``/v2/images``
        :param body: to be sent as JSON
        :param blocks: to be sent instead, of as many bytes as ``DATA``
        :returns: the status, and the answer where it is JSON
        """

    def reader(self) -> ty.ContextManager[images_module.Images]:
        """Return the product's images with a role that may only read."""

    def quota(self, left: int) -> ty.ContextManager[None]:
        """Leave the project so many bytes."""


class HttpSide:
    """A Glance that listens, and takes any token; without its quota.

    :ivar token: the member's
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.images = self.images_of(token)

    def images_of(self, token: str) -> images_module.Images:
        """Return the product's images with another token."""
        session = sessions.make_session(
            token_endpoint.Token(self.url, token), {'timeout': TIMEOUT})
        return images_module.Images(session, {})

    def ask(self, method: str, path: str, *, body: ty.Any = None,
            blocks: cabc.Iterable[bytes] = (),
            headers: cabc.Mapping[str, str] | None = None) -> (
                tuple[int, ty.Any]):
        sent = iter(blocks)
        answer = requests.request(
            method, f'{self.url}/v2/images{path}', json=body,
            data=wire_module.Body(lambda size: next(sent, b''), len(DATA))
            if blocks else None,
            headers={'X-Auth-Token': self.token, **(headers or {})},
            timeout=TIMEOUT)
        is_json = 'json' in answer.headers.get('Content-Type', '')
        return answer.status_code, answer.json() if is_json else None


class GlanceContract:
    """What the tests of records and of data share."""

    side: Side

    def spec(self, **changes: ty.Any) -> image_model.ImageSpec:
        """Describe an image that a snapshot would ask for."""
        return image_model.ImageSpec(**{
            'image_id': str(uuid.uuid4()), 'name': 'nightly',
            'disk_format': 'raw', 'container_format': 'bare', 'min_disk': 1,
            'min_ram': 0, 'owner': None, 'visibility': 'private',
            'properties': {'instance_uuid': str(uuid.uuid4()),
                           'image_type': 'snapshot'}, **changes})

    def queued(self) -> str:
        """Make a record and return its id; it is deleted with the test."""
        spec = self.spec()
        self.side.images.create(spec)
        self.addCleanup(self.side.images.delete, spec.image_id)
        return spec.image_id

    def status(self, image_id: str) -> str | None:
        """Return the status of an image; None where there is none."""
        found = self.side.images.get(image_id)
        return found and found.status

    def put(self, image_id: str,
            blocks: cabc.Iterable[bytes] = (PART, PART),
            declared: int = len(DATA)) -> int:
        """Send data, and return Glance's answer."""
        return self.side.ask(
            'PUT', f'/{image_id}/file', blocks=blocks,
            headers={'Content-Type': BINARY,
                     'x-openstack-image-size': str(declared)})[0]

    def patch(self, image_id: str, *changes: Json) -> int:
        """Change a record, and return Glance's answer."""
        return self.side.ask(
            'PATCH', f'/{image_id}', body=changes,
            headers={'Content-Type': PATCH_TYPE})[0]

    @contextlib.contextmanager
    def source(self) -> cabc.Iterator[source_module.FileSource]:
        """Write the data into a file for the product to send."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(DATA)
            file.flush()
            yield source_module.FileSource(file.name)


@ddt.ddt
class RecordContract(GlanceContract):

    def test_created_it_is_queued_and_has_what_was_asked_for(self):
        spec = self.spec(properties={'instance_uuid': 'of-one',
                                     'colour': 'größer'})
        made = self.side.images.create(spec)
        self.addCleanup(self.side.images.delete, spec.image_id)

        self.assertEqual(('queued', None), (made.status, made.size))
        self.assertEqual(made, self.side.images.get(spec.image_id))
        for name in ('image_id', 'name', 'disk_format', 'container_format',
                     'min_disk', 'visibility', 'properties'):
            self.assertEqual(getattr(spec, name), getattr(made, name), name)

    def test_created_again_it_is_the_same_one(self):
        spec = self.spec()
        first = self.side.images.create(spec)
        self.addCleanup(self.side.images.delete, spec.image_id)
        self.assertEqual(first, self.side.images.create(spec))

    def test_an_id_that_another_image_has_is_a_conflict(self):
        status, _ = self.side.ask('POST', '', body={'id': self.queued()})
        self.assertEqual(409, status)

    @ddt.data('status', 'checksum', 'size', 'deleted')
    def test_what_glance_alone_says_is_forbidden_to_set(self, name):
        image_id = self.queued()
        self.assertEqual(403, self.patch(image_id, {
            'op': 'add', 'path': f'/{name}', 'value': 'x'}))
        self.assertEqual('queued', self.status(image_id))

    @ddt.data('self', 'deleted')
    def test_what_glance_alone_says_is_forbidden_to_create(self, name):
        image_id = str(uuid.uuid4())
        status, _ = self.side.ask('POST', '',
                                  body={'id': image_id, name: 'x'})
        self.assertEqual(403, status)
        self.assertIsNone(self.status(image_id))

    def test_a_property_is_added_replaced_and_removed(self):
        image_id = self.queued()

        def colours():
            found = self.side.images.get(image_id).properties
            return found.get('colour'), found.get('a/b~c')

        self.side.images.set_properties(image_id, {'colour': 'blue',
                                                   'a/b~c': 'x'})
        self.side.images.set_properties(image_id, {'colour': 'red'})
        self.assertEqual(('red', 'x'), colours())
        removal = {'op': 'remove', 'path': '/colour'}
        self.assertEqual(200, self.patch(image_id, removal))
        self.assertEqual((None, 'x'), colours())
        self.assertEqual(409, self.patch(image_id, removal))

    def test_an_unknown_image_is_not_found(self):
        image_id = str(uuid.uuid4())
        self.assertIsNone(self.side.images.get(image_id))
        for method in ('GET', 'DELETE'):
            self.assertEqual(404, self.side.ask(method, f'/{image_id}')[0])
        self.assertEqual(404, self.put(image_id))
        self.assertRaises(errors.ImageGone, self.side.images.set_properties,
                          image_id, {'colour': 'blue'})
        # That it is absent is what was asked for.
        self.side.images.delete(image_id)

    def test_it_is_found_by_a_property_hidden_or_not(self):
        shown, hidden, other = self.queued(), self.queued(), self.queued()
        for image_id, colour in ((shown, 'blue'), (hidden, 'blue'),
                                 (other, 'red')):
            self.side.images.set_properties(image_id, {'colour': colour})
        self.assertEqual(200, self.patch(hidden, {
            'op': 'replace', 'path': '/os_hidden', 'value': True}))
        found = self.side.images.find({'colour': 'blue'})
        self.assertEqual({shown, hidden}, {one.image_id for one in found})
        self.assertEqual(self.side.images.get(shown), next(
            one for one in found if one.image_id == shown))

    def test_deleted_it_is_gone(self):
        image_id = self.queued()
        self.assertEqual(204, self.side.ask('DELETE', f'/{image_id}')[0])
        self.assertIsNone(self.status(image_id))
        self.assertEqual(404, self.side.ask('DELETE', f'/{image_id}')[0])

    def test_protected_it_is_not_deleted(self):
        image_id = self.queued()

        def protect(value):
            self.assertEqual(200, self.patch(image_id, {
                'op': 'replace', 'path': '/protected', 'value': value}))

        protect(True)
        self.addCleanup(protect, False)
        refused = self.assertRaises(errors.ImageServiceRefused,
                                    self.side.images.delete, image_id)
        self.assertEqual(403, refused.status)
        self.assertEqual('queued', self.status(image_id))

    def test_a_reader_sees_it_and_changes_nothing(self):
        image_id = self.queued()
        other = self.spec()
        with self.side.reader() as reader, self.source() as source:
            self.assertEqual('queued', reader.get(image_id).status)
            for call, *args in (
                    (reader.create, other),
                    (reader.set_properties, image_id, {'colour': 'blue'}),
                    (reader.upload, image_id, source),
                    (reader.delete, image_id)):
                refused = self.assertRaises(errors.ImageServiceRefused,
                                            call, *args)
                self.assertEqual(403, refused.status)
        self.assertIsNone(self.status(other.image_id))
        self.assertEqual('queued', self.status(image_id))

    def test_only_what_is_not_whole_is_discarded(self):
        image_id, active = self.queued(), self.queued()
        self.assertEqual(204, self.put(active))
        for one in (image_id, active):
            self.side.images.discard_unfinished(one)
        self.assertEqual((None, 'active'),
                         (self.status(image_id), self.status(active)))


@ddt.ddt
class DataContract(GlanceContract):

    def setUp(self) -> None:
        super().setUp()
        self.image_id = self.queued()

    def assert_queued(self) -> None:
        """Assert that nothing of the data was kept."""
        _, found = self.side.ask('GET', f'/{self.image_id}')
        self.assertEqual(
            ('queued', None, None, None),
            tuple(found[name] for name in ('status', 'size', 'checksum',
                                           'os_hash_value')))

    def test_whole_it_is_active_with_its_size_and_hashes(self):
        self.assertEqual(204, self.put(self.image_id))

        found = self.side.images.get(self.image_id)
        self.assertEqual(
            ('active', len(DATA), hashlib.md5(DATA).hexdigest(), 'sha512',
             hashlib.sha512(DATA).hexdigest()),
            (found.status, found.size, found.checksum, found.hash_algo,
             found.hash_value))

    @ddt.named_data(*first_bytes.TAKEN.items())
    def test_it_takes_as_raw_a_disk(self, first):
        self.assertEqual(204, self.put(self.image_id, _beginning(first)))
        self.assertEqual('active', self.status(self.image_id))

    @ddt.named_data(*first_bytes.REFUSED.items())
    def test_it_refuses_as_raw_a_disk(self, first):
        self.assertEqual(415, self.put(self.image_id, _beginning(first)))
        self.assertEqual('queued', self.status(self.image_id))

    def test_it_refuses_data_of_another_format_than_it_says(self):
        self.side.images.set_properties(self.image_id,
                                        {'disk_format': 'qcow2'})
        self.assertEqual(415, self.put(self.image_id))
        self.assertEqual('queued', self.status(self.image_id))

    def test_a_queued_image_takes_another_format_and_then_its_data(self):
        qcow2 = _beginning(first_bytes.qcow2(3))
        self.side.images.set_properties(self.image_id,
                                        {'disk_format': 'qcow2'})
        self.assertEqual(
            'qcow2', self.side.images.get(self.image_id).disk_format)
        self.assertEqual(204, self.put(self.image_id, qcow2))
        self.assertEqual(403, self.patch(self.image_id, {
            'op': 'add', 'path': '/disk_format', 'value': 'raw'}))

    def test_the_product_sends_it_whole(self):
        with self.source() as source:
            image = self.side.images.upload(self.image_id, source)
        self.assertEqual(('active', len(DATA)), (image.status, image.size))

    @ddt.data(len(DATA) - 1, len(DATA) + 1)
    def test_another_size_than_declared_is_refused_and_sent_anew(
            self, declared):
        self.assertEqual(400, self.put(self.image_id, declared=declared))
        self.assert_queued()
        self.assertEqual(204, self.put(self.image_id))
        self.assertEqual('active', self.status(self.image_id))

    def test_an_active_image_takes_no_more(self):
        self.put(self.image_id)
        before = self.side.images.get(self.image_id)
        self.assertEqual(409, self.put(self.image_id, [DATA[::-1]]))
        self.assertEqual(before, self.side.images.get(self.image_id))

    def test_a_record_without_a_format_takes_no_data(self):
        image_id = str(uuid.uuid4())
        self.side.ask('POST', '', body={'id': image_id})
        self.addCleanup(self.side.images.delete, image_id)
        self.assertEqual(400, self.put(image_id))
        self.assertEqual('queued', self.status(image_id))

    def test_without_room_it_is_queued_again(self):
        with self.side.quota(len(PART)), self.source() as source:
            self.assertEqual(413, self.put(self.image_id))
            self.assert_queued()
            self.assertRaises(errors.ImageQuotaExceeded,
                              self.side.images.upload, self.image_id, source)
        self.assert_queued()

    def _while_saving(self, act: cabc.Callable[[], None]) -> int:
        """Act when Glance has the first part, and return its answer."""
        def blocks() -> cabc.Iterator[bytes]:
            yield PART
            while self.status(self.image_id) == 'queued':
                pass
            self.assertEqual('saving', self.status(self.image_id))
            act()
            yield PART

        return self.put(self.image_id, blocks())

    def test_deleted_while_it_is_saved_it_is_gone(self):
        status = self._while_saving(
            lambda: self.side.images.delete(self.image_id))
        self.assertEqual(410, status)
        self.assertIsNone(self.status(self.image_id))

    def test_while_it_is_saved_no_other_data_are_taken(self):
        def meddle() -> None:
            self.assertEqual(409, self.put(self.image_id, [DATA[::-1]]))

        self.assertEqual(204, self._while_saving(meddle))
        self.assertEqual(hashlib.sha512(DATA).hexdigest(),
                         self.side.images.get(self.image_id).hash_value)
