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

"""Which calls are made again, and how long after."""

import collections.abc as cabc
import dataclasses
import typing as ty

from oslo_log import log as logging

from nova_snap import clock as clock_module
from nova_snap import errors

LOG = logging.getLogger(__name__)

# Nova waits a second between attempts. Each further wait is twice as long:
# a service that is being restarted needs some ten of them.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

Result = ty.TypeVar('Result')


class Attempts:
    """How often one call is made, and the waits in between.

    :param num_retries: attempts after the first one
    """

    def __init__(self, num_retries: int, clock: clock_module.Clock) -> None:
        self._left = num_retries
        self._clock = clock
        self._pause = FIRST_PAUSE_SECONDS

    def failed(self, error: errors.ServiceError) -> None:
        """Wait before the next attempt.

        :raises ServiceError: the error itself, after the last attempt
        """
        if not self._left:
            raise error
        self._left -= 1
        LOG.warning('Trying again in %s s: %s', self._pause, error)
        self._clock.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


@dataclasses.dataclass(frozen=True)
class Retry:
    """What a silent service is worth.

    :ivar num_retries: attempts after the first one
    """

    num_retries: int
    clock: clock_module.Clock

    def call(self, ask: cabc.Callable[[], Result]) -> Result:
        """Ask, and ask again while the service is silent.

        Only for what may be done twice: it may have been done although the
        answer was lost.

        :raises ServiceError: as ``ask`` does; one that is Retriable only
            after the last attempt
        """
        attempts = Attempts(self.num_retries, self.clock)
        while True:
            try:
                return ask()
            except errors.ServiceError as exc:
                if not isinstance(exc, errors.Retriable):
                    raise
                attempts.failed(exc)
