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

"""What Glance answers to a request, images v2, as Nova and we ask."""

import html
import http
import re
import typing as ty

from tests.fakes.glance import store as glance_store
from tests.fakes import http as fake_http

_TEXT = {'type': ['null', 'string']}
_NUMBER = {'type': ['null', 'integer']}

# glanceclient judges an answer by it.
SCHEMA = {'name': 'image', 'additionalProperties': {'type': 'string'},
          'properties': {
              **dict.fromkeys(
                  ('id', 'name', 'status', 'visibility', 'owner', 'checksum',
                   'os_hash_algo', 'os_hash_value', 'container_format',
                   'disk_format', 'created_at', 'updated_at', 'kernel_id',
                   'ramdisk_id', 'schema'), _TEXT),
              **dict.fromkeys(('min_disk', 'min_ram', 'size',
                               'virtual_size'), _NUMBER),
              'protected': {'type': 'boolean'},
              'tags': {'type': 'array', 'items': {'type': 'string'}}}}

# The id of an image, and whether its data is meant.
IMAGE = re.compile('/v2/images/([^/]+)(/file)?')

# Where an image's data are said to lie.
LOCATIONS = re.compile('/v2/images/([^/]+)/locations')
# The same, as a change of the image.
LAST_LOCATION = '/locations/-'

# What says how images are listed, and not which.
HOW = frozenset(('limit', 'marker', 'sort', 'sort_dir', 'sort_key',
                 'visibility', 'os_hidden'))

# What Glance says no with, as webob writes it.
PAGE = """\
<html>
 <head>
  <title>{title}</title>
 </head>
 <body>
  <h1>{title}</h1>
  {reason}<br /><br />


 </body>
</html>"""

SIZE_HEADERS = ('x-openstack-image-size', 'content-length')


def answer(glance: glance_store.FakeGlance,
           request: fake_http.Request) -> fake_http.Answer:
    """Answer a request, also with a refusal."""
    try:
        return _answer(glance, request)
    except fake_http.Refused as exc:
        title = f'{exc.http_status} {http.HTTPStatus(exc.http_status).phrase}'
        return fake_http.Answer(exc.http_status, PAGE.format(
            title=title, reason=html.escape(exc.reason)))


def _answer(glance: glance_store.FakeGlance,
            request: fake_http.Request) -> fake_http.Answer:
    image = IMAGE.fullmatch(request.path)
    if image and image[2]:
        return _answer_file(glance, request, image[1])
    if image:
        return _answer_image(glance, request, image[1])
    located = LOCATIONS.fullmatch(request.path)
    if located:
        return _answer_location(glance, request, located[1])
    return _answer_others(glance, request)


def _answer_location(glance: glance_store.FakeGlance,
                     request: fake_http.Request,
                     image_id: str) -> fake_http.Answer:
    if request.method != 'POST':
        raise fake_http.Refused(405, f'locations take no {request.method}')
    asked = request.json()
    glance.locate(image_id, asked['url'], asked['validation_data'],
                  is_new=True)
    return fake_http.Answer(202)


def _answer_others(glance: glance_store.FakeGlance,
                   request: fake_http.Request) -> fake_http.Answer:
    match request.method, request.path:
        case 'GET', '/v2/info/stores/detail':
            return fake_http.Answer(200, {'stores': glance.list_stores()})
        case 'GET', '/v2/images':
            return _answer_list(glance, request)
        case 'POST', '/v2/images':
            return fake_http.Answer(201, glance.create(request.json()))
        case 'GET', '/v2/schemas/image':
            return fake_http.Answer(200, SCHEMA)
    raise fake_http.Refused(404, f'{request.path} is nowhere')


def _answer_list(glance: glance_store.FakeGlance,
                 request: fake_http.Request) -> fake_http.Answer:
    """Answer with all images that are asked for, in one page."""
    wants_hidden = request.query.get('os_hidden', 'false') == 'true'
    return fake_http.Answer(200, {'images': [
        stored for stored in glance.listing({
            name: value for name, value in request.query.items()
            if name not in HOW})
        if stored.get('os_hidden', False) == wants_hidden]})


def _answer_image(glance: glance_store.FakeGlance, request: fake_http.Request,
                  image_id: str) -> fake_http.Answer:
    match request.method:
        case 'GET':
            return fake_http.Answer(200, glance.find(image_id))
        case 'PATCH':
            return _answer_change(glance, image_id, request.json())
        case 'DELETE':
            glance.delete(image_id)
            return fake_http.Answer(204)
    raise fake_http.Refused(405, f'an image takes no {request.method}')


def _answer_change(glance: glance_store.FakeGlance, image_id: str,
                   changes: list[dict[str, ty.Any]]) -> fake_http.Answer:
    if changes[0]['path'] == LAST_LOCATION:
        value = changes[0]['value']
        glance.locate(image_id, value['url'],
                      value.get('validation_data', {}), is_new=False)
        return fake_http.Answer(200, glance.find(image_id))
    return fake_http.Answer(200, glance.patch(image_id, changes))


def _answer_file(glance: glance_store.FakeGlance, request: fake_http.Request,
                 image_id: str) -> fake_http.Answer:
    if request.method != 'PUT':
        raise fake_http.Refused(405, f'data takes no {request.method}')
    headers = {name.lower(): value
               for name, value in request.headers.items()}
    declared = next((int(headers[name]) for name in SIZE_HEADERS
                     if name in headers), None)
    glance.upload(image_id, request.blocks, declared)
    return fake_http.Answer(204)
