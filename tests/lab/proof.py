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

"""Is an image the disk as it was at one instant? Say so, or say where not.

The guest's recorder writes numbered records to the second partition, each
durable before the console reports it, and reported before the next is
written. So an image of one instant holds the newest records up to N without a
gap (see ``records.py``), and N lies between what the console had reported
before that instant and one more than what it had reported after it.

Only qemu-img is asked, always with the format said and, for what came from
outside, with the backing file switched off. The guest's word on the same
image is in ``tests/lab/guest/copy.py``.
"""

import collections.abc
import contextlib
import json
import pathlib
import struct
import subprocess
import tempfile
import typing as ty

from tests.lab import errors
from tests.lab import process
from tests.lab import records

SECTOR = 512

# In the master boot record: four entries of 16 bytes, each with the first
# sector and their number at 8 and 12.
PARTITION_TABLE = 446
PARTITION_ENTRY = struct.Struct('<8xII')
EXT4_PARTITION = 0
RECORD_PARTITION = 1

# In the ext4 superblock, 1024 bytes into the file system.
SUPERBLOCK = 1024
SUPERBLOCK_SIZE = 1024
EXT4_MAGIC = 0xef53
EXT4_MAGIC_OFFSET = 0x38
EXT4_STATE_OFFSET = 0x3a
EXT4_STATE_ERRORS = 0x2
EXT4_INCOMPAT_OFFSET = 0x60
EXT4_NEEDS_RECOVERY = 0x4

# Formats that "qemu-img check" knows.
CHECKED_FORMATS = ('qcow2', 'vdi', 'vmdk')


