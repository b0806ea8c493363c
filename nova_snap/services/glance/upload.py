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

"""The data of one image on its way to Glance.

::

    attempt --- accepted ---------------------------> active --> compare
       ^   `--- broken off --> look until it is  .-->   |
       |                       queued or active -'
       `------- queued: from byte 0 ----------'

Upstream hands the same open file to each attempt. The second one sends what
the first had left, Glance makes an active image of it, and Nova does
not compare.
"""

import collections.abc as cabc
import http
import time

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors
from nova_snap.model import disk_work as disk_work_model
from nova_snap.model import image as image_model
from nova_snap.model import stream
from nova_snap.services.glance import wire as wire_module
from nova_snap.services import retry
from nova_snap.services import sessions
from nova_snap import units

LOG = logging.getLogger(__name__)

# The hash that is computed while the data goes out, which is the one that
# Glance keeps unless its operator says otherwise.
# :source: glance/common/config.py hashing_algorithm
OUR_ALGORITHM = 'sha512'

# Seconds between two looks at an image that is to become queued or active:
# Glance mostly lets go at once, or else after a minute or more. Each wait is
# twice as long as the one before.
FIRST_LOOK_SECONDS = 0.25
LONGEST_LOOK_SECONDS = 4.0

# What Glance mostly needs to let go of an image; a longer wait is said.
SAID_AFTER_SECONDS = 1.0

# What a slow store takes. It may be at data that Glance has, and what is sent
# again takes as long.
SLOW_BYTES_PER_SECOND = units.MiB

_GONE = frozenset({'deleted', 'pending_delete'})
UNDER_WAY = frozenset({'queued', 'saving'})


