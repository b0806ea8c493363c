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

"""Build the guest: Debian's cloud kernel, an initramfs, a root disk.

Built once and kept in the lab's folder, under a name that is the hash of all
that goes in. Nothing is mounted and nothing installed: the packages are
unpacked, the file system is made by ``mke2fs -d``.
"""

import dataclasses
import hashlib
import os
import pathlib
import random
import shutil
import struct
import subprocess

from nova_snap import units
from tests.lab import errors
from tests.lab import place
from tests.lab import process

HERE = pathlib.Path(__file__).resolve().parent

# Of the folder of one guest; while it is built, a dot and the builder's pid
# follow the hash.
PREFIX = 'guest-'

# Files of this folder that go into the guest, and where.
PROGRAMS = {'init': 'init', 'shutdown': 'sbin/shutdown',
            'fsfreeze-hook': 'etc/fsfreeze-hook',
            'fsfreeze-refuse': 'etc/fsfreeze-refuse'}

# Those that are compiled.
SOURCES = ('recorder', 'load')

# The kernel package is what this one depends on.
KERNEL = 'linux-image-cloud-amd64'
PACKAGES = ('busybox-static', 'qemu-guest-agent')

# ext4 and the serial port are built in.
MODULES = ('virtio*.ko', 'button.ko', 'evdev.ko')

SECTOR = 512
# Where the first partition begins, as everywhere since 2010.
EXT4_OFFSET = units.MiB
EXT4_SIZE = 192 * units.MiB
# A ring of 8192 records of 4 KiB: one lap takes three minutes at 50 a second.
# So an image of a guest that has run for hours is no bigger than this.
RECORDS_OFFSET = EXT4_OFFSET + EXT4_SIZE
RECORDS_SIZE = 32 * units.MiB
DISK_SIZE = RECORDS_OFFSET + RECORDS_SIZE

# Random bytes cannot be compressed, zeros can: an image has both.
DATA_FILES = 4
DATA_SIZE = 4 * units.MiB
ZEROS_SIZE = 8 * units.MiB

