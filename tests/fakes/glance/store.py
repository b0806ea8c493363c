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

"""A Glance: its images and what they go through, whatever the door.

An image goes from queued by saving to active, or back to queued when its data
did not come whole. What Glance refuses is refused.
"""

import collections.abc as cabc
import dataclasses
import hashlib
import typing as ty

from nova_snap.model import ceph as ceph_model
from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import image as image_model
from tests.fakes import disk as fake_disk
from tests.fakes.glance import record as image_record
from tests.fakes import http as fake_http

STAMP = '2026-11-27T00:00:00Z'

# What only Glance itself may say of an image, from the first request on.
# :source: glance/api/v2/images.py _disallowed_properties and
# _reserved_properties, glance/domain/__init__.py _readonly_properties
READ_ONLY = image_model.RESERVED | {
    'status', 'created_at', 'updated_at', 'checksum', 'size', 'virtual_size',
    'direct_url', 'self', 'file', 'schema', 'stores', 'os_hash_algo',
    'os_hash_value'}
# What cannot be changed any more.
# :source: glance/api/v2/images.py _readonly_properties
UNCHANGEABLE = READ_ONLY | {'id'}
# And these once there are data.
# :source: glance/domain/__init__.py Image.disk_format
FORMATS = {'disk_format', 'container_format'}

# Of its hash.
SHA512_LETTERS = 128


@dataclasses.dataclass
class Trouble:
    """What becomes of one upload.

    :ivar read: bytes that are taken before it strikes; None for all
    :ivar error: raised in place of an answer
    :ivar answer: status of an answer in place of the real one
    :ivar leaves: the image's status then; 'gone' for no image
    :ivar later: its status after so many seconds more
    :ivar keeps: the bytes that Glance has then, if not those it read
    """

    read: int | None = None
    error: Exception | None = None
    answer: int = 500
    leaves: str = 'queued'
    later: tuple[float, str] | None = None
    keeps: bytes | None = None