def read_records(image: pathlib.Path | str, fmt: str, *,
                 backing: bool = False) -> list[records.Slot]:
    """Read the record area of an image.

    :param fmt: qemu's name of the format; never probed
    :param backing: follow the backing file, as for a guest's own disk
    :raises LabError: when qemu-img cannot read it
    :raises ProofFailed: when it has no partition table
    """
    with _as_raw(image, fmt, backing=backing) as raw:
        start, size = _partition(raw, RECORD_PARTITION)
        raw.seek(start)
        return records.parse_slots(raw.read(records.RECORD_SIZE)
                           for _ in range(size // records.RECORD_SIZE))


def check_instant(last: int, *, reported_before: int,
                  reported_after: int) -> None:
    """Check that an image ends where the guest was.

    :param reported_before: last record on the console before the instant
    :param reported_after: last record on the console after it
    :raises ProofFailed: when the image is older or newer than that
    """
    if last < reported_before:
        raise errors.ProofFailed(
            f'the image ends with record {last}, but record '
            f'{reported_before} was durable before the snapshot')
    if last > reported_after + 1:
        raise errors.ProofFailed(
            f'the image ends with record {last}, but the guest had reported '
            f'no more than {reported_after} after the snapshot')


def assert_point_in_time(image: pathlib.Path | str, fmt: str, *,
                         reported_before: int, reported_after: int) -> int:
    """Prove that an image is the disk at one instant between two reports.

    Take ``reported_before`` from the console before the operation's point in
    time, ``reported_after`` once that is surely over.

    :returns: the last record in the image
    :raises ProofFailed: saying what is wrong
    """
    last = records.check_sequence(read_records(image, fmt))
    check_instant(last, reported_before=reported_before,
                  reported_after=reported_after)
    return last


def find_references(info: ty.Mapping[str, ty.Any]) -> list[str]:
    """List the files that an image refers to, from qemu-img's ``info``."""
    found = [f'{key} {info[key]}'
             for key in ('backing-filename', 'full-backing-filename')
             if info.get(key)]
    specific = info.get('format-specific', {})
    data = specific.get('data', {})
    if data.get('data-file'):
        found.append(f'data-file {data["data-file"]}')
    if specific.get('type') == 'vmdk':
        found += [f'extent {extent["filename"]}'
                  for extent in data.get('extents', ())
                  if extent['filename'] != info.get('filename')]
    return found


def assert_sound(image: pathlib.Path | str, fmt: str) -> None:
    """Prove that an image stands alone and that its metadata are whole.

    :raises ProofFailed: when it refers to another file or qemu-img check
        finds an error
    """
    info = json.loads(process.run(['qemu-img', 'info', '-f', fmt,
                                   '--output=json', str(image)]))
    references = find_references(info)
    if references:
        raise errors.ProofFailed(f'{image} refers to {", ".join(references)}')
    if fmt in CHECKED_FORMATS:
        done = subprocess.run(['qemu-img', 'check', '-q', '-f', fmt,
                               str(image)], capture_output=True, text=True)
        if done.returncode:
            raise errors.ProofFailed(f'qemu-img check {image}: '
                                     f'{done.stdout}{done.stderr}')


def compressed_clusters(image: pathlib.Path) -> int:
    """Count the clusters of a qcow2 file that are compressed."""
    checked = json.loads(process.run([
        'qemu-img', 'check', '-f', 'qcow2', '--output=json', str(image)]))
    return int(checked.get('compressed-clusters', 0))


def superblock_is_clean(superblock: bytes) -> bool:
    """Tell whether an ext4 needs no journal replay and knows no error.

    A file system that is mounted needs a replay unless it is frozen.

    :raises ProofFailed: when this is no ext4 superblock
    :source: fs/ext4/ext4.h (struct ext4_super_block); ext4_freeze() clears
        the flag
    """
    (magic,) = struct.unpack_from('<H', superblock, EXT4_MAGIC_OFFSET)
    if magic != EXT4_MAGIC:
        raise errors.ProofFailed('there is no ext4 file system')
    (state,) = struct.unpack_from('<H', superblock, EXT4_STATE_OFFSET)
    (incompat,) = struct.unpack_from('<I', superblock, EXT4_INCOMPAT_OFFSET)
    return not (incompat & EXT4_NEEDS_RECOVERY or state & EXT4_STATE_ERRORS)


def ext4_is_clean(image: pathlib.Path | str, fmt: str, *,
                  backing: bool = False) -> bool:
    """Tell whether the image's ext4 mounts without a journal replay.

    :raises ProofFailed: when there is no ext4 in the first partition
    """
    with _as_raw(image, fmt, backing=backing) as raw:
        start, _ = _partition(raw, EXT4_PARTITION)
        raw.seek(start + SUPERBLOCK)
        return superblock_is_clean(raw.read(SUPERBLOCK_SIZE))


def assert_same_content(image: pathlib.Path | str, fmt: str,
                        other: pathlib.Path | str, other_fmt: str) -> None:
    """Prove that two images hold the same bytes, backing files included.

    :raises ProofFailed: with qemu-img's word on the first difference
    """
    done = subprocess.run(
        ['qemu-img', 'compare', '-f', fmt, '-F', other_fmt, str(image),
         str(other)], capture_output=True, text=True)
    if done.returncode:
        raise errors.ProofFailed(f'{image} is not {other}: '
                                 f'{done.stdout}{done.stderr}'.strip())


@contextlib.contextmanager
def _as_raw(image: pathlib.Path | str, fmt: str, *,
            backing: bool) -> collections.abc.Iterator[ty.BinaryIO]:
    """Open an image's content, whatever its format."""
    if fmt == 'raw':
        with open(image, 'rb') as raw:
            yield raw
        return
    options = {'driver': fmt,
               'file': {'driver': 'file', 'filename': str(image)}}
    if fmt == 'qcow2' and not backing:
        options['backing'] = None  # type: ignore[assignment]
    with tempfile.NamedTemporaryFile(dir=pathlib.Path(image).parent,
                                     prefix='proof-') as content:
        process.run(['qemu-img', 'convert', '-O', 'raw',
                     f'json:{json.dumps(options)}', content.name])
        yield ty.cast(ty.BinaryIO, content)


def _partition(raw: ty.BinaryIO, index: int) -> tuple[int, int]:
    """Return where a partition starts and how long it is, in bytes."""
    raw.seek(0)
    record = raw.read(SECTOR)
    if record[-2:] != b'\x55\xaa':
        raise errors.ProofFailed('there is no partition table')
    start, size = PARTITION_ENTRY.unpack_from(
        record, PARTITION_TABLE + index * PARTITION_ENTRY.size)
    return start * SECTOR, size * SECTOR
