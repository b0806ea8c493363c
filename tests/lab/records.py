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

"""The record area that the guest's recorder fills, read from outside.

Record i lies in slot i of a device; after the last slot the first is next, so
that a guest can write for as long as it runs. So a device of n slots as it
was at one instant holds the last n records, each in its slot, and before the
first lap is over nothing in the rest. The layout of a record is in
``guest/recorder.c``; the guest's own word is in ``guest/copy.py``.
"""

import collections.abc
import dataclasses
import pathlib
import struct
import zlib

from tests.lab import errors

RECORD_SIZE = 4096
MAGIC = b'NSRECORD'
# Magic, number, CRC-32, boot id.
RECORD_HEAD = struct.Struct('<8sQI40s')
CRC_OFFSET = 16
EMPTY = bytes(RECORD_SIZE)


@dataclasses.dataclass(frozen=True)
class Slot:
    """What one slot of the record area holds.

    :ivar number: None when it holds no valid record
    :ivar empty: nothing but zeros
    """

    number: int | None
    empty: bool = False
    boot_id: str = ''


def make_record(number: int, boot_id: str = '') -> bytes:
    """Make a record as the guest does, for tests of this file."""
    head = RECORD_HEAD.pack(MAGIC, number, 0, boot_id.encode())
    noise = (number.to_bytes(8, 'little') * RECORD_SIZE)
    block = bytearray((head + noise)[:RECORD_SIZE])
    block[CRC_OFFSET:CRC_OFFSET + 4] = zlib.crc32(block).to_bytes(4, 'little')
    return bytes(block)


def parse_slot(block: bytes) -> Slot:
    """Read one slot; a damaged record has no number."""
    if block == EMPTY:
        return Slot(None, empty=True)
    magic, number, crc, boot_id = RECORD_HEAD.unpack_from(block)
    bare = block[:CRC_OFFSET] + bytes(4) + block[CRC_OFFSET + 4:]
    if magic != MAGIC or crc != zlib.crc32(bare):
        return Slot(None)
    return Slot(number, boot_id=boot_id.rstrip(b'\0').decode())


def parse_slots(area: collections.abc.Iterable[bytes]) -> list[Slot]:
    """Read all slots of a record area, given block by block."""
    return [parse_slot(block) for block in area]


def read_device(image: pathlib.Path, slots: int) -> list[Slot]:
    """Read the first slots of a raw image that is a record area as a whole."""
    with image.open('rb') as raw:
        return parse_slots(raw.read(RECORD_SIZE) for _ in range(slots))


def interleave(areas: collections.abc.Sequence[
        collections.abc.Sequence[Slot]]) -> list[Slot]:
    """Put areas that were written in turn into the order of writing."""
    return [slot for turn in zip(*areas, strict=True) for slot in turn]


def renumber(area: collections.abc.Iterable[Slot], first: int,
             step: int) -> list[Slot]:
    """Number the records of one of several areas as if it were alone.

    One that belongs to another area counts as damaged.
    """
    return [slot if slot.number is None else dataclasses.replace(
        slot, number=None if (slot.number - first) % step
        else (slot.number - first) // step) for slot in area]


def check_sequence(slots: collections.abc.Sequence[Slot]) -> int:
    """Check that the area holds the newest records up to one, and only them.

    So each slot holds the last record that belongs there, and is empty where
    there is none yet.

    :returns: the last record; -1 where there is none at all
    :raises ProofFailed: naming the first slot that is wrong
    """
    last = max((slot.number for slot in slots if slot.number is not None),
               default=-1)
    for place, slot in enumerate(slots):
        wanted = last - (last - place) % len(slots)
        if slot.empty:
            if wanted >= 0:
                raise errors.ProofFailed(
                    f'slot {place} is empty, but record {wanted} belongs '
                    f'there: the last one is {last}')
        elif slot.number is None:
            raise errors.ProofFailed(f'slot {place} holds a damaged record')
        elif slot.number != wanted:
            raise errors.ProofFailed(
                f'slot {place} holds record {slot.number}, but record '
                f'{wanted} belongs there: the last one is {last}')
    return last
