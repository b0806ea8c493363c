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


"""The bare PUT of a finished image.

``python -m bench.put ENDPOINT IMAGE_ID FILE``: with Content-Length, and with
no hash and no look at what was sent.
"""

import http.client
import os
import sys
import urllib.parse

from bench import marks
from nova_snap import units


def main(argv: list[str]) -> int:
    """Send the file; 0 when Glance took it."""
    endpoint, image_id, path = argv
    conn = http.client.HTTPConnection(
        urllib.parse.urlsplit(endpoint).netloc, blocksize=units.MiB)
    marks.loaded()
    with open(path, 'rb', buffering=0) as body:
        conn.request('PUT', f'/v2/images/{image_id}/file', body=body, headers={
            'Content-Type': 'application/octet-stream',
            'Content-Length': str(os.fstat(body.fileno()).st_size)})
        answer = conn.getresponse()
        answer.read()
    return int(answer.status != http.HTTPStatus.NO_CONTENT)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
