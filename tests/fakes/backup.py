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

"""A backup job: disks at one moment, and what the guest overwrites since."""

import dataclasses
import os
import pathlib

import libvirt
from lxml import etree

from tests.fakes import disk as fake_disk
from tests.fakes import refusal


@dataclasses.dataclass
class BackupLife:
    """How backup jobs of a guest will go.

    :ivar ends_after: looks from the abort until it has ended; None is never
    :ivar is_denied: QEMU is not let make its socket, in spite of its mode
    """

    ends_after: int | None = 1
    is_denied: bool = False


@dataclasses.dataclass
class FakeBackup:
    """One job.

    :ivar disks: the content and size of each at the start, by target
    :ivar bitmaps: what it serves of changes, by target
    :ivar is_full: a scratch file cannot grow: the guest's write waits
    """

    xml: str
    socket: str
    scratches: list[str]
    disks: dict[str, tuple[fake_disk.Clusters, int]]
    life: BackupLife
    bitmaps: dict[str, str] = dataclasses.field(default_factory=dict)
    is_ending: bool = False
    is_full: bool = False
    _looks_at_end: int = 0

    def look(self) -> bool:
        """Tell whether it is still there; an end takes some looks."""
        if not self.is_ending:
            return True
        self._looks_at_end += 1
        return (self.life.ends_after is None
                or self._looks_at_end <= self.life.ends_after)

    def leave(self) -> None:
        """Remove what QEMU made; the scratch files were there before."""
        pathlib.Path(self.socket).unlink(missing_ok=True)


def _refuse_other_scratch(path: str, size: int) -> None:
    """Refuse a scratch file that is not as its disk is.

    :param size: of the disk, bytes
    """
    if not os.path.exists(path):
        raise refusal.refusal(
            libvirt.VIR_ERR_SYSTEM_ERROR,
            f"Cannot access storage file '{path}': No such file or directory")
    if fake_disk.DiskFile.load(path).virtual_size != size:
        raise refusal.refusal(
            libvirt.VIR_ERR_INTERNAL_ERROR, 'internal error: unable to '
            "execute QEMU command 'transaction': Source and target image "
            'have different sizes')


def begin(xml: str, disks: dict[str, tuple[fake_disk.Clusters, int]],
          life: BackupLife) -> FakeBackup:
    """Start a job, or refuse it as libvirt and QEMU do.

    :param disks: of the guest, by target
    """
    root = etree.fromstring(xml)
    assert root.get('mode') == 'pull'
    socket = root.find('./server').get('socket')
    scratches = []
    wanted = {}
    for disk in root.findall('./disks/disk'):
        name = disk.get('name')
        if name not in disks:
            raise refusal.refusal(
                libvirt.VIR_ERR_INVALID_ARG, 'invalid argument: no disk '
                f"named '{name}'")
        assert disk.get('exportname') == name
        scratches.append(disk.find('./scratch').get('file'))
        wanted[name] = disks[name]
    if not os.path.isdir(os.path.dirname(socket)):
        raise refusal.refusal(
            libvirt.VIR_ERR_SYSTEM_ERROR, 'failed to create image file '
            f"'{scratches[0]}': No such file or directory")
    if life.is_denied:
        raise refusal.refusal(
            libvirt.VIR_ERR_INTERNAL_ERROR, 'internal error: unable to '
            "execute QEMU command 'nbd-server-start': Failed to bind socket "
            f'to {socket}: Permission denied')
    for path, (_, size) in zip(scratches, wanted.values(), strict=True):
        _refuse_other_scratch(path, size)
    pathlib.Path(socket).touch()
    return FakeBackup(xml, socket, scratches, wanted,
                      dataclasses.replace(life), {
                          disk.get('name'): disk.get('exportbitmap')
                          for disk in root.findall('./disks/disk')
                          if disk.get('exportbitmap')})
