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

"""The Glances of the campaign, and where the bytes of their images lie."""

import collections.abc as cabc
import contextlib
import pathlib
import typing as ty

from tests.lab import ceph as ceph_module
from tests.lab import glance as glance_module
from tests.lab import process
from tests.lab import proxy

# Seconds for Glance to compute a hash after an image is active.
HASH_TIMEOUT = 60

Json: ty.TypeAlias = dict[str, ty.Any]


class Store:
    """A Glance that keeps its images in files.

    :ivar between: the proxy in front of it
    """

    def __init__(self, glance: glance_module.Glance) -> None:
        self.glance = glance
        self.between = proxy.Proxy(glance.endpoint)

    @contextlib.contextmanager
    def content(self, image_id: str) -> cabc.Iterator[pathlib.Path]:
        """Have the bytes of an image in a file, for the block."""
        yield self.glance.folder / 'images' / image_id

    def await_hash(self, show: cabc.Callable[[], Json]) -> Json:
        """Return an image that is active, with its hash.

        :param show: shows it
        """
        return show()


class CephStore(Store):
    """A Glance that keeps its images in Ceph."""

    def __init__(self, glance: glance_module.Glance, ceph: ceph_module.Ceph,
                 folder: pathlib.Path) -> None:
        """Start the proxy.

        :param folder: for the bytes that are looked at
        """
        super().__init__(glance)
        self._ceph = ceph
        self._folder = folder

    @contextlib.contextmanager
    def content(self, image_id: str) -> cabc.Iterator[pathlib.Path]:
        """Export the snapshot that Glance hands out."""
        path = self._folder / image_id
        self._ceph.export(f'{image_id}@snap', path, ceph_module.IMAGES)
        try:
            yield path
        finally:
            path.unlink()

    def await_hash(self, show: cabc.Callable[[], Json]) -> Json:
        """Wait until Glance has computed it, of data that it found there.

        :raises LabError: when that takes too long
        """
        process.wait_until(lambda: show()['os_hash_value'] is not None,
                           timeout=HASH_TIMEOUT, what='the hash')
        return show()
