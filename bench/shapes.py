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


"""The shapes of guests' disks, and how one is made.

Each is a qcow2 file on a raw base, as Nova has it: the base holds most of
the data, the file what the guest changed. Behind the partitions of the lab's
guest comes an area that the guest writes to all the time, then the data, in
pieces of one size that are spread evenly over the rest of the disk.
"""

import collections.abc as cabc
import dataclasses
import itertools
import os
import pathlib
import random

import libvirt

from nova_snap import units
from tests.lab.guest import build as guest_build
from tests.lab.guest import disk as guest_disk
from tests.lab import place
from tests.lab import process
from tests.lab import records

# Where the area of the guest's load begins, and where the data.
LOAD_OFFSET = 256 * units.MiB
DATA_OFFSET = 512 * units.MiB

# Of qcow2, and what pieces are aligned to.
CLUSTER = 64 * units.KiB

# What --quick divides the data by.
QUICK = 8

# The kinds of pieces, in turn. Zeros are written, not left out.
KINDS = ('random', 'text', 'random', 'zeros', 'random', 'text', 'random',
         'text')
TEXT = b'The quick brown fox jumps over the lazy dog, %08x times.\n'

# As many as the guest's area of them has.
RECORDS = guest_build.RECORDS_SIZE // records.RECORD_SIZE

# The part of the data that changes between two images, and the bytes that
# change together.
CHANGED = 0.02
RUN = units.MiB

# Bytes that the data are cut out of.
POOL = 64 * units.MiB


@dataclasses.dataclass(frozen=True)
class Load:
    """What the guest writes all the time, behind its partitions.

    :ivar area: bytes
    :ivar block: bytes of one write
    :ivar pause: microseconds after each
    """

    area: int
    block: int
    pause: int

    @property
    def words(self) -> str:
        """A word for the guest's kernel; see tests/lab/guest/load.c."""
        return (f'{LOAD_OFFSET // units.MiB},{self.area // units.MiB},'
                f'{self.block // units.KiB},{self.pause}')


LIGHT = Load(16 * units.MiB, 4 * units.KiB, 5000)
HEAVY = Load(256 * units.MiB, 64 * units.KiB, 4000)


@dataclasses.dataclass(frozen=True)
class Shape:
    """One shape.

    :ivar title: in words
    :ivar virtual: the size of the disk, in bytes
    :ivar data: bytes of all pieces
    :ivar piece: bytes of one
    :ivar changed: each so-manieth piece was changed by the guest
    """

    name: str
    title: str
    virtual: int
    data: int
    piece: int
    changed: int
    load: Load = LIGHT

    def pieces(self) -> cabc.Iterator[tuple[int, str, bool]]:
        """Yield where each begins, of which kind it is, and if changed."""
        count = self.data // self.piece
        stride = (self.virtual - DATA_OFFSET) // count // CLUSTER * CLUSTER
        for number, kind in zip(range(count), itertools.cycle(KINDS)):
            yield (DATA_OFFSET + number * stride, kind,
                   number % self.changed == 0)

    def quick(self) -> 'Shape':
        """Return the same with less data."""
        return dataclasses.replace(
            self, name=f'{self.name}/{QUICK}', data=self.data // QUICK)


SHAPES = {shape.name: shape for shape in (
    Shape('mixed', '1.5 GiB of random bytes, text and written zeros in 4 GiB',
          4 * units.GiB, 1536 * units.MiB, 4 * units.MiB, changed=3),
    Shape('sparse', '1 GiB of data in 20 GiB',
          20 * units.GiB, units.GiB, 16 * units.MiB, changed=4),
    Shape('extents', '8192 extents of 64 KiB in 4 GiB',
          4 * units.GiB, 512 * units.MiB, 64 * units.KiB, changed=2),
    Shape('busy', 'as mixed, and the guest overwrites up to 16 MiB/s',
          4 * units.GiB, 1536 * units.MiB, 4 * units.MiB, changed=3,
          load=HEAVY),
)}

# For one shape at a time: many guests at once, and many snapshots in a row.
SMALL = Shape('small', '64 MiB of data in 1 GiB', units.GiB, 64 * units.MiB,
              units.MiB, changed=2)

SCALE = {shape.name: shape for shape in (
    Shape(f'scale-{size}', f'1 GiB of data in {size} GiB',
          size * units.GiB, units.GiB, units.MiB, changed=4)
    for size in (10, 100, 1024))}


def make(shape: Shape, bases: pathlib.Path,
         folder: pathlib.Path) -> guest_disk.Disk:
    """Make a disk that no guest has used.

    :param bases: where bases are kept, each made once
    :param folder: for the disk itself
    :raises LabError: when qemu-img fails
    """
    name = f'{shape.name.replace("/", "-")}-{shape.data}-{shape.virtual}'
    base = place.make_dir(bases) / f'{name}-{guest_build.lab_folder().name}'
    if not base.exists():
        unfinished = base.with_suffix('.new')
        process.run(['cp', '--sparse=always',
                     str(guest_build.parts().root_disk), str(unfinished)])
        fill(unfinished, shape, changed=False)
        unfinished.rename(base)
    disk = place.make_dir(folder) / 'disk'
    raw = folder / 'changed'
    fill(raw, shape, changed=True)
    process.run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2',
                 str(raw), str(disk)])
    raw.unlink()
    # What was not changed is in the base.
    process.run(['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', 'raw',
                 '-b', str(base), str(disk)])
    return guest_disk.Disk(disk, 'qcow2', ((base, 'raw'),))