class FakeGlance:
    """What Glance has, for each client alike.

    :ivar images: by their ids
    :ivar uploads: the bytes that each upload brought
    :ivar troubles: one for each upload that is to come, None for a good one
    :ivar corrupts: it stores other bytes than it is sent
    :ivar refuses: it answers 403 to every request
    :ivar reads_only: it answers 403 to every request that changes something
    :ivar forbids_data: it answers 403 to data
    :ivar project: of the member who asks; None for an admin, who sees all
    :ivar quota: bytes that an image may have; None for any
    :ivar algorithm: of the hash that it keeps; None for none
    :ivar ceph: where the data of some lie; None for a Glance without it
    :ivar stores: what it says of its stores; None where it does not, to us
    :ivar has_location_api: it takes locations by the API made for them
    :ivar shows_locations: it takes them as it takes other changes
    :ivar is_service: the one who asks has the role service
    :ivar after: lets something happen when so many seconds have passed
    """

    def __init__(self, after: cabc.Callable[
            [float, cabc.Callable[[], None]], object] | None = None) -> None:
        self.images = image_record.Images()
        self.uploads: list[bytes] = []
        self.troubles: list[Trouble | None] = []
        self.corrupts = False
        self.refuses = False
        self.reads_only = False
        self.forbids_data = False
        self.project: str | None = None
        self.quota: int | None = None
        self.algorithm: str | None = 'sha512'
        self.ceph: ty.Any = None
        self.stores: list[dict[str, ty.Any]] | None = None
        self.has_location_api = True
        self.shows_locations = True
        self.is_service = True
        self.after = after

    @property
    def stored(self) -> image_record.Images:
        """The images, as the flows' tests call them."""
        return self.images

    @property
    def data(self) -> dict[str, bytes]:
        """The bytes of each image that has them."""
        return {image_id: stored.data
                for image_id, stored in self.images.items()
                if stored.data is not None}

    def add(self, image_id: str, **values: ty.Any) -> image_record.Stored:
        """Make a record, as nova-api does before it asks nova-compute."""
        self.images[image_id] = {
            'id': image_id, 'name': 'nightly', 'status': 'queued',
            'visibility': 'private', 'created_at': STAMP,
            'updated_at': STAMP, 'min_disk': 1, 'min_ram': 0, 'tags': [],
            'protected': False, 'size': None, 'owner': 'project',
            'disk_format': None, 'container_format': None, 'checksum': None,
            'os_hash_algo': None, 'os_hash_value': None,
            'schema': '/v2/schemas/image', **values}
        return self.images[image_id]

    # What Glance is asked for

    def listing(self, properties: cabc.Mapping[str, str] | None = None) -> (
            list[image_record.Stored]):
        """Return all images, or those with these properties."""
        self._let()
        return [stored for stored in self.images.values()
                if self._is_seen(stored)
                and all(stored.get(name) == value for name, value
                        in (properties or {}).items())]

    def _is_seen(self, stored: image_record.Stored) -> bool:
        return self.project in (None, stored.get('owner', self.project))

    def find(self, image_id: str) -> image_record.Stored:
        """Return an image.

        :raises Refused: when there is none
        """
        self._let()
        stored = self.images.get(image_id)
        if stored is None or not self._is_seen(stored):
            # :source: glance/api/v2/policy.py ImageAPIPolicy
            raise fake_http.Refused(
                404, f'No image found with ID {image_id}')
        return stored

    def create(self, values: cabc.Mapping[str, ty.Any]) -> image_record.Stored:
        """Make the record of an image.

        :raises Refused: when there is one of this id, or Glance alone may
            say something of it
        """
        self._let(changes=True)
        reserved = sorted(READ_ONLY & values.keys())
        if reserved:
            raise fake_http.Refused(
                403, f"Attribute '{reserved[0]}' is read-only.")
        if values['id'] in self.images:
            raise fake_http.Refused(
                409, f'Image ID {values["id"]} already exists!')
        return self.add(values['id'], **values)

    def patch(self, image_id: str,
              changes: cabc.Sequence[cabc.Mapping[str, ty.Any]]) -> (
                  image_record.Stored):
        """Change a record.

        :param changes: with ``op``, ``path`` and, unless it is to go,
            ``value`` each
        :raises Refused: when there is none, or it cannot be changed
        """
        stored = self.find(image_id)
        self._let(changes=True)
        paths = {_name(change) for change in changes}
        refused = sorted(paths & (
            UNCHANGEABLE if stored.status == 'queued'
            else UNCHANGEABLE | FORMATS))
        if refused:
            raise fake_http.Refused(
                403, f"Attribute '{refused[0]}' is read-only.")
        for change in changes:
            if change['op'] == 'remove':
                _remove(stored, _name(change))
            else:
                stored[_name(change)] = change['value']
        return stored

    def delete(self, image_id: str) -> None:
        """Remove an image with its bytes.

        :raises Refused: when there is none, or it is protected
        """
        stored = self.find(image_id)
        self._let(changes=True)
        if stored.get('protected'):
            raise fake_http.Refused(
                403, f'Image {image_id} is protected and cannot be deleted.')
        for location in stored.get('locations', ()):
            try:
                self.ceph.destroy(location['url'])
            except ceph_model.Busy as exc:
                raise fake_http.Refused(409, str(exc)) from exc
        del self.images[image_id]

    def list_stores(self) -> list[dict[str, ty.Any]]:
        """Return the stores with what they are.

        :raises Refused: where only others hear it
        """
        self._let()
        if self.stores is None:
            raise fake_http.Refused(403, 'You are not authorized to complete '
                                         'stores_info_detail action.')
        return self.stores

    def locate(self, image_id: str, url: str,
               about: cabc.Mapping[str, str], *, is_new: bool) -> None:
        """Take data where they lie.

        :param about: their hash, where the client has said it
        :raises Refused: when it does not, in the order in which Glance looks
        :source: glance/api/v2/images.py add_location, _do_add_locations
        """
        if is_new and not self.has_location_api:
            raise fake_http.Refused(404, 'The resource could not be found.')
        stored = self.find(image_id)
        self._let(changes=True)
        if not is_new and not self.shows_locations:
            raise fake_http.Refused(
                403, 'It\'s not allowed to add locations if locations are '
                     'invisible.')
        if stored.status != 'queued':
            raise fake_http.Refused(
                409, 'It\'s not allowed to add locations if image status is '
                     f'{stored.status}.')
        if is_new and not self.is_service:
            raise fake_http.Refused(
                403, 'http store must be enabled to use location API by '
                     'normal user.')
        if about and len(about['os_hash_value']) != SHA512_LETTERS:
            raise fake_http.Refused(
                400 if is_new else 409, 'os_hash_value is not the correct '
                                        'size for sha512')
        self._located(stored, url, about, is_new=is_new)

    def _located(self, stored: image_record.Stored, url: str,
                 about: cabc.Mapping[str, str], *, is_new: bool) -> None:
        found = self.ceph and self.ceph.content(url)
        if not found:
            if is_new:
                # It has answered before it looks.
                return
            raise fake_http.Refused(400, 'Invalid location')
        data, size = found
        kept = {} if is_new and self.algorithm else {
            'os_hash_algo': None, 'os_hash_value': None, 'checksum': None}
        self.become(stored['id'], 'active', data)
        stored.update(size=size, locations=[{'url': url, 'metadata': {}}],
                      **{**kept, **about})

    def upload(self, image_id: str, blocks: cabc.Iterable[bytes],
               declared: int | None) -> None:
        """Take the data of an image.

        :param declared: how many bytes it has, as its sender says
        :raises Refused: when it cannot be taken, or not all of it came
        """
        stored = self.find(image_id)
        self._let(changes=True)
        if self.forbids_data:
            raise fake_http.Refused(403, 'You are not authorized')
        if stored.status != 'queued':
            raise fake_http.Refused(
                409, f'Image status transition from {stored.status} to '
                     'saving is not allowed')
        missing = [name for name in ('disk_format', 'container_format')
                   if not stored.get(name)]
        if missing:
            raise fake_http.Refused(
                400, f'Properties {", ".join(missing)} must be set prior to '
                     'saving data.')
        trouble = self.troubles.pop(0) if self.troubles else None
        stored.status = 'saving'
        data = _read(blocks, trouble and trouble.read)
        self.uploads.append(data)
        if trouble is not None:
            self._strike(image_id, data, trouble)
        if self.images.get(image_id) is not stored:
            raise fake_http.Refused(410, f'Image {image_id} was deleted')
        refusal = self._refusal(stored, data, declared)
        if refusal:
            self.become(image_id, 'queued', b'')
            raise refusal
        self.become(image_id, 'active', data[self.corrupts:])

    def _let(self, *, changes: bool = False) -> None:
        if self.refuses or (changes and self.reads_only):
            raise fake_http.Refused(403, 'You are not authorized')

    def _refusal(self, stored: image_record.Stored, data: bytes,
                 declared: int | None) -> fake_http.Refused | None:
        if self.quota is not None and len(data) > self.quota:
            return fake_http.Refused(413, 'the quota is used up')
        if declared is not None and len(data) != declared:
            return fake_http.Refused(
                400, f'{declared} bytes were declared, {len(data)} came')
        if stored['container_format'] == 'bare':
            return _judge(stored['disk_format'], data)
        return None

    def _strike(self, image_id: str, data: bytes, trouble: Trouble) -> None:
        """Do to an upload what a test has said, and end it."""
        data = data if trouble.keeps is None else trouble.keeps
        self.become(image_id, trouble.leaves, data)
        if trouble.later:
            assert self.after is not None, 'this Glance has no clock'
            seconds, status = trouble.later
            self.after(seconds,
                       lambda: self.become(image_id, status, data))
        raise trouble.error or fake_http.Refused(trouble.answer, 'planted')

    def become(self, image_id: str, status: str, data: bytes = b'') -> None:
        """Give an image a state, and its bytes with the last one."""
        if status == 'gone':
            del self.images[image_id]
            return
        stored = self.images[image_id]
        stored.status = status
        if status != 'active':
            return
        stored.data = data
        stored.update(size=len(data), checksum=hashlib.md5(data).hexdigest())
        if self.algorithm:
            stored.update(
                os_hash_algo=self.algorithm,
                os_hash_value=hashlib.new(self.algorithm, data).hexdigest())


