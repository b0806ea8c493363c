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

"""Glance over HTTP: one method, one request, nothing tried twice.

What may be asked again, and when, is for
:mod:`nova_snap.services.glance.images` and
:mod:`nova_snap.services.glance.upload`.

Records are glanceclient's. Data go out by its session, past its upload(),
which sends chunks without a length, and lets keystoneauth send what is left
of a half-read body after a 401 or a redirect.
"""

import collections.abc as cabc
import contextlib
import functools
import http
import itertools
import random
import re
import typing as ty

from keystoneauth1 import session as ksa_session

from nova_snap import errors
from nova_snap.model import image as image_model
from nova_snap.services.glance import errors as glance_errors
from nova_snap.services import identity
from nova_snap.services import sessions
from nova_snap import units

# As much as is handed to the socket at once. Smaller costs CPU; larger, and
# a slow but living link may not take a piece before it is given up.
CHUNK_BYTES = 256 * units.KiB

# An address in a catalog may end in the version that our paths begin with.
_VERSION = re.compile(r'/v\d+(\.\d+)?/?$')

# What glanceclient and we raise at an answer that is not as Glance's.
_NO_GLANCE = (KeyError, TypeError, AttributeError, ValueError)


class Body:
    """What is read, as the body of one request.

    It has a length, so that the request says it: Glance then refuses less,
    and need not put chunks together. And it can be iterated over once: HTTP
    libraries send a request again by themselves, and would send what is left
    of this one.
    """

    def __init__(self, read: cabc.Callable[[int], bytes], size: int) -> None:
        self._read = read
        self._used = False
        self.sent = 0
        # The name by which requests asks for a body's length.
        self.len = size

    def __iter__(self) -> cabc.Iterator[bytes]:
        if self._used:
            raise errors.ImageServiceUnavailable(
                call='upload', status=None,
                reason='the data was to be sent again from the middle')
        self._used = True
        while chunk := self._read(CHUNK_BYTES):
            self.sent += len(chunk)
            yield chunk


# Sends a body, once.
Put: ty.TypeAlias = cabc.Callable[[Body], None]


