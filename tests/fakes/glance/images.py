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

"""A fake Glance without a wire: what one process sees of it."""

import collections.abc as cabc
import http
import typing as ty

from nova_snap import errors
from nova_snap.model import disk_work as disk_work_model
from nova_snap.model import image as image_model
from nova_snap.model import stream
from nova_snap.services.glance import errors as glance_errors
from nova_snap.services.glance import images as images_module
from nova_snap.services import identity
from tests.fakes import calls as fake_calls
from tests.fakes.glance import record as image_record
from tests.fakes.glance import store as glance_store
from tests.fakes import http as fake_http

OUTSIDE = 'glance'


class FakeImages(images_module.Images):
    """One process's way to a fake Glance."""

    def __init__(self, glance: glance_store.FakeGlance,
                 calls: fake_calls.Calls) -> None:
        self._glance = glance
        self._calls = calls

    def check(self, owner: str | None = None) -> None:
        self._make('check', self._glance.listing, changes=False)

    def get(self, image_id: str, *,
            owner: str | None = None) -> image_model.Image | None:
        def look() -> image_model.Image | None:
            try:
                return self._find(image_id)
            except errors.ImageGone:
                self._must_see(image_id, owner)
                return None

        return self._make('get', look, changes=False)

    def find(self, properties: cabc.Mapping[str, str]) -> (
            list[image_model.Image]):
        return self._make('find', lambda: [
            image_model.Image.from_glance(stored)
            for stored in self._glance.listing(properties)], changes=False)

    def stores(self) -> list[image_model.Store] | None:
        def look() -> list[image_model.Store] | None:
            try:
                return [image_model.Store.from_glance(store)
                        for store in self._glance.list_stores()]
            except fake_http.Refused:
                return None

        return self._make('stores', look, changes=False)

    def location_way(self, image_id: str) -> (
            image_model.LocationWay | None):
        def look() -> image_model.LocationWay | None:
            for way in (True, False):
                try:
                    self._glance.locate(image_id, 'rbd://a/b/c/d',
                                        {'os_hash_value': '00'}, is_new=way)
                except fake_http.Refused as exc:
                    if exc.http_status in (400, 409):
                        return image_model.LocationWay(way)
            self._find(image_id)
            return None

        return self._make('location_way', look, image_id, changes=False)

    def why_no_location(self) -> str:
        return images_module.NO_LOCATIONS.format('')

    def add_location(self, image_id: str, url: str,
                     way: image_model.LocationWay, *, size: int,
                     sha512: str | None) -> image_model.Image:
        def add() -> image_model.Image:
            about = {} if sha512 is None else {
                'os_hash_algo': 'sha512', 'os_hash_value': sha512}
            self._glance.locate(image_id, url, about, is_new=way.is_new)
            found = self._find(image_id)
            if found.status != 'active':
                raise errors.ImageServiceError(
                    call='add a location', status=None, image_id=image_id,
                    reason=f'no data at {url}')
            if found.size != size:
                raise errors.ImageCorrupt(
                    call='add a location', status=None, image_id=image_id,
                    reason=f'it has {found.size} bytes instead of {size}')
            return found

        return self._make('add_location', add, image_id, words=url)

    def create(self, spec: image_model.ImageSpec) -> image_model.Image:
        def create() -> image_model.Image:
            if spec.image_id not in self._glance.images:
                self._glance.create(image_record.of_spec(spec))
            return self._find(spec.image_id)

        return self._make('create', create)

    def set_properties(self, image_id: str,
                       properties: cabc.Mapping[str, str]) -> None:
        self._make(
            'set_properties', lambda: self._glance.patch(image_id, [
                {'op': 'add', 'path': f'/{name}', 'value': value}
                for name, value in properties.items()]),
            image_id, words=', '.join(f'{name}={value}' for name, value
                                      in properties.items()))

    def upload(self, image_id: str, source: stream.Source, *,
               progress: stream.Progress | None = None,
               is_replaceable: bool = False,
               disk_work: disk_work_model.DiskWork = disk_work_model.run_now
               ) -> image_model.Image:
        def upload() -> image_model.Image:
            data = disk_work(_read, source, progress)
            try:
                self._glance.upload(image_id, [data], source.size_bytes)
            except fake_http.Refused as exc:
                if self._find(image_id).status != 'saving':
                    raise
                # It was waited for, and stays.
                raise errors.ImageStuck(
                    call='upload', image_id=image_id, status=None,
                    image_status='saving', reason=exc.reason) from exc
            if self._glance.data[image_id] != data:
                raise errors.ImageCorrupt(
                    call='upload', image_id=image_id, status=None,
                    reason='it has other bytes')
            return self._find(image_id)

        def half() -> None:
            # Glance needs some time to see that the sender is gone.
            self._glance.become(image_id, 'saving')

        return self._make('upload', upload, image_id, half=half)

    def delete(self, image_id: str, *, owner: str | None = None) -> None:
        def delete() -> None:
            try:
                self._glance.delete(image_id)
            except fake_http.Refused as exc:
                if exc.http_status != http.HTTPStatus.NOT_FOUND:
                    raise
                self._must_see(image_id, owner)

        self._make('delete', delete, image_id)

    def discard_unfinished(self, image_id: str, *,
                           owner: str | None = None) -> None:
        def discard() -> None:
            try:
                stored = self._glance.find(image_id)
            except fake_http.Refused as exc:
                if exc.http_status != http.HTTPStatus.NOT_FOUND:
                    raise
                self._must_see(image_id, owner)
                return
            if stored.status in ('queued', 'saving'):
                self._glance.delete(image_id)

        self._make('discard_unfinished', discard, image_id)

    def _must_see(self, image_id: str, owner: str | None) -> None:
        if owner is not None:
            images_module.refuse_hidden(
                identity.Identity(self._glance.project, None), image_id,
                owner)

    def _find(self, image_id: str) -> image_model.Image:
        with glance_errors.translated('look', image_id=image_id):
            return image_model.Image.from_glance(self._glance.find(image_id))

    def _make(self, name: str, effect: cabc.Callable[[], ty.Any],
              image_id: str | None = None, *,
              words: str = '', changes: bool = True,
              half: cabc.Callable[[], None] | None = None) -> ty.Any:
        def ask() -> ty.Any:
            with glance_errors.translated(name, image_id=image_id):
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