def _judge(disk_format: str, data: bytes) -> fake_http.Refused | None:
    """Refuse data that are not what they are said to be, or not safe.

    :source: glance/location.py ImageProxy.set_data
    """
    first, found = data[:first_bytes_model.LENGTH], 'raw'
    try:
        disk = fake_disk.DiskFile.from_bytes(data)
        first, found = disk.first_bytes(), disk.format
    except ValueError:
        if first_bytes_model.is_qcow2(first):
            found = 'qcow2'
    if disk_format == 'raw':
        why = first_bytes_model.why_refused(first)
        return fake_http.Refused(
            415, 'Image failed safety checks') if why else None
    if disk_format == found:
        return None
    return fake_http.Refused(
        415, f'Image disk_format {disk_format} does not match stream data '
             f'{found}')


def _name(change: cabc.Mapping[str, ty.Any]) -> str:
    return change['path'].removeprefix('/').replace('~1', '/').replace(
        '~0', '~')


def _remove(stored: image_record.Stored, name: str) -> None:
    if name in image_model.ATTRIBUTES:
        raise fake_http.Refused(403, f'Property {name} may not be removed.')
    if name not in stored:
        raise fake_http.Refused(409, f'Property {name} does not exist.')
    del stored[name]


def _read(blocks: cabc.Iterable[bytes], limit: int | None) -> bytes:
    """Read a body, until a limit is reached."""
    data = bytearray()
    for block in blocks:
        data += block
        if limit and len(data) >= limit:
            break
    return bytes(data)