class Upload:
    """All attempts to send one image."""

    def __init__(self, wire: wire_module.Wire, image_id: str,
                 source: stream.Source, *, policy: sessions.Policy,
                 clock: clock_module.Clock,
                 is_replaceable: bool = False,
                 disk_work: disk_work_model.DiskWork) -> None:
        """Remember what is sent.

        :param is_replaceable: the data can be sent to another image, so that
            this one is not worth a long wait
        :param disk_work: runs each pass over the source
        """
        self._wire = wire
        self._image_id = image_id
        self._source = source
        self._policy = policy
        self._clock = clock
        self._is_replaceable = is_replaceable
        self._disk_work = disk_work
        self._ended = 'Glance has taken all of it'
        self._sha512: str | None = None
        self._all_sent = False
        self._renewed = False

    def run(self, progress: stream.Progress | None) -> image_model.Image:
        """Send and compare; the errors are those of Images.upload()."""
        attempts = retry.Attempts(self._policy.num_retries, self._clock)
        while True:
            try:
                self._send(progress)
            except errors.ImageServiceError as exc:
                self._raise_if_final(exc)
                self._ended = exc.reason
                image = self._settled({'active', 'queued'})
                LOG.warning('The upload of image %s broke off and left it '
                            '%s: %s', self._image_id, image.status, exc)
                if image.status == 'queued':
                    attempts.failed(exc)
                    continue
            else:
                image = self._settled({'active'})
            self._compare(image)
            return image

    def _send(self, progress: stream.Progress | None) -> None:
        with self._wire.sender(self._image_id) as put:
            self._disk_work(self._pass, put, progress)

    def _pass(self, put: wire_module.Put,
              progress: stream.Progress | None) -> None:
        """Read the source once, and send what is read."""
        is_hashed = self._policy.verify
        with self._source.open(progress=progress,
                               is_hashed=is_hashed) as reader:
            body = wire_module.Body(reader.read, self._source.size_bytes)
            self._all_sent = False
            try:
                put(body)
            finally:
                if body.sent == self._source.size_bytes:
                    self._all_sent = True
                    self._sha512 = reader.sha512() if is_hashed else None

    def _raise_if_final(self, exc: errors.ImageServiceError) -> None:
        """Raise what another attempt cannot better."""
        if isinstance(exc, errors.ImageServiceUnavailable):
            return
        if exc.status == http.HTTPStatus.CONFLICT:
            # An attempt we believed dead is still in Glance's hands.
            return
        if exc.status == http.HTTPStatus.UNAUTHORIZED and not self._renewed:
            # The token ran out; keystoneauth was told not to send again.
            self._renewed = True
            if self._wire.renew():
                return
        if isinstance(exc, errors.ImageGone) and self._wire.look(
                self._image_id) is not None:
            # Glance says "gone" of a store that takes no images, too.
            # :source: glance/api/v2/image_data.py, StoreAddDisabled
            raise errors.ImageServiceError(
                call=exc.call, status=exc.status, reason=exc.reason,
                image_id=exc.image_id) from exc
        raise exc

    def _settled(self, wanted: cabc.Set[str]) -> image_model.Image:
        """Wait until the image has one of these states.

        :raises ImageStuck: when it takes too long
        :raises ImageServiceUnavailable: when Glance stays silent
        :raises ImageGone: when it was deleted
        :raises ImageServiceError: when it got a state that ends there
        """
        patience = self._patience()
        waited = self._clock.stopwatch()
        stuck: clock_module.Stopwatch | None = None
        is_said = False
        failure: errors.ImageServiceError | None = None
        for _ in self._clock.looks(patience, first_pause=FIRST_LOOK_SECONDS,
                                   longest_pause=LONGEST_LOOK_SECONDS):
            try:
                image = self._wire.look(self._image_id)
            except errors.ImageServiceUnavailable as exc:
                failure = exc
                continue
            if image is not None and image.status in wanted:
                return image
            failure = self._stuck(image)
            left = patience - waited.seconds()
            if self._is_replaceable:
                # From the first of these answers on.
                stuck = stuck or self._clock.stopwatch()
                left = min(left, self._let_go() - stuck.seconds())
            if left <= 0:
                break
            if waited.seconds() > SAID_AFTER_SECONDS and not is_said:
                is_said = True
                self._say(failure, left)
        assert failure is not None
        raise failure

    def _stuck(self, image: image_model.Image | None) -> errors.ImageStuck:
        """Return what is wrong with an image that Glance has to let go of.

        :raises ImageGone: when it was deleted
        :raises ImageServiceError: when it stays as it is
        """
        if image is None or image.status in _GONE:
            raise errors.ImageGone(
                call='upload', image_id=self._image_id, status=None,
                reason='it is not there any more')
        if image.status not in UNDER_WAY:
            raise errors.ImageServiceError(
                call='upload', image_id=self._image_id, status=None,
                reason=f'image {self._image_id} became {image.status} '
                       f'({self._ended})')
        return errors.ImageStuck(
            call='upload', image_id=self._image_id, status=None,
            image_status=image.status, reason=self._ended)

    def _let_go(self) -> float:
        """Return how long Glance may need where another image will do."""
        let_go = self._wire.timeouts.let_go
        if self._all_sent:
            let_go += self._source.size_bytes / SLOW_BYTES_PER_SECOND
        return let_go

    def _patience(self) -> float:
        """Return how long Glance may need to let go of the image.

        Who has all bytes may still be passing them on, and it is whole then.
        """
        timeouts = self._wire.timeouts
        if not self._all_sent:
            return timeouts.settle
        return max(timeouts.settle,
                   timeouts.after_last_byte(self._source.size_bytes))

    def _say(self, stuck: errors.ImageStuck, left: float) -> None:
        then = time.strftime('%H:%M:%S',
                             time.localtime(self._clock.time() + left))
        LOG.warning('The upload of image %s ended (%s), and the image is '
                    'still %s: waiting until %s (%d s) for Glance to let go '
                    'of it', self._image_id, stuck.reason,
                    stuck.image_status, then, left)

    def _compare(self, image: image_model.Image) -> None:
        """See that Glance has what the source has.

        :raises ImageCorrupt: when it has not
        """
        if image.size != self._source.size_bytes:
            self._raise_corrupt(f'it has {image.size} bytes instead of '
                                f'{self._source.size_bytes}')
        if not self._policy.verify:
            return
        for algorithm, theirs in ((image.hash_algo, image.hash_value),
                                  ('md5', image.checksum)):
            ours = algorithm and theirs and self._hash(algorithm)
            if ours:
                if ours != theirs:
                    self._raise_corrupt(
                        f'its {algorithm} is {theirs}, ours is {ours}')
                return
        LOG.warning('Glance keeps no hash of image %s that we can compute: '
                    'its size was compared, its content was not',
                    self._image_id)

    def _hash(self, algorithm: str) -> str | None:
        if algorithm == OUR_ALGORITHM and self._sha512 is not None:
            return self._sha512
        return self._disk_work(self._source.digest, algorithm)

    def _raise_corrupt(self, reason: str) -> None:
        raise errors.ImageCorrupt(call='upload', image_id=self._image_id,
                                  reason=reason, status=None)