def find(name: str) -> Shape:
    """Return the shape of this name, which may be a quick one."""
    name, is_quick, _ = name.partition('/')
    shape = {**SHAPES, **SCALE, SMALL.name: SMALL}[name]
    return shape.quick() if is_quick else shape


def change(domain: libvirt.virDomain, shape: Shape, seed: int) -> None:
    """Write over a part of the data, here and there.

    QEMU does, as if the guest did.
    """
    source = random.Random(seed)
    places = [offset for offset, _, _ in shape.pieces()]
    length = min(RUN, shape.piece)
    for _ in range(max(1, int(shape.data * CHANGED) // length)):
        at = source.choice(places) + source.randrange(
            shape.piece // length) * length
        guest_disk.ask_qemu_io(
            domain, f'write -P {source.randrange(256)} {at} {length}')


def evict(*paths: pathlib.Path) -> None:
    """Write files out and drop them from the host's page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def warm(path: pathlib.Path) -> None:
    """Read a file into the host's page cache."""
    with path.open('rb', buffering=0) as file:
        while file.read(units.MiB):
            pass


def fill(path: pathlib.Path, shape: Shape, *, changed: bool) -> None:
    """Write the pieces of one layer into a raw file."""
    source = random.Random(f'{shape.name} {changed}')
    pools = {
        'random': source.randbytes(POOL),
        'text': b''.join(TEXT % number for number in range(
            POOL // len(TEXT % 0) + 1)),
        'zeros': bytes(shape.piece)}
    with path.open('r+b' if path.exists() else 'w+b') as file:
        file.truncate(shape.virtual)
        for offset, kind, is_changed in shape.pieces():
            # The guest changes no piece to zeros.
            if changed and not is_changed:
                continue
            pool = pools['random' if changed else kind]
            start = source.randrange(len(pool) - shape.piece + 1)
            file.seek(offset)
            file.write(memoryview(pool)[start:start + shape.piece])
        if changed:
            # So that the guest allocates nothing more, and every image is as
            # big: its records are in their second lap.
            file.seek(guest_build.RECORDS_OFFSET)
            for number in range(RECORDS):
                file.write(records.make_record(number))
            file.seek(LOAD_OFFSET)
            for _ in range(shape.load.area // units.MiB):
                file.write(source.randbytes(units.MiB))
