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

"""A disk image in a few bytes: what a guest wrote, by cluster.

The file says of itself what a qcow2 header says. What it is worth as an
image is known exactly: two images are the same when their clusters are.
"""

import collections.abc as cabc
import dataclasses
import json
import pathlib

from nova_snap.model import first_bytes as first_bytes_model
from nova_snap.model import probe

Clusters = dict[str, str]

# The cluster that a disk begins with: its first bytes in hex.
FIRST = 'first'


@dataclasses.dataclass
class DiskFile:
    """One file.

    :ivar is_cut_short: its tables name more than it holds
    :ivar format: what it is, whatever a program takes it for
    :ivar bitmaps: their names, where no guest has them
    """

    format: str
    virtual_size: int
    backing: str | None = None
    backing_format: str | None = None
    data_file: str | None = None
    clusters: Clusters = dataclasses.field(default_factory=dict)
    is_cut_short: bool = False
    bitmaps: list[str] = dataclasses.field(default_factory=list)

    def save(self, path: str) -> None:
        """Write it."""
        pathlib.Path(path).write_bytes(self.to_bytes())

    def begin(self, first: bytes) -> None:
        """Let a raw disk begin so."""
        self.clusters[FIRST] = first.hex()

    def first_bytes(self) -> bytes:
        """Return how it begins for one who takes it for raw."""
        first = bytes.fromhex(self.clusters.get(FIRST, ''))
        return b'QFI\xfb' if self.format == 'qcow2' else first

    def to_bytes(self) -> bytes:
        """Return it as it lies on the disk."""
        return json.dumps(dataclasses.asdict(self)).encode()

    def head(self) -> bytes:
        """Return how a file of its format begins."""
        if self.format != 'qcow2':
            return b'\0' * probe.HEAD_BYTES
        return probe.QCOW2_HEADER.pack(
            first_bytes_model.QCOW2, max(probe.QCOW2_VERSIONS),
            1 if self.backing else 0, 0,
            probe.HAS_DATA_FILE if self.data_file else 0)

    @classmethod
    def from_bytes(cls, data: bytes) -> 'DiskFile':
        """Read it."""
        return cls(**json.loads(data))

    @classmethod
    def load(cls, path: str) -> 'DiskFile':
        """Read it."""
        return cls.from_bytes(pathlib.Path(path).read_bytes())


def commit(top: str, base: str) -> None:
    """Write what a layer has into the one below it."""
    below = DiskFile.load(base)
    below.clusters.update(DiskFile.load(top).clusters)
    below.save(base)


def rebase(path: str, backing: str, backing_format: str) -> None:
    """Name another backing file in a header, and change nothing else."""
    file = DiskFile.load(path)
    file.backing, file.backing_format = backing, backing_format
    file.save(path)


def is_address(path: str) -> bool:
    """Tell whether a backing file is no path, but an address."""
    return path.startswith(('json:', 'nbd:'))


def layers(path: str, file_format: str) -> cabc.Iterator[tuple[str, str]]:
    """Yield a file and what is below it, each with its format.

    :param file_format: what it is taken for: of what a guest wrote into a
        raw disk, nothing is believed
    """
    while True:
        yield path, file_format
        if is_address(path):
            return
        file = DiskFile.load(path)
        if file_format == 'raw' or file.backing is None:
            return
        # What a header does not name libvirt and QEMU look for in the file.
        path, file_format = file.backing, (
            file.backing_format or DiskFile.load(file.backing).format)


def content(path: str, file_format: str) -> Clusters:
    """Return what a guest sees that has this disk, all layers together."""
    clusters: Clusters = {}
    for layer, _ in reversed(list(layers(path, file_format))):
        clusters.update(DiskFile.load(layer).clusters)
    return clusters
