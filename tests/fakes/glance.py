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

"""A Glance with images, and what one process sees of it."""

import collections.abc as cabc
import dataclasses
import hashlib

from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.model import stream
from nova_snap.services.glance import images as images_module
from tests.fakes import calls as fake_calls

OUTSIDE = 'glance'


@dataclasses.dataclass
class Stored:
    """One image: its record and its bytes."""

    spec: image_model.ImageSpec
    properties: dict[str, str]
    status: str = 'queued'
    data: bytes = b''
    is_protected: bool = False

    def to_image(self) -> image_model.Image:
        """Return it as Glance shows it."""
        whole = self.status == 'active'
        return image_model.Image(
            image_id=self.spec.image_id, name=self.spec.name,
            status=self.status, size=len(self.data) if whole else None,
            checksum=None, hash_algo='sha512' if whole else None,
            hash_value=(hashlib.sha512(self.data).hexdigest() if whole
                        else None),
            disk_format=self.spec.disk_format,
            container_format=self.spec.container_format,
            min_disk=self.spec.min_disk, min_ram=self.spec.min_ram,
            owner=self.spec.owner, visibility=self.spec.visibility,
            properties=dict(self.properties),
            is_protected=self.is_protected)


class FakeGlance:
    """What Glance has, whoever is connected to it.

    :ivar corrupts: it stores other bytes than it is sent, and says so to
        whoever compares
    :ivar refuses: nobody may do anything
    """

    def __init__(self) -> None:
        self.stored: dict[str, Stored] = {}
        self.corrupts = False
        self.refuses = False


class FakeImages(images_module.Images):
    """One process's way to a fake Glance."""

    def __init__(self, glance: FakeGlance,
                 calls: fake_calls.Calls) -> None:
        self._glance = glance
        self._calls = calls

    def check(self, owner: str | None = None) -> None:
        self._make('check', lambda: None, changes=False)

    def get(self, image_id: str) -> image_model.Image | None:
        def look() -> image_model.Image | None:
            stored = self._glance.stored.get(image_id)
            return stored and stored.to_image()

        return self._make('get', look, changes=False)

    def create(self, spec: image_model.ImageSpec) -> image_model.Image:
        def create() -> image_model.Image:
            stored = self._glance.stored.setdefault(
                spec.image_id, Stored(spec, dict(spec.properties)))
            return stored.to_image()

        return self._make('create', create)

    def set_properties(self, image_id: str,
                       properties: cabc.Mapping[str, str]) -> None:
        self._make('set_properties',
                   lambda: self._find(image_id).properties.update(properties),
                   words=', '.join(f'{name}={value}' for name, value
                                   in properties.items()))

    def upload(self, image_id: str, source: stream.Source, *,
               progress: stream.Progress | None = None) -> image_model.Image:
        def upload() -> image_model.Image:
            stored = self._find(image_id)
            stored.data = _read(source, progress)
            stored.status = 'active'
            if self._glance.corrupts:
                stored.data = stored.data[1:]
                raise errors.ImageCorrupt(
                    call='upload', image_id=image_id, status=None,
                    reason='it has other bytes')
            return stored.to_image()

        def half() -> None:
            # Glance needs some time to see that nobody sends any more.
            self._find(image_id).status = 'saving'

        return self._make('upload', upload, half=half)

    def delete(self, image_id: str) -> None:
        self._make('delete', lambda: self._glance.stored.pop(image_id, None))

    def discard_unfinished(self, image_id: str) -> None:
        def discard() -> None:
            stored = self._glance.stored.get(image_id)
            if stored is not None and stored.status in ('queued', 'saving'):
                del self._glance.stored[image_id]
        self._make('discard_unfinished', discard)

    def _find(self, image_id: str) -> Stored:
        try:
            return self._glance.stored[image_id]
        except KeyError:
            raise errors.ImageGone(call='look', image_id=image_id,
                                   status=404, reason='gone') from None

    def _make(self, name: str, effect: cabc.Callable[[], object], *,
              words: str = '', changes: bool = True,
              half: cabc.Callable[[], None] | None = None) -> object:
        def ask() -> object:
            if self._glance.refuses:
                raise errors.ImageServiceRefused(call=name, status=403,
                                                 reason='forbidden')
            return effect()

        return self._calls.make(
            OUTSIDE, name, ask, words=words, changes=changes, half=half,
            error=lambda: errors.ImageServiceUnavailable(
                call=name, status=None, reason='planted'))


def _read(source: stream.Source, progress: stream.Progress | None) -> bytes:
    """Read a source to its end, as the wire does."""
    parts = []
    with source.open(progress=progress) as reader:
        while chunk := reader.read():
            parts.append(chunk)
    data = b''.join(parts)
    assert len(data) == source.size_bytes
    return data
