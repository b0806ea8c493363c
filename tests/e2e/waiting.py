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

"""Wait for what an API says: a look costs it a hundred milliseconds."""

import collections.abc
import typing as ty

from tests.lab import process

# Seconds between two looks.
POLL = 0.3

Found = ty.TypeVar('Found')


def wait_until(look: collections.abc.Callable[[], Found], *, timeout: float,
               what: str, poll: float = POLL) -> Found:
    """Look until there is something to see, and return it.

    :param timeout: seconds
    :raises LabError: when there is nothing in time
    """
    return process.wait_until(look, timeout=timeout, what=what, poll=poll)
