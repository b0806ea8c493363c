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

"""Which parts of a disk hold data, and which read as zeros.

Pure: where the extents come from is not known here.
"""

import array
import collections.abc as cabc
import dataclasses
import typing as ty


@dataclasses.dataclass(frozen=True, slots=True)
class Extent:
    """A part of a disk, in bytes.

    :ivar is_zero: it reads as zeros and need not be read
    """

    offset: int
    length: int
    is_zero: bool

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length


class Extents(cabc.Sequence[Extent]):
    """The extents of a disk without a gap, data and zeros by turns.

    Eight bytes each: a disk may have a million of them.
    """

    def __init__(self) -> None:
        self._ends = array.array('Q')
        self._first_is_zero = False

    @property
    def end(self) -> int:
        """The offset of the first byte behind the last one."""
        return self._ends[-1] if self._ends else 0

    def append(self, end: int, *, is_zero: bool) -> None:
        """Add what follows; it is joined with a neighbour of its kind.

        :param end: behind that of the last one
        """
        if not self._ends:
            self._first_is_zero = is_zero
        elif self._is_zero(len(self._ends) - 1) == is_zero:
            self._ends[-1] = end
            return
        self._ends.append(end)

    def __len__(self) -> int:
        return len(self._ends)

    @ty.overload
    def __getitem__(self, index: int) -> Extent:
        ...

    @ty.overload
    def __getitem__(self, index: slice) -> list[Extent]:
        ...

    def __getitem__(self, index: int | slice) -> Extent | list[Extent]:
        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        place = range(len(self))[index]
        offset = self._ends[place - 1] if place else 0
        return Extent(offset, self._ends[place] - offset,
                      self._is_zero(place))

    def __iter__(self) -> cabc.Iterator[Extent]:
        offset, is_zero = 0, self._first_is_zero
        for end in self._ends:
            yield Extent(offset, end - offset, is_zero)
            offset, is_zero = end, not is_zero

    def _is_zero(self, place: int) -> bool:
        return self._first_is_zero != bool(place % 2)


def merge(found: cabc.Iterable[Extent], size_bytes: int, *,
          most: int | None = None) -> Extents:
    """Join neighbours of one kind, and check that the whole disk is there.

    A disk of no bytes has no extents.

    :param found: in the order of their offsets
    :param size_bytes: of the disk
    :param most: return no more extents than this, at least 1: the shortest
        zeros become data, which costs their reading and is never wrong
    :raises ValueError: when one is empty, when two overlap or leave a gap,
        and when the last one does not end where the disk ends
    """
    merged = Extents()
    for extent in found:
        if extent.offset != merged.end or extent.length <= 0:
            raise ValueError(f'{extent} follows what ends at {merged.end}')
        merged.append(extent.end, is_zero=extent.is_zero)
        # Twice as many: the shortest are looked for once in a while.
        if most is not None and len(merged) > 2 * most:
            merged = _coarsen(merged, most)
    if merged.end != size_bytes:
        raise ValueError(f'the extents end at {merged.end}, the disk at '
                         f'{size_bytes}')
    return merged if most is None else _coarsen(merged, most)


def _coarsen(merged: Extents, most: int) -> Extents:
    """Read some zeros as well, the shortest first, to have few extents.

    Those of up to one length, then of up to twice that, and so on: to sort
    a million of them takes more memory than they do.
    """
    limit = 0
    while (too_many := len(merged) - most) > 0:
        limit = 2 * limit or min(extent.length for extent in merged
                                 if extent.is_zero)
        merged = _read_zeros(merged, limit, too_many)
    return merged


def _read_zeros(merged: Extents, limit: int, too_many: int) -> Extents:
    """Let zeros of up to this length be data, until few enough are left."""
    coarse = Extents()
    last = len(merged) - 1
    for place, extent in enumerate(merged):
        is_zero = extent.is_zero
        if is_zero and too_many > 0 and extent.length <= limit:
            is_zero = False
            # A zero in the middle takes one of its neighbours with it, one
            # at an edge of the disk does not.
            too_many -= 2 if 0 < place < last else 1
        coarse.append(extent.end, is_zero=is_zero)
    return coarse


class Changes(cabc.Iterable[Extent]):
    """The parts of a disk that have changed, as often as it is asked.

    :param found: of the whole disk, in order
    :param unchanged: likewise; what is no zero here has changed
    """

    def __init__(self, found: cabc.Sequence[Extent],
                 unchanged: cabc.Sequence[Extent]) -> None:
        self._found = found
        self._unchanged = unchanged

    def __iter__(self) -> cabc.Iterator[Extent]:
        """Yield each, divided where its data end or begin."""
        ranges = (extent for extent in self._unchanged
                  if not extent.is_zero)
        wanted = next(ranges, None)
        for extent in self._found:
            while wanted is not None and wanted.offset < extent.end:
                begin = max(wanted.offset, extent.offset)
                end = min(wanted.end, extent.end)
                if begin < end:
                    yield Extent(begin, end - begin, extent.is_zero)
                if wanted.end > extent.end:
                    break
                wanted = next(ranges, None)