class Wire:
    """One Glance, found when it is first asked.

    Where it is several services, the next one is asked after one that does
    not answer.

    :ivar services: how many there are to choose from
    :ivar timeouts: with what the operator lets Nova wait
    :source: nova/image/glance.py get_api_servers, GlanceClientWrapper.call
    """

    def __init__(self, session: ksa_session.Session,
                 options: cabc.Mapping[str, ty.Any],
                 timeouts: sessions.Timeouts) -> None:
        """Remember how Glance is reached.

        :param options: keyword arguments of keystoneauth1's Adapter, and
            ``endpoints``, where there are several services to choose from
        """
        self._session = session
        self._options = {'service_type': 'image', **options,
                         'connect_retries': 0, 'status_code_retries': 0}
        self._auth = self._options.get('auth', session.auth)
        # One list for all processes would have all of them ask the same.
        endpoints = list(self._options.pop('endpoints', None) or ())
        random.shuffle(endpoints)
        self.services = len(endpoints) or 1
        self._endpoints = itertools.cycle(endpoints)
        self.timeouts = timeouts.at_least(session.timeout)
        self._found: ty.Any = None

    def probe(self) -> None:
        """Ask for something that takes credentials to be answered.

        :raises ImageServiceError: also when what answers is no Glance
        """
        with self._records('list images') as images:
            next(images.list(limit=1, page_size=1), None)

    def look(self, image_id: str) -> image_model.Image | None:
        """Return the image, or None where we can see none."""
        try:
            with self._records('show the image', image_id) as images:
                return image_model.Image.from_glance(images.get(image_id))
        except errors.ImageGone:
            return None

    def find(self, properties: cabc.Mapping[str, str]) -> (
            list[image_model.Image]):
        """Return all images that we see and that have these properties.

        :source: glance/api/v2/images.py get_filters, _get_filters
        """
        with self._records('list images') as images:
            return [
                image_model.Image.from_glance(answer)
                for os_hidden in ('false', 'true')
                for answer in images.list(filters={
                    **properties, 'visibility': 'all',
                    'os_hidden': os_hidden})]

    def post(self, spec: image_model.ImageSpec) -> image_model.Image:
        """Make the record."""
        values = {
            **spec.properties,
            'id': spec.image_id,
            'name': spec.name,
            'disk_format': spec.disk_format,
            'container_format': spec.container_format,
            'min_disk': spec.min_disk,
            'min_ram': spec.min_ram,
            'visibility': spec.visibility,
        }
        if spec.owner is not None:
            values['owner'] = spec.owner
        with self._records('create the image') as images:
            return image_model.Image.from_glance(images.create_any(values))

    def patch(self, image_id: str,
              properties: cabc.Mapping[str, str]) -> None:
        """Add properties, or replace them; ImageGone where there is none.

        In the patches of version 2.1 "add" replaces too.

        :source: glance/api/v2/images.py _do_add
        """
        changes = [{'op': 'add', 'path': f'/{_pointer(name)}', 'value': value}
                   for name, value in properties.items()]
        with self._records('set properties', image_id) as images:
            image_model.Image.from_glance(images.change(image_id, changes))

    @contextlib.contextmanager
    def sender(self, image_id: str) -> cabc.Iterator[Put]:
        """Sign in, and return what sends the data, once.

        It shares nothing with other requests and does not sign in, so that
        it can be called in a thread that they know nothing of.
        """
        with self._asked('upload', image_id) as images, \
                images.http_client.apart() as client:
            yield functools.partial(self._put, client, image_id)

    def _put(self, client: ty.Any, image_id: str, body: Body) -> None:
        headers = {
            'Content-Type': 'application/octet-stream',
            # A proxy may turn the body into chunks; then Content-Length is
            # lost, by which older servers go.
            # :source: glance/api/v2/image_data.py _get_image_size
            'x-openstack-image-size': str(body.len),
        }
        # urllib3 has the first number for each piece that is sent, too.
        timeout = (self.timeouts.stall,
                   self.timeouts.after_last_byte(body.len))
        answer = client.send(
            f'/v2/images/{image_id}/file', 'PUT', data=body, headers=headers,
            timeout=timeout, allow_reauth=False, redirect=False)
        if answer.is_redirect:
            where = answer.headers.get('Location', '')
            raise errors.ImageServiceError(
                call='upload', status=answer.status_code,
                reason=f'it sends us on to {where}: set '
                       '[glance]endpoint_override = '
                       f'{where.partition("/v2/")[0]} in nova.conf')

    def locate(self, image_id: str, url: str, sha512: str | None, *,
               is_new: bool) -> None:
        """Say where the data are, by one API or the other.

        A Glance that has it not answers 404, as where there is no image.
        """
        about = ({} if sha512 is None else
                 {'os_hash_algo': 'sha512', 'os_hash_value': sha512})
        with self._asked('add a location', None) as images:
            if is_new:
                images.http_client.send(
                    f'/v2/images/{image_id}/locations', 'POST',
                    json={'url': url, 'validation_data': about},
                    timeout=self.timeouts.answer)
                return
            value = {'url': url, 'metadata': {},
                     **({'validation_data': about} if about else {})}
            images.change(image_id, [
                {'op': 'add', 'path': '/locations/-', 'value': value}])

    def stores(self) -> list[image_model.Store]:
        """List Glance's stores, with what is known of each.

        :source: glance/api/v2/discovery.py get_stores_detail
        """
        with self._records('list the stores') as images:
            return [image_model.Store.from_glance(store) for store
                    in images.get_stores_info_detail()['stores']]

    def delete(self, image_id: str) -> None:
        """Remove it; ImageGone where there is none."""
        with self._records('delete the image', image_id) as images:
            images.delete(image_id)

    def renew(self) -> bool:
        """Forget the token; False where there is no way to another one."""
        return bool(self._session.invalidate(self._auth))

    def who(self) -> identity.Identity:
        """Return as whom we ask."""
        with glance_errors.translated('sign in', service=identity.KEYSTONE):
            return identity.who(self._session, self._auth)

    @contextlib.contextmanager
    def _records(self, call: str, image_id: str | None = None
                 ) -> cabc.Iterator[ty.Any]:
        """Ask for records; what answers is taken for Glance by them."""
        with self._asked(call, image_id) as images:
            try:
                yield images
            except _NO_GLANCE as exc:
                raise errors.ImageServiceError(
                    call=call, status=None, image_id=image_id,
                    reason=f'what answers at {self._endpoint()} is not an '
                           'image service') from exc

    @contextlib.contextmanager
    def _asked(self, call: str, image_id: str | None
               ) -> cabc.Iterator[ty.Any]:
        """Ask one service; after one that is silent comes the next one.

        :returns: images of glanceclient
        """
        with glance_errors.translated('sign in', service=identity.KEYSTONE):
            identity.sign_in(self._session, self._auth)
        try:
            with glance_errors.translated(call, image_id=image_id):
                yield self._glance()
        except errors.ImageServiceUnavailable as exc:
            if exc.status in (None, http.HTTPStatus.SERVICE_UNAVAILABLE):
                self._found = None
            raise

    def _glance(self) -> ty.Any:
        if self._found is None:
            # Here, as it takes its time.
            from nova_snap.services.glance import client as client_module
            client = client_module.Client(
                self._session, user_agent=sessions.user_agent(),
                # The operator's, or ours: Nova's session has none.
                timeout=float(self._session.timeout or self.timeouts.answer),
                **self._options)
            endpoint = (next(self._endpoints, None)
                        or client.endpoint_override or client.get_endpoint())
            if endpoint:
                client.endpoint_override = _VERSION.sub('', endpoint)
            self._found = client_module.Images(client)
        return self._found

    def _endpoint(self) -> str:
        return str(self._found.http_client.endpoint_override)


def _pointer(name: str) -> str:
    """Write a name as a part of a JSON pointer.

    :source: RFC 6901
    """
    return name.replace('~', '~0').replace('/', '~1')
