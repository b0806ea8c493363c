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

"""An image whose data lie where Glance finds them, and are not sent.

::

    new API   POST /v2/images/ID/locations   role service; Glance hashes them
    old API   PATCH /v2/images/ID            show_multiple_locations

Which one it takes, if any, is asked of Glance before a guest is touched, by a
request that it refuses in any case: with a hash that is none. Whom it does
not let add a location it tells so first.

:source: glance/api/v2/images.py add_location, _do_add_locations
"""

import http

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.model import ceph as ceph_model
from nova_snap.model import image as image_model
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import retry
from nova_snap.services import sessions

LOG = logging.getLogger(__name__)

# What no hash is like.
NO_HASH = '00'

# What the one API or the other answers to it where a location of ours would
# be taken.
WRONG = (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.CONFLICT)
# An address for that request: nothing is looked up there.
NOWHERE = ceph_model.Name('pool', 'image', 'snap').location('cluster')

# The property of an image that Glance is at work on.
# :source: glance/async_/flows/location_import.py
WORKING = 'os_glance_import_task'

# Seconds between two looks at an image that is to become active.
FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 2.0


class Locations:
    """Where the data of images lie. Each method asks once, or looks."""

    def __init__(self, wire: wire_module.Wire, policy: sessions.Policy,
                 clock: clock_module.Clock) -> None:
        self._wire = wire
        self._policy = policy
        self._clock = clock

    def way(self, image_id: str) -> image_model.LocationWay | None:
        """Ask how Glance takes a location of a queued image; None for none.

        :raises ImageGone: when there is no such image
        :raises ImageServiceUnavailable: when Glance stays silent
        """
        for is_new in (True, False):
            way = image_model.LocationWay(is_new)
            status = self._try(way, image_id)
            LOG.debug('Glance answers %s to a location of image %s (%s)',
                      status, image_id, way)
            if status in WRONG:
                return way
        if self._wire.look(image_id) is None:
            raise errors.ImageGone(call='add a location', status=None,
                                   reason='it is not there', image_id=image_id)
        return None

    def add(self, image_id: str, url: str, way: image_model.LocationWay, *,
            sha512: str | None, timeout: float) -> image_model.Image:
        """Make an image of data that are in their place, and see it active.

        :param sha512: of the data; None where Glance is to compute it, or
            there is to be none
        :param timeout: seconds; Glance may compare the hash first
        :raises ImageServiceRefused: when it takes no location from us
        :raises ImageGone: when the image was deleted
        :raises ImageServiceUnavailable: when Glance stays silent, or is not
            done in time; it may be active later
        :raises ImageServiceError: when it does not find the data, or they
            have another hash
        """
        attempts = retry.Attempts(self._policy.num_retries, self._clock)
        while True:
            lost: errors.ImageServiceError | None = None
            try:
                self._wire.locate(image_id, url, sha512, is_new=way.is_new)
            except errors.ImageServiceError as exc:
                if not (isinstance(exc, errors.Retriable)
                        or exc.status == http.HTTPStatus.CONFLICT):
                    raise
                # The answer was lost: the image shows what it was.
                lost = exc
            image = self._settled(image_id, timeout)
            if image.status == 'active':
                return image
            if lost is None:
                raise errors.ImageServiceError(
                    call='add a location', image_id=image_id, status=None,
                    reason=f'it does not find the data at {url}, or they '
                           'have another hash; its log says which')
            attempts.failed(lost)

    def _try(self, way: image_model.LocationWay, image_id: str) -> int | None:
        try:
            self._wire.locate(image_id, NOWHERE, NO_HASH, is_new=way.is_new)
        except errors.ImageServiceUnavailable:
            raise
        except errors.ImageServiceError as exc:
            return exc.status
        return None

    def _settled(self, image_id: str, timeout: float) -> image_model.Image:
        """Wait until Glance is not at work on an image any more.

        :raises ImageStuck: when it takes too long
        """
        failure: errors.ImageServiceError | None = None
        for _ in self._clock.looks(timeout, first_pause=FIRST_LOOK_SECONDS,
                                   longest_pause=LONGEST_LOOK_SECONDS):
            try:
                image = self._wire.look(image_id)
            except errors.ImageServiceUnavailable as exc:
                failure = exc
                continue
            if image is None:
                raise errors.ImageGone(
                    call='add a location', image_id=image_id, status=None,
                    reason='it is not there any more')
            if image.status == 'active' or (
                    image.status == 'queued'
                    and WORKING not in image.properties):
                return image
            failure = errors.ImageStuck(
                call='add a location', image_id=image_id, status=None,
                image_status=image.status, reason='Glance is at work on it')
        assert failure is not None
        raise failure
