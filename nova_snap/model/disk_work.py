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

"""Where what reads a whole image is run, which is for the door to say."""

import collections.abc as cabc
import typing as ty

Result = ty.TypeVar('Result')


class DiskWork(ty.Protocol):
    """How a door runs what reads a whole image."""

    def __call__(self, function: cabc.Callable[..., Result], /,
                 *args: ty.Any, **kwargs: ty.Any) -> Result:
        """Call the function where it may block.

        It must share no lock and no connection with anything outside, and
        call nothing of Nova's: see :mod:`nova_snap.driver.natively`.
        """


def run_now(function: cabc.Callable[..., Result], /, *args: ty.Any,
            **kwargs: ty.Any) -> Result:
    """Call the function at once, here."""
    return function(*args, **kwargs)