BOOT_MAGIC = b'\x55\xaa'
LINUX_PARTITION = 0x83


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a guest is made of.

    :ivar root_disk: a raw, sparse disk that no guest has booted: copy it
    """

    kernel: pathlib.Path
    initrd: pathlib.Path
    root_disk: pathlib.Path


def parts() -> Parts:
    """Return the guest's parts; build them when they are not there yet.

    :raises LabError: when a package cannot be had or a tool fails; nothing
        half-built is left under the final name
    """
    folder = lab_folder()
    if not folder.exists():
        unfinished = folder.with_name(f'{folder.name}.{os.getpid()}')
        shutil.rmtree(unfinished, ignore_errors=True)
        place.make_dir(unfinished)
        try:
            _build(unfinished)
            try:
                unfinished.rename(folder)
            except OSError:
                # Another process was faster, with the same.
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return _parts_in(folder)


def lab_folder() -> pathlib.Path:
    """Name the folder of the guest that these sources make."""
    digest = hashlib.sha256()
    sources = [f'{name}.c' for name in SOURCES]
    for name in sorted((*PROGRAMS, *sources, 'build.py')):
        digest.update(name.encode() + b'\0')
        digest.update((HERE / name).read_bytes())
    return place.lab_dir() / f'{PREFIX}{digest.hexdigest()[:16]}'


def remove_old() -> list[pathlib.Path]:
    """Remove the folders of guests that other sources made.

    Those in use stay: what is being built, what a QEMU has been
    started with, and all of them as long as any lab runs, whose guests may be
    saved and started again.

    :returns: what was removed
    """
    lines = process.command_lines().values()
    if any(place.PID_FILE in line for line in lines):
        return []
    removed = []
    for folder in sorted(place.lab_dir().glob(f'{PREFIX}*')):
        builder = folder.name.partition('.')[2]
        is_built = builder.isdecimal() and process.start_ticks(int(builder))
        is_used = any(f'{folder}/' in line for line in lines)
        if folder == lab_folder() or is_built or is_used:
            continue
        shutil.rmtree(folder)
        removed.append(folder)
    return removed


def _parts_in(folder: pathlib.Path) -> Parts:
    return Parts(kernel=folder / 'vmlinuz', initrd=folder / 'initrd.gz',
                 root_disk=folder / 'root.raw')


def _build(folder: pathlib.Path) -> None:
    unpacked = folder / 'unpacked'
    _unpack_packages(unpacked)
    made = _parts_in(folder)
    (kernel,) = (unpacked / 'boot').glob('vmlinuz-*')
    shutil.copyfile(kernel, made.kernel)
    tree = folder / 'initramfs'
    _fill_initramfs(tree, unpacked)
    pack_initramfs(tree, made.initrd)
    _make_root_disk(folder, made.root_disk)
    shutil.rmtree(unpacked)
    shutil.rmtree(tree)
    for file in dataclasses.astuple(made):
        file.chmod(0o644)


def _unpack_packages(target: pathlib.Path) -> None:
    downloads = place.make_dir(target.with_name('packages'))
    download(downloads, KERNEL, *PACKAGES)
    for package in sorted(downloads.glob('*.deb')):
        process.run(['dpkg', '-x', str(package), str(target)])
    shutil.rmtree(downloads)


def download(folder: pathlib.Path, kernel: str, *packages: str) -> None:
    """Download a kernel's package and others, as they are now.

    :param kernel: the package that depends on it
    :raises LabError: when one cannot be had
    """
    try:
        _download(folder, kernel, *packages)
    except errors.LabError:
        # The lists are older than the archive.
        process.run(['apt-get', '-q', 'update'])
        _download(folder, kernel, *packages)


def _download(folder: pathlib.Path, kernel: str, *packages: str) -> None:
    depends = process.run(['apt-cache', 'depends', kernel]).split()
    image = next((word for word in depends
                  if word.startswith('linux-image-') and word != kernel),
                 None)
    if image is None:
        raise errors.LabError(f'apt knows no package {kernel}')
    process.run(['apt-get', '-q', '-o', 'APT::Sandbox::User=root',
                 'download', image, *packages], cwd=folder)


def _fill_initramfs(tree: pathlib.Path, unpacked: pathlib.Path) -> None:
    for name in ('bin', 'sbin', 'etc', 'dev', 'proc', 'sys', 'mnt', 'run',
                 'tmp', 'var'):
        place.make_dir(tree / name)
    (tree / 'var' / 'run').symlink_to('/run')
    shutil.copy(unpacked / 'bin' / 'busybox', tree / 'bin' / 'busybox')
    (tree / 'bin' / 'sh').symlink_to('busybox')
    for name, where in PROGRAMS.items():
        shutil.copyfile(HERE / name, tree / where)
        (tree / where).chmod(0o755)
    for name in SOURCES:
        compile_program(name, tree / 'bin' / name)
    _copy_agent(tree, unpacked / 'usr' / 'sbin' / 'qemu-ga')
    _copy_modules(tree, unpacked)


def compile_program(name: str, program: pathlib.Path) -> None:
    """Compile a program of the guest; what comes out needs no library.

    :param name: of SOURCES
    :raises LabError: when the compiler has anything to say
    """
    process.run(['gcc', '-O2', '-static', '-Wall', '-Wextra', '-Werror',
                 '-o', str(program), str(HERE / f'{name}.c')])


def _copy_agent(tree: pathlib.Path, agent: pathlib.Path) -> None:
    """Copy the guest agent and the libraries it needs, from this host."""
    shutil.copy(agent, tree / 'sbin' / 'qemu-ga')
    needed = process.run(['ldd', str(agent)])
    if 'not found' in needed:
        raise errors.LabError(f'qemu-ga lacks libraries here: {needed}')
    for word in needed.split():
        if word.startswith('/'):
            target = tree / word.lstrip('/')
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(word, target)
            target.chmod(0o755)


def _copy_modules(tree: pathlib.Path, unpacked: pathlib.Path) -> None:
    (modules,) = (unpacked / 'lib' / 'modules').iterdir()
    target = tree / 'lib' / 'modules' / modules.name
    for pattern in MODULES:
        for module in modules.rglob(pattern):
            copy = target / module.relative_to(modules)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(module, copy)
    for index in modules.glob('modules.*'):
        shutil.copyfile(index, target / index.name)
    process.run(['depmod', '-b', str(tree), modules.name])


def pack_initramfs(tree: pathlib.Path, initrd: pathlib.Path) -> None:
    """Pack a folder as the kernel unpacks it."""
    names = '\n'.join(str(path.relative_to(tree))
                      for path in sorted(tree.rglob('*')))
    plain = initrd.with_suffix('')
    with plain.open('wb') as out:
        subprocess.run(['cpio', '--create', '--format=newc', '--quiet',
                        '--owner=0:0'],
                       input=names.encode(), stdout=out, cwd=tree, check=True)
    process.run(['gzip', '-1', '--force', str(plain)])


def _make_root_disk(folder: pathlib.Path, disk: pathlib.Path) -> None:
    files = place.make_dir(folder / 'files')
    names = _write_files(files)
    sums = ''.join(
        f'{hashlib.md5((files / name).read_bytes()).hexdigest()}  {name}\n'
        for name in names)
    (files / 'data.md5').write_text(sums)
    with disk.open('wb') as out:
        out.truncate(DISK_SIZE)
        out.write(_boot_record())
    process.run(['mke2fs', '-q', '-t', 'ext4', '-L', 'root',
                 '-d', str(files), '-E', f'offset={EXT4_OFFSET}',
                 str(disk), f'{EXT4_SIZE // units.KiB}k'])
    shutil.rmtree(files)


def _write_files(folder: pathlib.Path) -> list[str]:
    source = random.Random('the same bytes in every build')
    names = [f'random{number}' for number in range(DATA_FILES)]
    for name in names:
        (folder / name).write_bytes(source.randbytes(DATA_SIZE))
    (folder / 'zeros').write_bytes(bytes(ZEROS_SIZE))
    return [*names, 'zeros']


def _boot_record() -> bytes:
    """Make a master boot record with the two partitions and no boot code."""
    table = b''.join(
        struct.pack('<B3xB3xII', 0, LINUX_PARTITION, offset // SECTOR,
                    size // SECTOR)
        for offset, size in ((EXT4_OFFSET, EXT4_SIZE),
                             (RECORDS_OFFSET, RECORDS_SIZE)))
    return bytes(446) + table.ljust(64, b'\0') + BOOT_MAGIC
