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

"""What a stream of bytes looks like to those who do not make it.

Interfaces alone: :mod:`nova_snap.transfer` has what reads,
:mod:`nova_snap.services` what sends, and neither knows the other.
"""

import collections.abc as cabc
import types
import typing as ty

# Called with bytes done and bytes in all, after each read.
Progress: ty.TypeAlias = cabc.Callable[[int, int], None]


class Reader(ty.Protocol):
    """One pass over a source, from its first byte."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end."""

    def sha512(self) -> str:
        """Return the hash of the whole pass, in hex; asked at its end.

        Of one that is hashed alone.
        """

    def __enter__(self) -> 'Reader':
        """Return itself."""

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: types.TracebackType | None, /) -> None:
        """Close."""


class Source(ty.Protocol):
    """Bytes that can be read from the first one, any number of times."""

    @property
    def size_bytes(self) -> int:
        """How many there are, known before the first is read."""

    def open(self, *, progress: Progress | None = None,
             is_hashed: bool = True) -> Reader:
        """Begin at byte 0, whatever was read before.

        :param is_hashed: the pass has a hash, which costs half of its
            processor time
        """

    def digest(self, algorithm: str) -> str | None:
        """Read everything for another hash; None for one not known here."""
