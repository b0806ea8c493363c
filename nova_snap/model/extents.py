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

import collections.abc as cabc
import dataclasses


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


def merge(found: cabc.Iterable[Extent], size_bytes: int, *,
          most: int | None = None) -> list[Extent]:
    """Join neighbours of one kind, and check that the whole disk is there.

    No two neighbours in the list are of one kind. A disk of no bytes has no
    extents.

    :param found: in the order of their offsets
    :param size_bytes: of the disk
    :param most: return no more extents than this, at least 1: the shortest
        zeros become data, which costs their reading and is never wrong
    :raises ValueError: when one is empty, when two overlap or leave a gap,
        and when the last one does not end where the disk ends
    """
    merged: list[Extent] = []
    end = 0
    for extent in found:
        if extent.offset != end or extent.length <= 0:
            raise ValueError(f'{extent} follows what ends at {end}')
        end = extent.end
        _append(merged, extent)
        # Twice as many: the shortest are looked for once in a while.
        if most is not None and len(merged) > 2 * most:
            merged = _coarsen(merged, most)
    if end != size_bytes:
        raise ValueError(f'the extents end at {end}, the disk at '
                         f'{size_bytes}')
    return merged if most is None else _coarsen(merged, most)


def _append(merged: list[Extent], extent: Extent) -> None:
    if merged and merged[-1].is_zero == extent.is_zero:
        last = merged[-1]
        merged[-1] = Extent(last.offset, last.length + extent.length,
                            last.is_zero)
    else:
        merged.append(extent)


def _coarsen(merged: list[Extent], most: int) -> list[Extent]:
    """Read some zeros as well, the shortest first, to have few extents."""
    too_many = len(merged) - most
    if too_many <= 0:
        return merged
    zeros = sorted((index for index, extent in enumerate(merged)
                    if extent.is_zero), key=lambda at: merged[at].length)
    # A zero in the middle takes one of its neighbours with it, one at an edge
    # of the disk does not.
    edges = {0, len(merged) - 1}
    read: set[int] = set()
    for index in zeros:
        if too_many <= 0:
            break
        read.add(index)
        too_many -= 1 if index in edges else 2
    coarse: list[Extent] = []
    for index, extent in enumerate(merged):
        _append(coarse, dataclasses.replace(extent, is_zero=False)
                if index in read else extent)
    return coarse
