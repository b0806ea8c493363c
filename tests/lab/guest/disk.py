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

"""Root disks for the lab's guests, in every shape that Nova makes."""

import collections.abc
import dataclasses
import json
import pathlib

import libvirt
import libvirt_qemu

from nova_snap import units
from tests.lab import errors
from tests.lab.guest import build as guest_build
from tests.lab import place
from tests.lab import process

# The part of the disk with the partition table; see qcow2-chain-of-3.
BOOT_RECORD_SIZE = 512

# Where a guest that has one writes its load, behind the partitions. It begins
# with data: what is overwritten has to be kept, which zeros need not.
LOAD_OFFSET = 256 * units.MiB
LOAD_SIZE = 16 * units.MiB
# A word for the guest's kernel (see load.c): 64 KiB to a random place, and
# again after ten milliseconds, which is six MiB a second at most.
LOAD = f'{LOAD_OFFSET // units.MiB},{LOAD_SIZE // units.MiB},64,10000'


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk and the chain of files below it.

    :ivar driver_format: in libvirt's XML; never to be probed
    :ivar backing: the files below, the nearest first, with their formats
    """

    path: pathlib.Path
    driver_format: str
    backing: tuple[tuple[pathlib.Path, str], ...] = ()


def make_disk(folder: pathlib.Path, kind: str) -> Disk:
    """Make a bootable root disk that was never used.

    :param folder: made when missing; its files are ``disk``, ``base`` and
        ``middle``
    :param kind: a key of KINDS. In the chain of three the middle file holds
        the partition table alone and the base everything else: a copy that
        forgets one of them does not boot.
    :raises LabError: for another kind, or when qemu-img fails
    """
    if kind not in KINDS:
        raise errors.LabError(f'no disk kind {kind}: {", ".join(KINDS)}')
    place.make_dir(folder)
    return KINDS[kind](folder, guest_build.parts().root_disk)


def add_load(path: pathlib.Path, image_format: str) -> None:
    """Make room for the load of a guest at the end of its disk."""
    size = LOAD_OFFSET + LOAD_SIZE
    process.run(['qemu-img', 'resize', '-q', '-f', image_format, str(path),
                 str(size)])
    process.run(['qemu-io', '-f', image_format, '-c',
                 f'write -q -P 1 {LOAD_OFFSET} {LOAD_SIZE}', str(path)])


def ask_qemu_io(domain: libvirt.virDomain, words: str) -> None:
    """Let the QEMU of a guest do something to its disk, as the guest might.

    :param words: a command of qemu-io's
    """
    blocks = json.loads(libvirt_qemu.qemuMonitorCommand(
        domain, '{"execute": "query-block"}', 0))['return']
    device = next(one['qdev'] for one in blocks if one.get('inserted'))
    libvirt_qemu.qemuMonitorCommand(
        domain, f'qemu-io -d {device} "{words}"',
        libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)


def make_overlay(path: pathlib.Path, base: pathlib.Path,
                 base_format: str) -> None:
    """Make an empty qcow2 file on top of another."""
    process.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', str(base),
                 '-F', base_format, str(path)])


def _convert(source: pathlib.Path, target: pathlib.Path,
             target_format: str) -> None:
    process.run(['qemu-img', 'convert', '-f', 'raw', '-O', target_format,
                 str(source), str(target)])


def _make_raw(folder: pathlib.Path, source: pathlib.Path) -> Disk:
    disk = folder / 'disk'
    _convert(source, disk, 'raw')
    return Disk(disk, 'raw')


def _make_qcow2(folder: pathlib.Path, source: pathlib.Path) -> Disk:
    disk = folder / 'disk'
    _convert(source, disk, 'qcow2')
    return Disk(disk, 'qcow2')


def _make_on_raw_base(folder: pathlib.Path, source: pathlib.Path) -> Disk:
    base, disk = folder / 'base', folder / 'disk'
    _convert(source, base, 'raw')
    make_overlay(disk, base, 'raw')
    return Disk(disk, 'qcow2', ((base, 'raw'),))


def _make_chain(folder: pathlib.Path, source: pathlib.Path) -> Disk:
    base, middle, disk = folder / 'base', folder / 'middle', folder / 'disk'
    _convert(source, base, 'qcow2')
    process.run(['qemu-io', '-f', 'qcow2', '-c',
                 f'write -z 0 {BOOT_RECORD_SIZE}', str(base)])
    make_overlay(middle, base, 'qcow2')
    record = folder / 'boot-record'
    with source.open('rb') as disk_file:
        record.write_bytes(disk_file.read(BOOT_RECORD_SIZE))
    process.run(['qemu-io', '-f', 'qcow2', '-c',
                 f'write -s {record} 0 {BOOT_RECORD_SIZE}', str(middle)])
    record.unlink()
    make_overlay(disk, middle, 'qcow2')
    return Disk(disk, 'qcow2', ((middle, 'qcow2'), (base, 'qcow2')))


KINDS: dict[str, collections.abc.Callable[
    [pathlib.Path, pathlib.Path], Disk]] = {
        'raw': _make_raw,
        'qcow2': _make_qcow2,
        'qcow2-on-raw-base': _make_on_raw_base,
        'qcow2-chain-of-3': _make_chain,
}
